"""Agreement of annotators through a whole federation: permitted, charged, opened, judged."""

from __future__ import annotations

import csv
import dataclasses
import random

import pytest

from fedethics.charter.annotation_terms import AnnotationTerms
from fedethics.data.agreement import coincidences
from fedethics.data.records import row_hash
from fedethics.errors import PolicyRefusal
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.ledger import read_book
from fedethics.privacy.plan import make_plan
from fedethics.protocol import Action
from fedethics.release import evidence, folder, gate
from fedethics.release.verification import verify
from fedethics.site.home import SiteHome
from fedethics.site.workbench import open_workbench
from tests.attacks.conftest import Liar

SITE = "cleveland"
SEATS = ("first", "second", "third")
NAME = "agreement of annotators"


@pytest.fixture(scope="module")
def annotated(heart_data, tmp_path_factory):
    """The hospitals' files with three annotators' labels a record, some of them missing."""
    target = tmp_path_factory.mktemp("annotated")
    for path in sorted(heart_data.glob("*.csv")):
        drawn = random.Random(path.name)
        with path.open(newline="") as file:
            header, *rows = csv.reader(file)
        said = [[drawn.choice("01x") if drawn.random() < 0.3 else "1" for _ in SEATS] for _ in rows]
        said = [["" if one == "x" else one for one in row] for row in said]
        with (target / path.name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*header, *SEATS])
            writer.writerows([*row, *more] for row, more in zip(rows, said, strict=True))
    return target


def labels_of_used_rows(stage):
    """What annotators said of the records that a run uses, read from the files by themselves."""
    found = []
    for home in stage.homes.values():
        path = SiteHome.open(home).data_path
        parts = open_workbench(stage.charter, data=path, model_dir=None).records
        used = {*parts.train.row_hashes, *parts.held_out.row_hashes}
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        found += [[row[seat] for seat in SEATS] for row in rows if row_hash(row) in used]
    return found


def asking(**changes):
    terms = AnnotationTerms(
        annotators=SEATS, labels=("0", "1"), guideline="Is the vessel narrowed?", **changes
    )
    return lambda charter: dataclasses.replace(charter, annotation=terms)


def allow(stage):
    for home in stage.homes.values():
        path = home / "policy.toml"
        path.write_text(path.read_text().replace('"fairness",', '"fairness", "agreement",'))


@pytest.mark.slow
def test_it_is_charged_to_both_accounts_and_every_page_and_check_holds(lab, annotated):
    stage = lab.stage(change=asking(epsilon=1.0, bar=0.4), data=annotated)
    allow(stage)
    run = lab.run(stage)
    plan, book = make_plan(stage.charter), read_book(stage.homes[SITE] / "ledger.db")
    charges = list(book.charges.values())
    kinds = [charge.kind for charge in charges]
    assert kinds == ["agreement", "agreement", "update", "progress", "update", "fairness"]
    train, held_out = (charge.data_set for charge in charges[:2])
    assert (train, held_out) == (charges[2].data_set, charges[-1].data_set)
    for account, events in ((train, plan.training.events), (held_out, plan.evaluation.events)):
        spent = book.spent(account, delta=plan.delta)
        assert spent == pytest.approx(epsilon(events, delta=plan.delta)) and spent <= 3.0
    found = {rule.name: rule for rule in gate.examine(run).rules}
    assert found[NAME].figure.low is not None
    assert found["figures from the opened sums"].verdict == "pass"
    assert found["sums as the sites were told"].verdict == "pass"
    assert all(not check.problems for check in verify(run))
    assert "Agreement of annotators" in (run / folder.REPORT).read_text()


@pytest.mark.slow
def test_without_noise_the_matrix_is_that_of_all_records_pooled(lab, annotated):
    stage = lab.stage(dp=False, change=asking(), data=annotated)
    allow(stage)
    run = lab.run(stage)
    found = evidence.load(run / folder.EVIDENCE)
    (counted,) = found.counted
    pooled = coincidences(labels_of_used_rows(stage))
    assert counted.counts == tuple(
        round(stage.charter.annotation.steps * pooled.pairs[pair])
        for pair in (("0", "0"), ("0", "1"), ("1", "1"))
    )
    rule = next(rule for rule in gate.examine(run).rules if rule.name == NAME)
    assert rule.figure.value == pytest.approx(pooled.alpha())


def test_a_site_whose_policy_does_not_list_it_refuses_it_by_name(lab, annotated):
    stage = lab.stage(change=asking(), data=annotated)
    with pytest.raises(PolicyRefusal, match=r"'agreement' releases, which allow\.releases"):
        Liar(stage).ask(SITE, Action.ANNOUNCE, epoch=b"run/7")
