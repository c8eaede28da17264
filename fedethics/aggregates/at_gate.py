"""Which rules of the gate read a kind of sum, by its name; objectives read the group tables.

A rule that holds a figure to a bar of the charter is a `Bar`, so that it takes part in "fail".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from fedethics.aggregates.agreement import gate as agreement
from fedethics.aggregates.census import gate as census
from fedethics.aggregates.measures import gate as measures
from fedethics.aggregates.norms import gate as norms
from fedethics.aggregates.paired import gate as paired
from fedethics.release.folder import Folder
from fedethics.release.rules import audit
from fedethics.release.rules.bars import Bar
from fedethics.release.rules.rule import Rule

EXAMINED: Final[Mapping[str, Callable[[Folder], tuple[Rule | Bar, ...]]]] = {
    "audit": audit.examine,
    "agreement": agreement.examine,
    "measures": measures.examine,
    "paired": paired.examine,
    "census": census.examine,
    "norms": norms.examine,
}
