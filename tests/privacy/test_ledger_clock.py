"""What a clock set forward or back can do to the caps of a ledger: never give a budget anew."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedethics.errors import BudgetExceeded, LedgerError
from fedethics.identity import Identity
from fedethics.privacy.events import SkellamRelease
from fedethics.privacy.ledger import Cap, DataSet, Ledger, read_book
from fedethics.privacy.ledger.book import LONGEST_PAUSE, YEAR
from fedethics.privacy.ledger.entries import PinnedOfficers
from fedethics.privacy.ledger.verify import verify_files

TRAIN = DataSet(fingerprint="aa" * 32, label="train")
ROUND = SkellamRelease(20.0)
CAP = Cap(epsilon=100.0, delta=1e-4, per_year=0.4)


class Site:
    def __init__(self, folder):
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.identity, self.path = Identity.generate(), folder / "ledger.db"
        self.ledger = Ledger.open(
            self.path, identity=self.identity, clock=lambda: self.now, create=True
        )

    def charge(self, *, cap=CAP, run="run"):
        return self.ledger.reserve(
            data_set=TRAIN, run=run, round_number=1, kind="update", events=(ROUND,),
            charter_hash="cc" * 32, cap=cap,
        )  # fmt: skip

    def fill(self):
        while not self.ledger._files.refresh().overruns(
            TRAIN, run="run", events=(ROUND,), cap=CAP, now=self.now
        ):
            self.charge()


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.mark.parametrize("days", [93, 274, 364, 366, 400, 3650, 36500])
def test_a_clock_set_forward_at_once_by_any_time_gives_no_years_budget_anew(site, days):
    site.fill()
    site.now += timedelta(days=days)
    with pytest.raises(BudgetExceeded, match="within 365 days"):
        site.charge()


def test_the_refusal_says_that_a_pause_is_behind_it_and_who_can_end_it(site):
    site.fill()
    site.now += timedelta(days=366)
    with pytest.raises(BudgetExceeded, match="fedethics ledger clock"):
        site.charge()


def test_after_a_year_that_the_ledger_has_seen_the_years_budget_is_there_again(site):
    site.fill()
    for _ in range(4):
        site.now += LONGEST_PAUSE
        site.ledger.pin_officers(PinnedOfficers(public_keys=(), required_signatures=0))
    site.charge()


def test_an_officers_word_ends_a_pause_and_is_found_by_whoever_verifies(site):
    site.fill()
    site.now += timedelta(days=366)
    officer = Identity.generate()
    site.ledger.state_clock(officer)
    site.charge()
    assert verify_files(site.path, site.identity.public_key).entries == len(site.ledger.entries())
    stated = [entry for entry in site.ledger.entries() if entry["action"] == "clock"]
    assert [entry["officer"] for entry in stated] == [officer.public_key]


def test_where_officers_are_pinned_only_one_of_them_can_state_the_clock(site):
    officer, stranger = Identity.generate(), Identity.generate()
    site.ledger.pin_officers(
        PinnedOfficers(public_keys=(officer.public_key,), required_signatures=1)
    )
    site.fill()
    site.now += timedelta(days=366)
    with pytest.raises(LedgerError, match="none of the officers"):
        site.ledger.state_clock(stranger)
    with pytest.raises(BudgetExceeded):
        site.charge()
    site.ledger.state_clock(officer)
    site.charge()


@given(st.lists(st.integers(0, 500), min_size=1, max_size=12))
@settings(max_examples=20, deadline=None)
def test_however_the_clock_goes_on_a_charge_counts_as_long_as_the_year_allows(steps):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        site.charge()
        seen = timedelta(0)
        for days in steps:
            site.now += timedelta(days=days)
            site.ledger.pin_officers(PinnedOfficers(public_keys=(), required_signatures=0))
            seen += min(timedelta(days=days), LONGEST_PAUSE)
            book = site.ledger._files.refresh()
            age = book.age(book.charges[1], now=site.now)
            assert age == seen <= site.now - book.charges[1].time
            renewed = not book.overruns(
                TRAIN, run="x", events=(ROUND,), now=site.now,
                cap=Cap(epsilon=100.0, delta=1e-4, per_year=site.ledger.spent(TRAIN, delta=1e-4)),
            )  # fmt: skip
            assert renewed == (seen >= YEAR)


@pytest.mark.parametrize("back", [timedelta(minutes=6), timedelta(days=1), timedelta(days=4000)])
def test_a_clock_set_back_between_reserving_and_confirming_frees_nothing(site, back):
    charge = site.charge()
    spent = site.ledger.spent(TRAIN, delta=1e-4)
    site.now -= back
    site.ledger.confirm(charge, note="sent")  # what left the site is recorded all the same
    assert site.ledger.spent(TRAIN, delta=1e-4) == spent
    times = [entry["time"] for entry in site.ledger.entries()]
    assert times == sorted(times)
    with pytest.raises(LedgerError, match="the clock says"):
        site.charge()
    with pytest.raises(LedgerError, match="the clock says"):
        site.ledger.state_clock(Identity.generate())


def test_a_clock_set_back_between_reserving_and_releasing_gives_back_that_charge_alone(site):
    first, second = site.charge(), site.charge()
    site.now -= timedelta(days=30)
    site.ledger.release(second, why="nothing left")
    counted = read_book(site.path).counted(run="run")
    assert [(one.index, one.state) for one in counted] == [(first.index, "reserved")]
    with pytest.raises(LedgerError):
        site.ledger.release(second, why="again")
