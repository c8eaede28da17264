"""Keys that nobody could agree with are the loss of the site that announced them, and no lie."""

from __future__ import annotations

import numpy as np
import pytest

from fedethics.errors import SecaggReject
from fedethics.secagg import CoordinatorSecagg, framing
from fedethics.secagg.coordinator_log import CoordinatorLog
from fedethics.secagg.framing import Kind
from tests.secagg.disturbances import signed
from tests.secagg.federation import Federation, random_vectors, run_round
from tests.secagg.stages import SPEC

CHEAT = "site-03"
# x = 1 gives no point on P-256: 1 - 3 + b is no square modulo its prime (Euler's criterion).
OFF_THE_CURVE = "02" + "1".rjust(64, "0")


def _announced(federation, **changes):
    """The cheat's own announcement, changed and signed anew by itself."""
    message = federation.sites[CHEAT].announce(epoch="run/0")
    key = federation.identities[CHEAT]
    return signed(federation, message, Kind.EPOCH, identity=key, **changes)


def _header(message):
    return framing.decode(message, kind=Kind.EPOCH, max_body_bytes=0).header


def _others(federation):
    return [name for name in federation.names if name != CHEAT]


@pytest.mark.parametrize("use", ["mask_key", "channel_key"])
@pytest.mark.parametrize(
    ("suite", "key"),
    [(1, "00" * 32), (1, "01" + "00" * 31), (2, OFF_THE_CURVE), (2, "05" + "00" * 32)],
)
def test_a_key_that_gives_no_secret_is_not_relayed_and_the_others_add_up(tmp_path, suite, key, use):
    federation = Federation(tmp_path, 4, minimum_cohort=3, suite=suite)
    with pytest.raises(SecaggReject, match=f"EPOCH of {CHEAT} holds a key that cannot be used"):
        federation.coordinator.add_announcement(_announced(federation, **{use: key}))
    _add_up_without_the_cheat(federation)


def _add_up_without_the_cheat(federation):
    names = _others(federation)
    federation.join(names=names)
    vectors = random_vectors(names, SPEC)
    opened, _ = run_round(federation, federation.open(SPEC, 0, names), vectors, SPEC)
    assert np.array_equal(opened.total, np.sum(list(vectors.values()), axis=0))
    for name in names:
        assert federation.stores[name].proven_lies() == ()


def test_a_key_that_is_there_already_is_refused(tmp_path):
    federation = Federation(tmp_path, 4, minimum_cohort=3)
    first = federation.sites["site-00"].announce(epoch="run/0")
    federation.coordinator.add_announcement(first)
    for changes in (
        {"mask_key": _header(first)["channel_key"]},
        {"channel_key": _header(first)["mask_key"]},
    ):
        with pytest.raises(SecaggReject, match="a key that occurs twice"):
            federation.coordinator.add_announcement(_announced(federation, **changes))
    own = _header(_announced(federation))["mask_key"]
    with pytest.raises(SecaggReject, match="a key that occurs twice"):
        federation.coordinator.add_announcement(_announced(federation, channel_key=own))
    _add_up_without_the_cheat(federation)


@pytest.mark.parametrize("left_s", [-1, 0, 359])
def test_keys_that_end_long_before_the_charter_says_are_refused(tmp_path, left_s):
    federation = Federation(tmp_path, 4, minimum_cohort=3, epoch_lifetime_s=3600)
    ends = int(federation.now_s) + left_s
    with pytest.raises(SecaggReject, match=r"its clock is wrong"):
        federation.coordinator.add_announcement(_announced(federation, expires_s=ends))
    _add_up_without_the_cheat(federation)


def test_an_epoch_that_nobody_joined_is_announced_anew_when_its_keys_are_old(tmp_path):
    """As when a job is resumed days after too few sites were willing."""
    federation = Federation(tmp_path, 4, epoch_lifetime_s=7 * 24 * 3600)
    site = federation.sites["site-00"]
    first = site.announce(epoch="run/0")
    federation.now_s += 3 * 24 * 3600
    assert site.announce(epoch="run/0") == first
    for day in (4, 8, 30):  # also after they have ended
        federation.now_s += day * 24 * 3600
        later = federation.restarted("site-00").announce(epoch="run/0")
        assert _header(later)["mask_key"] != _header(first)["mask_key"]
        assert federation.restarted("site-00").announce(epoch="run/0") == later
    federation.join()
    vectors = random_vectors(federation.names, SPEC)
    opened, _ = run_round(federation, federation.open(SPEC), vectors, SPEC)
    assert np.array_equal(opened.total, np.sum(list(vectors.values()), axis=0))


def test_an_epoch_that_was_joined_keeps_its_announcement(tmp_path):
    federation = Federation(tmp_path, 4, epoch_lifetime_s=3600)
    federation.join()
    first = federation.sites["site-00"].announce(epoch="run/0")
    federation.now_s += 3000
    assert federation.sites["site-00"].announce(epoch="run/0") == first


def test_a_log_is_replayed_however_long_ago_its_keys_ended(tmp_path):
    federation = Federation(tmp_path, 4)
    log = CoordinatorLog.create(tmp_path / "epoch.log")
    terms, key = federation.terms, federation.key
    epoch = CoordinatorSecagg(identity=key, terms=terms, log=log, now_s=lambda: federation.now_s)
    for name in federation.names:
        epoch.add_announcement(federation.sites[name].announce(epoch="run/0"))
    roster = epoch.roster_message()
    again = CoordinatorSecagg(
        identity=key,
        terms=terms,
        log=CoordinatorLog.open(tmp_path / "epoch.log"),
        now_s=lambda: federation.now_s + 10**9,
    )
    assert again.roster_message() == roster
