"""From raw records to a judged model: labelled by two people a site, counted, trained, judged."""

from __future__ import annotations

import csv
import dataclasses
import json
import random

import pytest
from typer.testing import CliRunner

from fedethics.aggregates.agreement.gate import NAME, NAME_BY_GROUP
from fedethics.aggregates.census.gate import ALIKE, ENOUGH
from fedethics.charter import document
from fedethics.charter.annotation_terms import AnnotationTerms
from fedethics.charter.census_terms import CensusTerms, ReferenceTerms
from fedethics.cli import data, federation
from fedethics.release import folder, gate
from fedethics.release.verification import verify
from fedethics.simulation.federation import run_federation
from fedethics.simulation.scenario import load
from tests.e2e.conftest import ROOT

SEATS, PEOPLE = ("first", "second"), ("ana", "bo")
ANNOTATION = AnnotationTerms(
    annotators=SEATS,
    labels=("0", "1"),
    guideline="1 if a vessel is narrowed by more than half.",
    bar=0.6,
    by="sex",
    group_bar=0.5,
    adjudication="majority",
)
CENSUS = CensusTerms(
    by="sex",
    missing=("chol",),
    minimum=50,
    largest_difference=0.4,
    reference=(
        ReferenceTerms(
            feature="sex", shares=("Female=0.5", "Male=0.5"), source="A table of the population"
        ),
    ),
)


def agreed(charter):
    return dataclasses.replace(charter, annotation=ANNOTATION, census=CENSUS)


def say(app, *words):
    """Run a command that must succeed; return what it answers with --json."""
    said = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert said.exit_code == 0, said.output
    return json.loads(said.stdout)


def label_by_two_people(raw, charter, out, work):
    """Hand a site's records to a tool, label them as two people would, and take them back."""
    with raw.open(newline="") as file:
        rows = list(csv.DictReader(file))
    work.mkdir()
    unlabelled = work / "raw.csv"
    with unlabelled.open("w", newline="") as file:
        writer = csv.DictWriter(file, [name for name in rows[0] if name != "num"])
        writer.writeheader()
        writer.writerows({k: v for k, v in row.items() if k != "num"} for row in rows)
    given = say(data.app, "export", unlabelled, "-c", charter, "--to", "doccano", "-o", work / "t")
    drawn, tasks = random.Random(raw.name), (work / "t" / "tasks.jsonl").read_text().splitlines()
    assert given["tasks"] == len(tasks) <= len(rows)
    exports = []
    for person in PEOPLE:
        exports.append(work / f"{person}.jsonl")
        # Both look at the same task; each is wrong now and then.
        lines = [
            {**json.loads(task), "id": at, "Comments": [],
             "label": [str(int((len(task) % 2) ^ (drawn.random() < 0.04)))]}
            for at, task in enumerate(tasks)
        ]  # fmt: skip
        exports[-1].write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    words = ("-c", charter, "--from", "doccano", "--records", unlabelled, "-o", out)
    done = say(data.app, "import", *exports, *words)
    assert done["decided"]["unanimous"] == done["records"] > 0.8 * len(tasks)
    return done


@pytest.mark.slow
def test_two_annotators_a_site_at_four_sites_end_in_a_judged_model_and_a_filled_data_card(
    lab, heart_data, tmp_path
):
    charter = tmp_path / "charter.json"
    charter.write_bytes(document.encode(agreed(load(ROOT / "configs" / "heart.toml")[1])))
    labelled = tmp_path / "labelled"
    labelled.mkdir()
    records = 0
    for raw in sorted(heart_data.glob("*.csv")):
        out = labelled / raw.name
        records += label_by_two_people(raw, charter, out, tmp_path / raw.stem)["records"]
        checked = say(data.app, "check", out, "--charter", charter, "--annotators", ",".join(SEATS))
        assert checked["agreement"]
    stage = lab.stage(dp=False, change=agreed, data=labelled)
    for home in stage.homes.values():
        path = home / "policy.toml"
        path.write_text(
            path.read_text().replace('"fairness",', '"fairness", "agreement", "census",')
        )
    run = run_federation(stage, until_census=True)
    census = say(federation.app, "census", "--job", run)
    assert census["records"] == records and census["missed"] == []
    assert not (run / folder.EVIDENCE).exists()
    lab.run(stage, resume=True)
    rules = {rule.name: rule for rule in gate.examine(run).rules}
    for name in (NAME, NAME_BY_GROUP, ENOUGH, ALIKE):
        assert rules[name].verdict == "pass", rules[name].sentence
    assert [problem for check in verify(run) for problem in check.problems] == []
    card = (run / folder.DATA_CARD).read_text()
    for told in ("Who is in the data", "A table of the population", "narrowed by more than half",
                 "Krippendorff", "majority", "Agreement by sex"):  # fmt: skip
        assert told in card, told
