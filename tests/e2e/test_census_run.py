"""The census through a whole federation: permitted, charged, opened, and it can end the run."""

from __future__ import annotations

import csv
import dataclasses
import json

import pytest
from typer.testing import CliRunner

from fedethics.aggregates.census.gate import ENOUGH
from fedethics.aggregates.census.layout import layout_of_census
from fedethics.aggregates.census.opened import required
from fedethics.charter.census_terms import CensusTerms
from fedethics.cli.federation import app
from fedethics.coordinator.job import STATE
from fedethics.data.records import row_hash
from fedethics.errors import PolicyRefusal, RunError
from fedethics.privacy.ledger import read_book
from fedethics.protocol import Action
from fedethics.release import folder, gate
from fedethics.release.evidence import Counted
from fedethics.release.verification import verify
from fedethics.simulation.federation import run_federation
from fedethics.site.home import SiteHome
from fedethics.site.workbench import open_workbench
from tests.attacks.conftest import Liar

SITE = "cleveland"
# More than there are at all sites together.
NEVER = 10**6


def asking(**changes):
    terms = CensusTerms(**({"epsilon": 1.0, "minimum": NEVER, "stop": True} | changes))
    return lambda charter: dataclasses.replace(charter, census=terms)


def allow(stage):
    for home in stage.homes.values():
        path = home / "policy.toml"
        path.write_text(path.read_text().replace('"fairness",', '"fairness", "census",'))


def counted(run):
    (entry,) = json.loads((run / STATE).read_text())["counted"]
    return (Counted(kind=entry["kind"], round=entry["round"], counts=tuple(entry["counts"])),)


def by_hand(stage):
    """Records by sex and label of all rows that a run uses, read from the files by themselves."""
    found: dict[tuple[str, int], int] = {}
    label = stage.charter.data.labels
    for home in stage.homes.values():
        path = SiteHome.open(home).data_path
        parts = open_workbench(stage.charter, data=path, model_dir=None).records
        used = {*parts.train.row_hashes, *parts.held_out.row_hashes}
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row_hash(row) in used]
        for row in rows:
            key = row["sex"], label.by_cell[row[label.column]]
            found[key] = found.get(key, 0) + 1
    return found


def test_a_missed_bar_ends_the_run_before_training_and_only_the_census_is_charged(lab):
    stage = lab.stage(change=asking())
    allow(stage)
    for resume in (False, True):  # a resumed run stops again
        with pytest.raises(RunError, match=r"sex=Female; the charter asks for at least 1000000"):
            lab.run(stage, resume=resume)
    charges = list(read_book(stage.homes[SITE] / "ledger.db").charges.values())
    assert [charge.kind for charge in charges] == ["census", "census"]
    assert len({charge.data_set for charge in charges}) == 2
    assert not list((stage.run_dir / "rounds").glob("adapter-*"))
    assert '"census-objects"' in (stage.run_dir / "events.jsonl").read_text()


def test_without_noise_the_opened_census_is_a_count_of_the_files(lab):
    stage = lab.stage(dp=False, change=asking())
    allow(stage)
    with pytest.raises(RunError, match="no model is trained"):
        lab.run(stage)
    census, wanted = required(stage.charter, counted(stage.run_dir)), by_hand(stage)
    sexes = layout_of_census(stage.charter).features["sex"]
    for place, sex in enumerate(sexes):
        row = census.blocks["groups", "sex"][place]
        assert row.tolist() == [wanted.get((sex, label), 0) for label in (0, 1)]
    assert census.records() == sum(wanted.values())


@pytest.mark.slow
def test_a_run_pauses_after_the_census_with_a_page_and_goes_on_to_its_end(lab, tmp_path):
    stage = lab.stage(dp=False, change=asking(minimum=1))
    allow(stage)
    for resume in (False, True):  # a second pause opens nothing again
        run = run_federation(stage, resume=resume, until_census=True)
    state = json.loads((run / STATE).read_text())
    assert [entry["kind"] for entry in state["sums"]] == ["census"]
    assert not (run / "evidence.json").exists()
    page = (run / folder.CENSUS).read_text()
    assert "Who is in the data" in page and "age band" in page
    copy = tmp_path / "census.html"
    said = CliRunner().invoke(app, ["census", "--job", str(run), "--json", "--page", str(copy)])
    assert said.exit_code == 0 and copy.read_text() == page
    shown, wanted = json.loads(said.stdout), by_hand(stage)
    men = next(one for one in shown["groups"]["sex"] if one["group"] == "Male")
    assert men["records"]["value"] == wanted["Male", 0] + wanted["Male", 1]
    assert shown["records"] == sum(wanted.values()) and shown["missed"] == []
    lab.run(stage, resume=True)
    assert CliRunner().invoke(app, ["census", "--job", str(run)]).exit_code == 0
    rules = {rule.name: rule for rule in gate.examine(run).rules}
    assert rules[ENOUGH].verdict == "pass"
    assert [problem for check in verify(run) for problem in check.problems] == []


def test_a_run_without_a_census_cannot_pause_after_it_and_has_none_to_show(lab, tmp_path):
    stage = lab.stage()
    with pytest.raises(RunError, match="asks for no census"):
        run_federation(stage, until_census=True)
    for args, said in (
        (["--job", str(stage.run_dir)], "its charter asks for no census"),
        (["--job", str(tmp_path)], "is no run's directory"),
        ([], "give --job with a run's directory"),
    ):
        error = CliRunner().invoke(app, ["census", *args]).exception
        assert said in str(error)


def test_a_site_whose_policy_does_not_list_it_refuses_it_by_name(lab):
    stage = lab.stage(change=asking())
    with pytest.raises(PolicyRefusal, match=r"'census' releases, which allow\.releases"):
        Liar(stage).ask(SITE, Action.ANNOUNCE, epoch=b"run/7")
