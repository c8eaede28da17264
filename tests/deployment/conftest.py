"""A federation of real processes for each test that asks for one; all of it is ended after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.deployment.federation import Federation, deploy, stage


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Callable[..., Federation]]:
    """Return a function that makes a deployed federation; all its processes are ended after."""
    made: list[Federation] = []

    def make(*, rounds: int = 1, now: datetime | None = None, wait_s: float = 120.0) -> Federation:
        federation = deploy(stage(tmp_path / "b", rounds=rounds), now=now, wait_s=wait_s)
        made.append(federation)
        return federation

    yield make
    for federation in made:
        federation.end()
