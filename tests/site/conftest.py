"""A site that joined, made once and copied for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import fedethics  # noqa: F401  fixture
from tests.enrolment.a_day import SITES, Day, approved_day


@pytest.fixture(scope="session")
def first_joined_day(tmp_path_factory) -> Day:
    day = approved_day(tmp_path_factory.mktemp("joined") / "day")
    for site in SITES:
        day.join(site)
    return day


@pytest.fixture
def joined(first_joined_day: Day, tmp_path: Path) -> Day:
    return first_joined_day.copy(tmp_path / "day")
