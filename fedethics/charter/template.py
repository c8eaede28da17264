"""The commented charter that `fedethics charter init` writes, one for each industry.

Guarantee: every template is a valid draft as it stands (a test loads each); what must be filled in
is written in capitals.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

from fedethics import terms
from fedethics.canonical import Json
from fedethics.charter.model import Charter
from fedethics.charter.roster import Heading

INDUSTRIES: tuple[str, ...] = get_args(get_type_hints(Heading)["industry"])
_TEMPLATES = Path(__file__).parent / "templates"
# The feature that score histograms are crossed with; more features mean more noise in each.
_HISTOGRAM_BY = {"law-enforcement": "race", "content-moderation": "target"}
_TO_FILL_IN = re.compile(r"NAME (of|for) |DESCRIBE: ")
_HEAD = """\
# The whole agreement between the sites, the coordinator and the people who watch over them.
# Edit it, then: fedethics charter check FILE. Its SHA-256 is its name in every message, so any
# change is another charter and voids every signature. fedethics charter diff A B says what a
# change means. Words in CAPITALS are yours to fill in; bars are starting points, not law.

"""


def charter_text(industry: str) -> str:
    """Return a commented draft for one of `INDUSTRIES`."""
    parts = (f"{industry}.toml", "common.toml")
    text = "".join((_TEMPLATES / part).read_text(encoding="utf-8") for part in parts)
    return _HEAD + text.replace("HISTOGRAM-BY", _HISTOGRAM_BY.get(industry, "sex"))


def unfilled(charter: Charter) -> tuple[str, ...]:
    """Return each place where a charter still has a template's capitals, as "key: text"."""
    return tuple(_unfilled(terms.document(charter), ""))


def _unfilled(value: Json, where: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _unfilled(below, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for number, below in enumerate(value, start=1):
            yield from _unfilled(below, f"{where}[{number}]")
    elif isinstance(value, str) and _TO_FILL_IN.match(value):
        yield f"{where}: {value!r}"
