"""Four hospitals train, the release is served and watched; labels shift, and it is withdrawn.

In one process, with the sites' real code, ledgers and keys.
"""

from __future__ import annotations

import dataclasses
import json

import pytest
import tomli_w
from click.testing import CliRunner
from starlette.testclient import TestClient

from fedethics.cli.main import load
from fedethics.errors import FedethicsError, ReleaseError, RunError
from fedethics.identity import Identity
from fedethics.monitoring import alarm, baseline, evidence, history
from fedethics.privacy.events import merge
from fedethics.privacy.ledger import read_book, verify_files
from fedethics.privacy.plan import make_plan
from fedethics.release.withdraw import withdraw
from fedethics.serving.http import application
from fedethics.serving.service import Service
from fedethics.simulation import monitoring
from fedethics.site.home import SiteHome
from fedethics.site.withdrawn import withdrawn_here
from tests.e2e.conftest import Lab, encoder, heart_data, shared_lab  # noqa: F401  fixtures
from tests.monitoring import story

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def watched(shared_lab: Lab):  # noqa: F811
    """Return the run, its charter that watches, and the verdicts of two windows."""
    lab = shared_lab
    stage = lab.stage(change=story.lenient)
    run = lab.run(stage)
    story.released(stage, run)
    files = {site: lab.data / f"{site}.csv" for site in stage.homes}
    new = story.new_records(files, lab.path / "new", windows=2, copies=2)
    charter = monitoring.begin(run, story.TERMS, new)
    windows = [monitoring.read_window(run, number) for number in (1, 2)]
    return run, charter, windows, stage


def test_the_shifted_window_is_an_alarm_and_the_other_is_none(watched):
    run, charter, (first, second), _ = watched
    assert first.verdict != "drifted" and second.verdict == "drifted"
    drifted = [each.name for each in second.figures if each.verdict == "drifted"]
    assert drifted == ["label-rate"]
    folder = monitoring.beside(run) / monitoring.WINDOWS
    note = alarm.load(folder / second.run_id)
    assert alarm.fault(note, charter) == "" and "label-rate" in note.sentence
    assert not (folder / first.run_id / alarm.ALARM).exists()
    told = [json.loads(line) for line in (folder / second.run_id / "events.jsonl").open()]
    assert [one["window"] for one in told if one["event"] == "alarm"] == [2]


def test_the_command_shows_a_window_that_was_read_and_reads_it_no_second_time(watched, tmp_path):
    run, _, (_, second), _ = watched
    (tmp_path / "watch.toml").write_text(tomli_w.dumps({"monitoring": story.TERMS}))
    words = ["simulate", str(run), "--terms", str(tmp_path / "watch.toml")]
    words += ["--data", str(run.parents[1] / "new"), "--window", "2", "--json"]
    said = CliRunner().invoke(load("monitor"), words)
    assert said.exit_code == 12, said.output
    (shown,) = json.loads(said.stdout)["windows"]
    assert shown["finished"] == second.finished


def test_the_history_verifies_and_a_changed_count_does_not(watched):
    run, charter, windows, _ = watched
    folder, known = monitoring.beside(run) / monitoring.WINDOWS, baseline.known(run, charter)
    assert history.read(folder) == tuple(windows)
    assert [one.problems for one in history.check(folder, known)] == [(), ()]
    agreed, found = evidence.load(folder / windows[0].run_id)
    counts = (found.counts[0] + 1, *found.counts[1:])
    problems = evidence.faults(agreed, dataclasses.replace(found, counts=counts))
    assert any("signature" in one for one in problems)
    assert any("not the sum that was opened" in one for one in problems)
    page = (folder / history.PAGE).read_text(encoding="utf-8")
    assert "label-rate" in page and "drifted" in page and "<script" not in page


def test_each_ledger_verifies_and_charges_what_a_window_costs(watched):
    _, charter, windows, stage = watched
    (event,) = make_plan(charter).evaluation.events
    for site, home in stage.homes.items():
        key = charter.member(site).public_key
        verify_files(home / "ledger.db", key)
        book = read_book(home / "ledger.db", key)
        charges = [list(book.counted(run=one.run_id)) for one in windows]
        assert [len(one) for one in charges] == [1, 1]
        for (charge,) in charges:
            assert merge(charge.events) == merge((event,)) and charge.kind == "monitoring"
        # Each window's records are a data set of their own.
        assert charges[0][0].data_set.fingerprint != charges[1][0].data_set.fingerprint


def test_a_window_is_charged_once_and_one_without_records_not_at_all(watched):
    run, charter, windows, stage = watched
    site, home = next(iter(stage.homes.items()))
    before = read_book(home / "ledger.db", charter.member(site).public_key).length
    assert monitoring.read_window(run, 1) == windows[0]
    with pytest.raises(RunError, match=r"no record was touched|FE203"):
        monitoring.read_window(run, 3)
    assert read_book(home / "ledger.db", charter.member(site).public_key).length == before


def test_after_the_alarm_the_release_is_withdrawn_served_no_more_and_watched_no_more(watched):
    run, _, (_, second), stage = watched
    home = SiteHome.open(next(iter(stage.homes.values())))
    service = Service(run, model_dir=home.model_dir)
    try:
        with TestClient(application(service, token=""), base_url="http://127.0.0.1") as client:
            assert client.get("/health").status_code == 200
            key = Identity.load(stage.coordinator / "identity.key")
            withdraw(run, key, role="coordinator", reason=second.sentence)
            assert client.get("/health").status_code == 410
            assert client.get("/v1/audit").status_code == 410
    finally:
        service.close()
    with pytest.raises(ReleaseError, match="Withdrawn"):
        monitoring.read_window(run, 4)
    # That refused contact told the sites.
    for home in stage.homes.values():
        (note,) = withdrawn_here(SiteHome.open(home))
        assert note.reason == " ".join(second.sentence.split())
    with pytest.raises(FedethicsError, match="Withdrawn"):
        monitoring.begin(run, story.TERMS, {})
