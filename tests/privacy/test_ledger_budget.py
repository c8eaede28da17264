"""The ledger's arithmetic: what is charged, what is refused, what comes back."""

import dataclasses
import json
import math
import stat
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fedethics.charter.document import hash_of, load
from fedethics.errors import BudgetExceeded, LedgerError, LedgerTampered
from fedethics.identity import Identity
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.events import NonPrivate, SampledGaussian, SkellamRelease
from fedethics.privacy.ledger import Cap, DataSet, Ledger, read_book, read_receipt, verify_files
from tests.privacy.charters import HEART

TRAIN = DataSet(fingerprint="aa" * 32, label="train")
HELD_OUT = DataSet(fingerprint="bb" * 32, label="held-out")
ROUND = SampledGaussian(2.922, 0.5, 4)
CAP = Cap(epsilon=3.0, delta=1e-4)


@pytest.fixture
def identity():
    return Identity.generate()


@pytest.fixture
def ledger(tmp_path, identity):
    return Ledger.open(tmp_path / "ledger.db", identity=identity, create=True)


def charge(ledger, *, round_number=1, data_set=TRAIN, run="run-1", cap=CAP, events=(ROUND,), **kw):
    asked = {"kind": "update", "charter_hash": "c" * 64, **kw}
    return ledger.reserve(
        data_set=data_set, run=run, round_number=round_number, events=events, cap=cap, **asked
    )


def test_five_rounds_fit_the_budget_they_were_calibrated_for_and_a_sixth_does_not(ledger):
    for number in range(1, 6):
        charge(ledger, round_number=number)
    before = ledger.head
    with pytest.raises(BudgetExceeded, match=r"from 3 to 3\.3.*cap of 3 at delta=0.0001"):
        charge(ledger, round_number=6)
    assert ledger.head == before
    assert ledger.spent(TRAIN, delta=1e-4) == epsilon([ROUND] * 5, delta=1e-4)


def test_a_round_done_again_costs_again(ledger):
    for _ in range(2):
        charge(ledger, round_number=1)
    assert ledger.spent(TRAIN, delta=1e-4) == epsilon([ROUND] * 2, delta=1e-4)


def test_a_new_run_and_a_new_process_do_not_reset_the_budget(tmp_path, identity):
    for number in range(1, 6):
        fresh = Ledger.open(tmp_path / "ledger.db", identity=identity, create=number == 1)
        charge(fresh, run=f"run-{number}")
    reopened = Ledger.open(tmp_path / "ledger.db", identity=identity)
    with pytest.raises(BudgetExceeded):
        charge(reopened, run="run-6")


def test_a_renamed_data_set_keeps_its_account_and_another_has_its_own(ledger):
    charge(ledger)
    renamed = dataclasses.replace(TRAIN, label="copy-of-train")
    assert ledger.spent(renamed, delta=1e-4) == epsilon([ROUND], delta=1e-4)
    assert ledger.spent(HELD_OUT, delta=1e-4) == 0.0


def test_only_an_unused_reservation_can_be_given_back_and_only_once(ledger):
    used, unused = charge(ledger, round_number=1), charge(ledger, round_number=2)
    ledger.confirm(used, note="sent")
    ledger.release(unused, why="the round was cancelled before training")
    assert ledger.spent(TRAIN, delta=1e-4) == epsilon([ROUND], delta=1e-4)
    for settled in (used, unused):
        with pytest.raises(LedgerError, match=r"it is (confirmed|released)"):
            ledger.release(settled, why="again")
        with pytest.raises(LedgerError, match=r"it is (confirmed|released)"):
            ledger.confirm(settled, note="again")
    with pytest.raises(LedgerError, match="not that charge"):
        ledger.confirm(dataclasses.replace(used, index=0), note="the opening entry")


def test_a_charge_stays_reserved_until_it_is_confirmed_or_released(ledger, tmp_path):
    first, second = charge(ledger, round_number=1), charge(ledger, round_number=2)
    charge(ledger, round_number=1, run="another")
    ledger.confirm(first, note="sent")
    book = read_book(tmp_path / "ledger.db")
    states = {one.index: one.state for one in book.counted(run="run-1")}
    assert states == {first.index: "confirmed", second.index: "reserved"}


def test_caps_per_run_and_per_year_bind_beside_the_cap_for_life(tmp_path, identity):
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    ledger = Ledger.open(
        tmp_path / "ledger.db", identity=identity, clock=lambda: now[0], create=True
    )
    cap = Cap(epsilon=9.0, delta=1e-4, per_run=1.5, per_year=2.0)
    charge(ledger, cap=cap)
    with pytest.raises(BudgetExceeded, match="within the run"):
        charge(ledger, cap=cap)
    charge(ledger, run="run-2", cap=cap)
    with pytest.raises(BudgetExceeded, match="within 365 days"):
        charge(ledger, run="run-3", cap=cap)
    now[0] += timedelta(days=366)
    ledger.state_clock(Identity.generate())
    charge(ledger, run="run-3", cap=cap)
    assert ledger.spent(TRAIN, delta=1e-4) == epsilon([ROUND] * 3, delta=1e-4)


