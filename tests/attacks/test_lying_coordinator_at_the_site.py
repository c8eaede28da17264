"""What a coordinator with its real key tries on a site, beyond the protocol's own lies."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from fedethics import charter_sums
from fedethics.aggregates.aggregate import sum_sha256
from fedethics.canonical import sha256_hex
from fedethics.errors import (
    AdapterRefused,
    LedgerError,
    LedgerTampered,
    RecordsRefusal,
    SecaggReject,
)
from fedethics.flower.client_entry import answer
from fedethics.flower.wire import parse_reply, request_message
from fedethics.identity import Identity
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.ledger import Ledger, read_book, read_receipt
from fedethics.protocol import Action, Request
from fedethics.release import evidence, folder, gate
from fedethics.site.workbench import open_workbench
from tests.inprocess import enter_task, wire_copy

SITE = "cleveland"


def _ledger(stage, site: str = SITE) -> Ledger:
    home = stage.homes[site]
    return Ledger.open(home / "ledger.db", identity=Identity.load(home / "identity.key"))


def _charges(stage) -> int:
    return sum(entry["action"] == "reserve" for entry in _ledger(stage).entries())


def test_work_cannot_be_booked_on_another_run_than_the_signed_opening_names(liar):
    liar.enrol()
    error = liar.work(SITE, charter_sums.UPDATE, 1, run="other")
    assert isinstance(error, SecaggReject)
    assert "charged by run" in str(error)
    assert _charges(liar.stage) == 0


@pytest.mark.parametrize(
    ("task", "number"),
    [
        (charter_sums.UPDATE, 3),
        (charter_sums.PROGRESS, 2),
        (charter_sums.PROGRESS, 9),
        (charter_sums.FAIRNESS, 1),
    ],
)
def test_a_round_that_the_charter_does_not_have_is_refused(liar, task, number):
    liar.enrol()  # the small charter has two rounds, progress after round 1, tables after round 2
    error = liar.work(SITE, task, number)
    assert isinstance(error, SecaggReject)
    assert "the charter has no" in str(error)
    assert _charges(liar.stage) == 0


def test_a_round_has_one_answer_to_one_model_and_costs_once(liar):
    liar.enrol()
    assert "share" in liar.work(SITE, charter_sums.UPDATE, 1)
    assert "share" in liar.work(SITE, charter_sums.UPDATE, 1)  # opened again: the same answer
    other = liar.adapter + np.float32(0.01)
    error = liar.work(SITE, charter_sums.UPDATE, 1, adapter=other)
    assert isinstance(error, AdapterRefused)
    assert _charges(liar.stage) == 1


def test_behind_the_derived_adapter_a_round_still_has_one_answer_to_one_model(liar, any_adapter):
    liar.enrol()
    assert "share" in liar.work(SITE, charter_sums.UPDATE, 1)
    error = liar.work(SITE, charter_sums.UPDATE, 1, adapter=liar.adapter + np.float32(0.01))
    assert isinstance(error, SecaggReject)
    assert "another model" in str(error)
    assert _charges(liar.stage) == 1


def test_counts_are_refused_over_less_than_the_roster_even_without_noise(lab):
    from tests.attacks.conftest import Liar

    liar = Liar(lab.stage(dp=False))
    liar.enrol()
    friends = (SITE, "hungary", "switzerland")
    error = liar.work(SITE, charter_sums.FAIRNESS, 2, cohort=friends)
    assert isinstance(error, SecaggReject)
    assert "opened without va-long-beach" in str(error)


def test_an_adapter_that_makes_scores_overflow_gets_an_answer_like_any_other(liar, any_adapter):
    liar.enrol()
    huge = np.full_like(liar.adapter, 3e38)
    scores = liar.learner.scores(huge, _held_out_activations(liar))
    assert not np.isfinite(scores).all()  # the attack works on the model itself
    assert "share" in liar.work(SITE, charter_sums.PROGRESS, 1, adapter=huge)


def test_nothing_of_an_error_leaves_the_door_even_when_the_log_cannot_be_written(liar):
    home = liar.stage.homes[SITE]
    (home / "log.jsonl").unlink(missing_ok=True)
    (home / "log.jsonl").mkdir()
    enter_task(run_id=1, node_id=1)
    request = Request(action=Action.TRAIN, charter_hash="00" * 32, run="secret-run")
    message = wire_copy(request_message(request, node_id=2, ttl_s=9.0, group="x"), message_id="m")
    context = Context(2, 2, {"site-home": str(home)}, RecordDict(), {})
    refusal = parse_reply(answer(message, context)).refusal
    assert refusal is not None
    assert refusal.code == "FE101"
    assert str(home) not in refusal.sentence and "secret" not in refusal.sentence


def test_a_changed_file_is_no_second_budget(liar, any_adapter, tmp_path):
    liar.enrol()
    liar.work(SITE, charter_sums.UPDATE, 1)
    home = liar.stage.homes[SITE]
    settings = (home / "site.toml").read_text()
    data = Path(next(line.split('"')[1] for line in settings.splitlines() if "data =" in line))
    fewer = tmp_path / "fewer.csv"
    fewer.write_text("\n".join(data.read_text().splitlines()[:-3]) + "\n")
    (home / "site.toml").write_text(settings.replace(str(data), str(fewer)))
    # Not in the same run, which goes on with the records that it began with.
    refused = liar.work(SITE, charter_sums.UPDATE, 2)
    assert isinstance(refused, RecordsRefusal)
    assert _charges(liar.stage) == 1
    other = dataclasses.replace(liar, run="other")
    other.enrol()
    other.work(SITE, charter_sums.UPDATE, 1)
    book = read_book(home / "ledger.db")
    first, second = (charge for charge in book.charges.values() if charge.kind == "update")
    assert first.data_set.fingerprint != second.data_set.fingerprint
    both = epsilon([*first.events, *second.events], delta=1e-4)
    assert book.spent(second.data_set, delta=1e-4) == both
    assert book.spent(first.data_set, delta=1e-4) == both  # putting the first file back frees none


@pytest.mark.parametrize("memory", ["ledger.db", "secagg.db"])
def test_a_site_that_lost_its_memory_refuses_rather_than_starting_afresh(liar, memory):
    liar.enrol()
    (liar.stage.homes[SITE] / memory).unlink()
    error = liar.work(SITE, charter_sums.UPDATE, 1)
    assert isinstance(error, LedgerError | LedgerTampered)


def test_records_in_another_order_never_get_each_others_activations(liar, tmp_path):
    data = Path(json.loads(_site_json(liar.stage.homes[SITE]))["data"])
    lines = data.read_text().splitlines()
    turned = tmp_path / "turned.csv"
    turned.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    first = open_workbench(liar.stage.charter, data=data, model_dir=None)
    second = open_workbench(liar.stage.charter, data=turned, model_dir=None)
    assert first.records.train.fingerprint == second.records.train.fingerprint
    ours, theirs = (bench.activations(bench.records.train) for bench in (first, second))
    for here, there in zip(ours.hidden, reversed(theirs.hidden), strict=True):
        assert here.shape == there.shape
        assert np.allclose(here.numpy(), there.numpy(), atol=1e-4)


def test_figures_that_the_sites_were_not_told_fail_the_gate(lab):
    stage = lab.stage()
    run = lab.run(stage)
    honest = evidence.load(run / folder.EVIDENCE)
    flattered = tuple(count + (index % 4 == 3) for index, count in enumerate(honest.counts))
    rounds = tuple(
        dataclasses.replace(entry, sum_sha256=sum_sha256(flattered + honest.histogram))
        if entry.kind == charter_sums.FAIRNESS
        else entry
        for entry in honest.rounds
    )
    evidence.write(
        dataclasses.replace(honest, counts=flattered, rounds=rounds), run / folder.EVIDENCE
    )
    rules = {rule.name: rule.verdict for rule in gate.examine(run).rules}
    assert rules["sums as the sites were told"] == "fail"


def _held_out_activations(liar):
    data = Path(json.loads(_site_json(liar.stage.homes[SITE]))["data"])
    bench = open_workbench(liar.stage.charter, data=data, model_dir=None)
    return bench.activations(bench.records.held_out)


def _site_json(home: Path) -> str:
    import tomllib

    return json.dumps(tomllib.loads((home / "site.toml").read_text()))


def test_a_second_opening_with_another_adapter_does_not_change_what_a_receipt_says_was_counted(
    liar, any_adapter
):
    liar.enrol()
    last = liar.stage.charter.training.rounds
    counted, other = liar.adapter, liar.adapter + np.float32(0.5)
    opened = liar.open(charter_sums.FAIRNESS, last)
    for site in liar.handlers:
        work = {"open": opened.open_message, "adapter": counted.astype("<f4").tobytes()}
        opened.add_share(liar.ask(site, Action.EVALUATE, **work)["share"])
    for site in liar.handlers:
        refused = liar.work(site, charter_sums.FAIRNESS, last, adapter=other)
        assert "with another model before" in str(refused)
    for site, message in opened.forward().items():
        opened.add_masked(liar.ask(site, Action.FORWARD, forward=message)["masked"])
    for site, message in opened.survivors().items():
        opened.add_confirm(liar.ask(site, Action.SURVIVORS, survivors=message)["confirm"])
    opened.proof()
    for site, message in opened.unrevealed().items():
        opened.add_reveal(liar.ask(site, Action.PROOF, proof=message)["reveal"])
    told = opened.result().message
    expected = sha256_hex(liar.learner.adapter_bytes(counted))
    for site in liar.handlers:
        liar.ask(site, Action.RESULT, result=told)
        data = liar.ask(site, Action.RECEIPT)["receipt"]
        public_key = liar.stage.charter.member(site).public_key
        (said,) = read_receipt(data, public_key=public_key).sums
        assert said.adapter == expected
