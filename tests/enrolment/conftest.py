"""Days to test on: made once, copied for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import fedethics  # noqa: F401  fixture
from tests.enrolment.a_day import Day, approved_day, found_day


@pytest.fixture(scope="session")
def first_approved_day(tmp_path_factory) -> Day:
    return approved_day(tmp_path_factory.mktemp("approved") / "day")


@pytest.fixture
def day(first_approved_day: Day, tmp_path: Path) -> Day:
    """Three sites approved, none joined yet."""
    return first_approved_day.copy(tmp_path / "day")


@pytest.fixture
def morning(tmp_path: Path) -> Day:
    """Homes, and nobody approved."""
    return found_day(tmp_path / "day")
