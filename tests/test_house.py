"""What `tools/bench/house.py` counts is there, and the glossary names code that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.bench import house

ROOT = Path(__file__).resolve().parent.parent
STEPS = sorted({step for steps in house.JOURNEYS.values() for step in steps})


@pytest.mark.parametrize("step", STEPS)
def test_each_step_of_a_journey_stands_in_one_file(step):
    assert len(house.files_of(step)) == 1, house.files_of(step)


def test_the_table_has_every_journey():
    said = house.table(house.measured())
    assert "not found" not in said
    assert all(f"| files: {journey} |" in said for journey in house.JOURNEYS)


def test_every_file_of_the_glossary_is_there():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:fedethics|simulations)/[a-z_/*]*(?:\.py)?)`", text))
    assert len(named) > 40
    assert {path for path in named if not list(ROOT.glob(path))} == set()
