"""After the run: a receipt that others can verify, a notice, and an honest word on what stays."""

import pytest

from fedethics.aggregates.noise import Account
from fedethics.charter import document
from fedethics.enrolment.approval import approve, remove
from fedethics.enrolment.leaving import leave, prepare_leaving, read_notice
from fedethics.errors import CharterError, LedgerError
from fedethics.policy.model import load_policy
from fedethics.policy.permit import permit
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.events import DiscreteGaussianRelease, NonPrivate
from fedethics.privacy.ledger import Ledger, read_receipt
from fedethics.privacy.plan import make_plan
from fedethics.protocol import Action, Request
from fedethics.site.handler import SiteHandler
from fedethics.site.records import facts_of, site_records
from fedethics.site.runs import receipt_of


def charge(day, site="alpha", run="run-1", rounds=2, events=None):
    """Charge some rounds of a run, as a site does before it trains."""
    home = day.home(site)
    charter, policy = document.load(home.charter_path), load_policy(home.policy_path)
    plan = make_plan(charter)
    ledger = Ledger.open(home.ledger_path, identity=home.identity())
    facts = facts_of(site_records(home.data_path, charter))
    granted = permit(charter, site=site, policy=policy, plan=plan, ledger=ledger, data=facts)
    account, cap = granted.account("update")
    for number in range(1, rounds + 1):
        ledger.reserve(
            data_set=account,
            run=run,
            round_number=number,
            kind="update",
            events=events or plan.charge("update", Account.TRAINING),
            charter_hash=plan.charter_hash,
            cap=cap if events is None else type(cap)(epsilon=float("inf"), delta=cap.delta),
        )
    return plan


def test_a_receipt_verifies_with_the_ledger_and_key_alone(joined, tmp_path, fedethics):
    charge(joined)
    home, file = joined.home("alpha"), tmp_path / "receipt.json"
    outcome = fedethics("site", "receipt", "--home", home.path, "--run", "run-1", "-o", file)
    assert outcome.exit_code == 0
    key = home.identity().public_key
    verified = fedethics(
        "ledger", "verify", home.ledger_path, "--public-key", key, "--receipt", file, "--json"
    )
    assert (verified.exit_code, verified.json["receipts"]) == (0, 1)


def test_a_receipt_says_what_the_accountant_says(joined):
    plan = charge(joined, rounds=2)
    home = joined.home("alpha")
    read = read_receipt(receipt_of(home, "run-1"), public_key=home.identity().public_key)
    assert read.training_rounds == (1, 2)
    two_rounds = epsilon(
        [*plan.charge("update", Account.TRAINING), *plan.charge("update", Account.TRAINING)],
        delta=plan.delta,
    )
    assert read.training_epsilon == pytest.approx(two_rounds)
    assert not read.fixed_noise


def test_a_site_that_was_in_the_audit_and_in_no_training_sum_reports_it_as_training(joined):
    home = joined.home("alpha")
    charter, policy = document.load(home.charter_path), load_policy(home.policy_path)
    ledger = Ledger.open(home.ledger_path, identity=home.identity())
    facts = facts_of(site_records(home.data_path, charter))
    noises = {"audit": 5.0, "fairness": 9.0}
    for kind, data_set in (
        ("audit", facts.train),
        ("audit", facts.held_out),
        ("fairness", facts.held_out),
    ):
        ledger.reserve(
            data_set=data_set,
            run="run-1",
            round_number=1,
            kind=kind,
            events=[DiscreteGaussianRelease(noises[kind], 1, 1)],
            charter_hash=document.hash_of(charter),
            cap=policy.cap(with_dp=True),
        )
    read = read_receipt(receipt_of(home, "run-1"), public_key=home.identity().public_key)
    once, twice = (
        epsilon([DiscreteGaussianRelease(noises[kind], 1, 1) for kind in kinds], delta=read.delta)
        for kinds in (("audit",), ("audit", "fairness"))
    )
    assert read.training_epsilon == pytest.approx(once)
    assert read.evaluation_epsilon == pytest.approx(twice)


def test_a_receipt_of_a_run_with_fixed_noise_says_so_even_after_the_seed_is_gone(joined):
    charge(joined, events=(NonPrivate("noise fixed by test-noise-seed"),))
    home = joined.home("alpha")
    read = read_receipt(receipt_of(home, "run-1"), public_key=home.identity().public_key)
    assert read.fixed_noise
    assert read.training_epsilon is None


