"""`federation monitor start` over real processes: an alarm ends it with 12, and is charged once.

Two minutes of CPU, so it runs with `make test-exhaustive`; tests/monitoring/test_watched_release.py
tells the same story in one process.
"""

from __future__ import annotations

import dataclasses
import tomllib

import pytest
import tomli_w

from fedethics.monitoring import alarm, history
from fedethics.privacy.ledger import read_book
from fedethics.simulation import monitoring, staging
from fedethics.simulation.federation import run_federation
from fedethics.simulation.scenario import load
from fedethics.simulation.staging import Stage
from tests import small_encoder
from tests.deployment.federation import DATA, ROOT, deploy
from tests.e2e.conftest import _small
from tests.monitoring import story


@pytest.fixture
def watched(tmp_path):
    """Return a released run whose sites have agreed to watch it, as a stage to be deployed."""
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    terms = small_encoder.save(encoder)
    scenario, draft = load(ROOT / "configs" / "heart.toml")
    draft = dataclasses.replace(draft, model=terms, adapter=small_encoder.ADAPTER)
    made = staging.build(
        dataclasses.replace(scenario, model_dir=str(encoder)),
        story.lenient(_small(draft, dp=True)),
        base=ROOT / "configs", data_dir=DATA, run_dir=tmp_path / "run",
    )  # fmt: skip
    run = run_federation(made)
    story.released(made, run)
    files = {site: DATA / f"{site}.csv" for site in made.homes}
    new = story.new_records(files, tmp_path / "new", windows=2, copies=1)
    charter = monitoring.begin(run, story.TERMS, new)
    coordinator = monitoring.beside(run) / "coordinator"
    return Stage(run, coordinator, made.homes, charter), encoder


@pytest.mark.exhaustive
def test_the_command_of_a_scheduler_raises_the_alarm_and_asks_no_site_twice(watched):
    stage, encoder = watched
    federation = deploy(stage)
    file = stage.coordinator / "federation.toml"
    settings = tomllib.loads(file.read_text())
    settings["job"] |= {"start-dir": str(stage.run_dir), "model-dir": str(encoder)}
    file.write_text(tomli_w.dumps(settings))
    ask = ("federation", "monitor", "start", "--home", str(stage.coordinator), "--window", "2")
    try:
        federation.sites()
        first = federation.command(*ask, log=stage.coordinator / "run.out")
        assert first.wait(timeout=240) == 12, federation.told()
        again = federation.command(*ask, log=stage.coordinator / "run.out")
        assert again.wait(timeout=60) == 12, federation.told()
    finally:
        federation.end()
    jobs = stage.coordinator / "jobs"
    assert [one.window for one in history.read(jobs)] == [2]
    assert [one.problems for one in history.check(jobs)] == [()]
    assert "label-rate" in alarm.load(jobs / "run-w0002").sentence
    for site, home in stage.homes.items():
        book = read_book(home / "ledger.db", stage.charter.member(site).public_key)
        assert len(list(book.counted(run="run-w0002"))) == 1