def test_a_release_without_noise_takes_all_of_any_finite_budget(ledger):
    with pytest.raises(BudgetExceeded, match="inf"):
        charge(ledger, events=(NonPrivate("test"),))
    charge(ledger, events=(NonPrivate("test"),), cap=Cap(epsilon=math.inf, delta=1e-4))
    with pytest.raises(BudgetExceeded):
        charge(ledger, events=(SkellamRelease(1000.0),))


def test_a_clock_turned_back_is_refused_and_a_small_step_is_not(tmp_path, identity):
    now = [datetime(2026, 6, 1, tzinfo=UTC)]
    ledger = Ledger.open(
        tmp_path / "ledger.db", identity=identity, clock=lambda: now[0], create=True
    )
    charge(ledger)
    now[0] -= timedelta(seconds=30)
    late = charge(ledger, round_number=2)
    now[0] -= timedelta(days=1)
    with pytest.raises(LedgerError, match="clock"):
        charge(ledger, round_number=3)
    ledger.confirm(late, note="sent")  # a release is recorded whatever the clock says
    times = [entry["time"] for entry in ledger.entries()]
    assert times == sorted(times)


def test_the_ledger_of_another_site_is_refused(tmp_path, ledger):
    with pytest.raises(LedgerTampered, match="entry 0"):
        Ledger.open(tmp_path / "ledger.db", identity=Identity.generate())


def test_a_missing_ledger_is_never_replaced_by_a_new_one_silently(tmp_path, identity):
    with pytest.raises(LedgerError, match="no ledger"):
        Ledger.open(tmp_path / "none.db", identity=identity)
    assert not (tmp_path / "none.db").exists()


def test_both_files_are_readable_by_the_site_alone(tmp_path, ledger):
    charge(ledger)
    for name in ("ledger.db", "ledger.db.head"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_a_receipt_tells_what_the_run_cost_and_nothing_of_the_data(tmp_path, identity, ledger):
    charter = load(HEART)
    mine = {"charter_hash": hash_of(charter)}
    charge(ledger, run="other")
    for number in (1, 2, 2):
        charge(ledger, round_number=number, **mine)
    tables = (SkellamRelease(1.282), SkellamRelease(2.564))
    charge(ledger, round_number=2, data_set=HELD_OUT, kind="fairness", events=tables, **mine)
    data = ledger.receipt(site="hospital-a", run="run-1", charter=charter, self_test_passed=True)
    receipt = read_receipt(data, public_key=identity.public_key)
    assert receipt.training_rounds == (1, 2, 2)
    assert receipt.training_epsilon == epsilon([ROUND] * 3, delta=1e-4)
    assert receipt.evaluation_epsilon == epsilon(tables, delta=1e-4)
    assert (receipt.unit, receipt.neighbouring) == ("record", "add-or-remove-one")
    for secret in (TRAIN.fingerprint, HELD_OUT.fingerprint, '\\"epsilon\\":3', "other"):
        assert secret not in data.decode()
    envelope = json.loads(data)
    envelope["body"] = envelope["body"].replace("hospital-a", "hospital-b")
    forged = json.dumps(envelope, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(LedgerTampered, match="not signed"):
        read_receipt(forged, public_key=identity.public_key)
    with pytest.raises(LedgerError, match="no receipt"):
        ledger.receipt(site="hospital-a", run="other", charter=charter)


@settings(
    max_examples=15,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
class AnyHistory(RuleBasedStateMachine):
    """Whatever is reserved, confirmed, released and reopened, the model and the files agree."""

    @initialize(tmp=st.just(None))
    def start(self, tmp):
        import tempfile
        from pathlib import Path

        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "ledger.db"
        self.identity = Identity.generate()
        self.ledger = Ledger.open(self.path, identity=self.identity, create=True)
        self.counted = {TRAIN: [], HELD_OUT: []}
        self.open = []

    @rule(account=st.sampled_from([TRAIN, HELD_OUT]), std=st.sampled_from([2.0, 5.0]))
    def reserve(self, account, std):
        event = SkellamRelease(std)
        fits = epsilon([*self.counted[account], event], delta=1e-4) <= CAP.epsilon
        try:
            reservation = charge(self.ledger, data_set=account, events=(event,), kind="progress")
        except BudgetExceeded:
            assert not fits
        else:
            assert fits
            self.counted[account].append(event)
            self.open.append((reservation, event))

    @rule(confirm=st.booleans())
    def settle(self, confirm):
        if not self.open:
            return
        reservation, event = self.open.pop()
        if confirm:
            self.ledger.confirm(reservation, note="sent")
        else:
            self.ledger.release(reservation, why="unused")
            self.counted[reservation.data_set].remove(event)

    @rule()
    def reopen(self):
        self.ledger = Ledger.open(self.path, identity=self.identity)

    @invariant()
    def files_and_model_agree(self):
        for account, events in self.counted.items():
            assert self.ledger.spent(account, delta=1e-4) == epsilon(events, delta=1e-4)
            assert epsilon(events, delta=1e-4) <= CAP.epsilon
        report = verify_files(self.path, self.identity.public_key)
        assert report.head == self.ledger.head and report.head_checked

    def teardown(self):
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestAnyHistory = AnyHistory.TestCase
