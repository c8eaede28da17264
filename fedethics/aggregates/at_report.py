"""Which sections of the reports a kind of sum has beside those that are built in, by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from fedethics.aggregates.agreement import report as agreement
from fedethics.aggregates.census import report as census
from fedethics.aggregates.measures import report as measures
from fedethics.aggregates.norms import report as norms
from fedethics.aggregates.paired import report as paired
from fedethics.release.folder import Folder
from fedethics.release.gate import GateReport
from fedethics.release.sections.block import Section

# None where the charter does not ask for the sum.
SECTIONS: Final[Mapping[str, Callable[[Folder, GateReport], Section | None]]] = {
    "agreement": agreement.build,
    "measures": measures.build,
    "paired": paired.build,
    "census": census.build,
    "norms": norms.build,
}


def sections_of(opened: Folder, verdict: GateReport) -> dict[str, Section]:
    """Return the sections of the kinds that the charter asks for."""
    built = {name: build(opened, verdict) for name, build in SECTIONS.items()}
    return {name: section for name, section in built.items() if section is not None}
