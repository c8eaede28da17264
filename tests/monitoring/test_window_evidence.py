"""A window verifies only as its sites signed it, and no window disappears in silence."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import date

import pytest
from click.testing import CliRunner

from fedethics.aggregates.monitoring import WindowLayout
from fedethics.charter import document
from fedethics.charter.signing import sign
from fedethics.cli.main import load
from fedethics.identity import Identity
from fedethics.monitoring import evidence, history
from fedethics.monitoring.closing import publish
from fedethics.privacy.ledger import Receipt
from fedethics.privacy.ledger.receipt import SumSeen, sign_receipt
from fedethics.release import receipts
from fedethics.secagg.rules import sites_hash
from tests.monitoring.test_verdicts import (
    COORDINATOR,
    SITES,
    baseline_of,
    charter_of,
    counted,
    made,
)

CHARTER = charter_of()
LAYOUT = WindowLayout.of(CHARTER)


def seen(**changes):
    everyone = sites_hash(tuple(SITES))
    digest = made(CHARTER, counted(LAYOUT)).opened.sum_sha256
    told = SumSeen(
        kind="monitoring", round=1, session="c" * 64, cohort=everyone, survivors=everyone,
        sha256=digest, slices="passed", adapter="b" * 64,
    )  # fmt: skip
    return dataclasses.replace(told, **changes)


def receipt(site, **changes):
    told = Receipt(
        site=site, run_id="demo-w0001", charter_hash=document.hash_of(CHARTER),
        issued="2026-02-01T00:00:00+00:00", unit=CHARTER.privacy.unit,
        neighbouring=CHARTER.privacy.neighbouring, delta=CHARTER.privacy.delta,
        training_epsilon=0.0, evaluation_rounds=(1,), evaluation_epsilon=0.99, sums=(seen(),),
        ledger_entries=4, ledger_head="ab" * 32,
    )  # fmt: skip
    return receipts.from_envelope(sign_receipt(dataclasses.replace(told, **changes), SITES[site]))


def window(charter=CHARTER, *, of_one=None, **changes):
    """Return a signed window, whose site "one" signed a receipt with `of_one` changed."""
    told = (receipt("one", **(of_one or {})), receipt("two"), receipt("three"))
    found = dataclasses.replace(made(charter, counted(LAYOUT)), **{"receipts": told} | changes)
    return evidence.signed(found, COORDINATOR)


def test_a_window_that_every_site_signed_verifies():
    assert evidence.faults(CHARTER, window()) == ()


OTHERS = sites_hash(("one", "two"))


@pytest.mark.parametrize(
    ("of_one", "why"),
    [
        ({"sums": (seen(slices="failed"),)}, "false, by the check of one"),
        ({"sums": (seen(slices=None),)}, "one did not check the sum"),
        ({"sums": (seen(session="d" * 64),)}, "in another session"),
        ({"sums": (seen(session=None),)}, "does not say in which session"),
        ({"sums": (seen(cohort=OTHERS),)}, "shown another cohort"),
        ({"sums": (seen(survivors=OTHERS),)}, "other sites are in"),
        ({"sums": (seen(sha256="d" * 64),)}, "told another monitoring sum"),
        ({"sums": (seen(sha256=None),)}, "was never told it"),
        ({"sums": (seen(adapter="d" * 64),)}, "of another adapter"),
        ({"sums": (seen(), seen(round=2))}, "no other in the run"),
        ({"sums": ()}, "no other in the run"),
        ({"fixed_noise": True}, "used fixed noise"),
        ({"evaluation_epsilon": None}, "without a bound"),
        (
            {"evaluation_epsilon": 1.8, "evaluation_rounds": (1, 1, 1)},
            "above 1 .the window was charged more than once",
        ),
        ({"training_rounds": (1,)}, "charged for training"),
        ({"delta": 0.5}, "another unit, neighbour or delta"),
    ],
)
def test_what_one_site_signed_otherwise_is_a_fault(of_one, why):
    (fault,) = evidence.faults(CHARTER, window(of_one=of_one))
    assert re.search(why, fault), fault


def test_a_site_speaks_once_and_the_sum_is_over_the_sites_that_were_asked():
    twice = window(receipts=(*(receipt(site) for site in SITES), receipt("one")))
    assert evidence.faults(CHARTER, twice) == ("one has more than one receipt.",)
    opened = dataclasses.replace(window().opened, cohort=("one", "two", "three", "four"))
    found = evidence.faults(CHARTER, window(opened=opened))
    assert any("not on the roster" in fault for fault in found)


def test_signatures_over_another_charter_or_of_strangers_are_void():
    other = dataclasses.replace(
        CHARTER, charter=dataclasses.replace(CHARTER.charter, version=CHARTER.charter.version + 1)
    )
    foreign = sign(other, SITES["one"], role="site")
    (fault,) = evidence.faults(CHARTER, window(charter_signatures=(foreign,)))
    assert "not over this charter" in fault
    stranger = dataclasses.replace(foreign, public_key=Identity.generate().public_key)
    (fault,) = evidence.faults(CHARTER, window(charter_signatures=(stranger,)))
    assert "names no such signer" in fault


@pytest.fixture
def windows(tmp_path):
    """Return a folder with windows 1 and 3; the third drifted."""
    for number, positives in ((1, 0.4), (3, 0.8)):
        folder = tmp_path / f"demo-w{number:04d}"
        folder.mkdir()
        (folder / "charter.json").write_bytes(document.encode(CHARTER))
        found = made(CHARTER, counted(LAYOUT, positives=positives), number)
        publish(folder, CHARTER, found, baseline_of(LAYOUT), COORDINATOR)
    return tmp_path


def test_a_window_whose_verdict_was_taken_away_is_a_problem(windows):
    (windows / "demo-w0003" / "verdict.json").unlink()
    (_, third) = history.check(windows)
    assert third.window == 3 and "its verdict was taken away" in third.problems[0]
    (windows / "demo-w0003" / "window.json").unlink()
    (_, third) = history.check(windows)
    assert "was begun and has no window.json" in third.problems[0]
    # Another run read the window: nothing is hidden by what the first one left.
    (windows / "demo-w0003").rename(windows / "again-w0001")
    assert [one.window for one in history.check(windows)] == [1]


def test_runs_that_watch_nothing_are_not_windows(windows):
    (windows / "training").mkdir()
    plain = dataclasses.replace(CHARTER, monitoring=None)
    (windows / "training" / "charter.json").write_bytes(document.encode(plain))
    assert [one.window for one in history.check(windows)] == [1, 3]


def test_windows_without_a_verdict_are_listed(windows):
    (early,) = history.unread(windows, date(2026, 1, 2))
    assert early.windows == (2,)
    (late,) = history.unread(windows, date(2026, 6, 1))
    assert late.windows == (2, 4, 5)
    said = CliRunner().invoke(load("monitor"), ["verify", str(windows), "--json"])
    assert json.loads(said.stdout)["without-verdict"][0]["windows"][0] == 2
