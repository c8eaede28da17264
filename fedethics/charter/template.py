"""The commented charter that `fedethics charter init` writes, one for each industry.

Guarantee: every template is a valid draft as it stands (a test loads each); what must be filled in
is written in capitals.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args, get_type_hints

from fedethics.charter.roster import Heading

INDUSTRIES: tuple[str, ...] = get_args(get_type_hints(Heading)["industry"])
_TEMPLATES = Path(__file__).parent / "templates"
# The feature that score histograms are crossed with; more features mean more noise in each.
_HISTOGRAM_BY = {"law-enforcement": "race", "content-moderation": "target"}
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