def test_a_receipt_of_a_run_under_an_older_charter_is_still_given(joined):
    charge(joined)
    old = document.hash_of(document.load(joined.home("alpha").charter_path))
    draft = joined.coordinator / "draft.toml"
    draft.write_text(draft.read_text().replace("rounds = 5", "rounds = 6"))
    approve(joined.coordinator, [])
    joined.join("alpha")
    home = joined.home("alpha")
    read = read_receipt(receipt_of(home, "run-1"), public_key=home.identity().public_key)
    assert read.charter_hash == old


def test_a_run_that_was_never_charged_has_no_receipt_and_the_known_ones_are_named(joined):
    charge(joined)
    with pytest.raises(LedgerError, match="run-1"):
        receipt_of(joined.home("alpha"), "run-2")


def test_a_receipt_overwrites_no_file(joined, tmp_path, fedethics):
    charge(joined)
    (tmp_path / "there").write_text("mine")
    home = joined.home("alpha").path
    outcome = fedethics(
        "site", "receipt", "--home", home, "--run", "run-1", "-o", tmp_path / "there"
    )
    assert outcome.exit_code == 2
    assert (tmp_path / "there").read_text() == "mine"


def test_leaving_says_what_stays_with_the_composed_epsilon(joined, tmp_path, fedethics):
    plan = charge(joined, rounds=2)
    home, notice = joined.home("alpha"), tmp_path / "notice"
    outcome = fedethics("site", "leave", "--home", home.path, "-o", notice, "--yes", "--json")
    assert outcome.exit_code == 0
    (stays,) = outcome.json["stays"]
    two_rounds = epsilon(
        [*plan.charge("update", Account.TRAINING), *plan.charge("update", Account.TRAINING)],
        delta=plan.delta,
    )
    assert stays["epsilon"] == pytest.approx(two_rounds)
    assert stays["training-rounds"] == 2
    words = " ".join(outcome.json["meaning"])
    assert "cannot remove it" in words
    assert "run-1" in words


def test_after_leaving_every_request_is_refused_and_the_ledger_is_kept(joined):
    charge(joined)
    home = joined.home("alpha")
    ledger = home.ledger_path.read_bytes()
    charter_hash = document.hash_of(document.load(home.charter_path))
    leave(home)
    request = Request(
        action=Action.ANNOUNCE,
        charter_hash=charter_hash,
        run="run-2",
        payloads={"epoch": b"run-2/0"},
    )
    with pytest.raises(CharterError):
        SiteHandler(home.path).handle(request)
    assert home.ledger_path.read_bytes() == ledger
    assert receipt_of(home, "run-1")


def test_a_notice_takes_the_site_off_the_roster(joined):
    charge(joined)
    leaving = prepare_leaving(joined.home("alpha"))
    content, key = read_notice(leaving.notice)
    assert (content.site, content.runs) == ("alpha", ("run-1",))
    assert key == joined.home("alpha").identity().public_key
    left = remove(joined.coordinator, leaving.notice)
    assert [member.site for member in left.members] == ["beta", "gamma"]


def test_a_site_that_says_no_has_not_left(joined, tmp_path, fedethics, monkeypatch):
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    home = joined.home("alpha")
    outcome = fedethics("site", "leave", "--home", home.path, "-o", tmp_path / "notice")
    assert outcome.exit_code == 5
    assert home.charter_path.exists()
    assert not (tmp_path / "notice").exists()


def test_a_site_that_never_computed_leaves_nothing_behind(joined, tmp_path, fedethics):
    home = joined.home("beta").path
    outcome = fedethics(
        "site", "leave", "--home", home, "-o", tmp_path / "notice", "--yes", "--json"
    )
    assert outcome.json["stays"] == []
    assert "no model learnt" in outcome.json["meaning"][0]
    again = fedethics("site", "leave", "--home", home, "-o", tmp_path / "two", "--yes")
    assert again.exit_code == 2


def test_status_shows_what_was_spent_and_touches_nothing(joined, fedethics):
    plan = charge(joined, rounds=2)
    home = joined.home("alpha")
    ledger = home.ledger_path.read_bytes()
    found = fedethics("site", "status", "--home", home.path, "--json").json
    (account,) = found["data-sets"]
    two_rounds = epsilon(
        [*plan.charge("update", Account.TRAINING), *plan.charge("update", Account.TRAINING)],
        delta=plan.delta,
    )
    assert account["epsilon"] == pytest.approx(two_rounds)
    assert found["runs"] == [{"run": "run-1", "training-rounds-charged": 2}]
    assert found["node"] == "not running"
    assert home.ledger_path.read_bytes() == ledger
    assert "run-1" in fedethics("site", "status", "--home", home.path).out
