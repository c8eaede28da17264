"""A coordinator's home with a job under way, and a site that was charged."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedethics.charter import document
from fedethics.console.places import places
from fedethics.privacy.ledger import Cap, Ledger
from fedethics.privacy.plan import make_plan
from fedethics.site.home import SiteHome
from fedethics.site.journal import Journal
from fedethics.site.log import SiteLog
from fedethics.site.records import facts_of, site_records
from tests.cli.conftest import fedethics  # noqa: F401  fixture
from tests.enrolment.a_day import SITES, Day, approved_day

HOSTILE = "<script>alert(1)</script>"
BEGAN = datetime(2026, 3, 1, 9, tzinfo=UTC)


def event(number: int, name: str, **said: object) -> str:
    """Return a line of an event log; entries are a minute apart."""
    time = (BEGAN + timedelta(minutes=number)).isoformat()
    return json.dumps({"time": time, "event": name, **said}) + "\n"


@pytest.fixture(scope="session")
def first_day(tmp_path_factory) -> Day:
    day = approved_day(tmp_path_factory.mktemp("console") / "day")
    for site in SITES:
        day.join(site)
    return day


@pytest.fixture
def shown(first_day: Day, tmp_path: Path) -> SimpleNamespace:
    """Return homes with one job of two rounds, one charge, and what the console makes of them."""
    day = first_day.copy(tmp_path / "day")
    home = SiteHome.open(day.path / "alpha")
    charter = document.load(home.charter_path)
    facts, plan = facts_of(site_records(home.data_path, charter)), make_plan(charter)
    Ledger.open(home.ledger_path, identity=home.identity()).reserve(
        data_set=facts.train, run="heart-1", round_number=1, kind="update",
        events=plan.training.events, charter_hash=document.hash_of(charter),
        cap=Cap(epsilon=100.0, delta=1e-4),
    )  # fmt: skip
    SiteLog(home.path / "log.jsonl").write("answered", action="train.default", run="heart-1")
    Journal(home.path / "journal.db")
    job = day.coordinator / "jobs" / "heart-1"
    job.mkdir(parents=True)
    (job / "events.jsonl").write_text(
        event(0, "enrolling", expected=3)
        + event(1, "refused", site=HOSTILE, code="FE203", sentence=f"no {HOSTILE}")
        + event(2, "run", rounds=2, sites=["alpha", "beta"])
        + event(3, "round-started", round=1)
        + event(4, "round-committed", round=1, survivors=["alpha"], dropped={"beta": "proof"})
    )
    found = places([day.coordinator, day.path / "alpha"])
    return SimpleNamespace(day=day, home=home, charter=charter, plan=plan, job=job, places=found)
