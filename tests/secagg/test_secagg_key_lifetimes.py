"""Keys end: by rotation, by expiry, by hashing forward, by revocation; and never come back."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from fedethics import canonical
from fedethics.errors import CharterError, SecaggAbort, SecaggReject
from fedethics.identity import Identity
from fedethics.secagg import SiteSecagg, SiteStore, derivation, framing, revocation_notice, sharing
from fedethics.secagg.framing import Kind
from tests.secagg.federation import Federation, random_vectors, run_round, spec_of
from tests.secagg.stages import SPEC, memory_of

FIRST = "site-00"


def rejoin(federation, epoch):
    federation.coordinator = federation.new_coordinator()
    federation.join(epoch)


def full_round(federation, number=0):
    vectors = random_vectors(federation.names, SPEC, seed=number)
    opened, _ = run_round(federation, federation.open(SPEC, number), vectors, SPEC)
    assert np.array_equal(opened.total, np.sum(list(vectors.values()), axis=0))


def roots_on_disk(federation, name=FIRST):
    with closing(sqlite3.connect(federation.folder / name / "secagg.sqlite")) as connection:
        (spelled,) = connection.execute("SELECT secrets FROM epochs").fetchone()
    return {
        peer: sharing.PairRoots(mask=bytes.fromhex(mask), channel=bytes.fromhex(channel))
        for peer, (mask, channel) in canonical.parse(spelled)["roots"].items()
    }


# Rotation


def test_a_site_answers_nothing_more_under_keys_that_a_later_attempt_has_replaced(tmp_path):
    federation = Federation(tmp_path, 4)
    federation.join("run/0")
    full_round(federation, 0)
    pending = federation.open(SPEC, 1)
    site, vector = federation.sites[FIRST], np.zeros(SPEC.length, dtype=np.int64)
    site.share(pending.open_message, vector, spec=SPEC)
    before = {root.mask for root in roots_on_disk(federation).values()}
    rejoin(federation, "run/1")
    left = "\n".join(memory_of(federation))
    for table in ("secrets", "vectors", "replies"):
        assert f'INTO "{table}"' not in left
    with pytest.raises(SecaggReject, match=r"not joined|abandoned"):
        site.share(pending.open_message, vector, spec=SPEC)
    with pytest.raises(SecaggReject, match="use 2"):
        federation.restarted(FIRST).announce(epoch="run/0")
    assert before.isdisjoint(root.mask for root in roots_on_disk(federation).values())
    full_round(federation, 1)


# Expiry


def test_an_expired_epoch_opens_no_session_and_finishes_those_it_opened(tmp_path):
    federation = Federation(tmp_path, 4, epoch_lifetime_s=3600)
    federation.join()
    vectors = random_vectors(federation.names, SPEC)
    session = federation.open(SPEC)
    for name in federation.names:
        session.add_share(
            federation.sites[name].share(session.open_message, vectors[name], spec=SPEC)
        )
    federation.now_s += 3600
    opened, _ = run_round(federation, session, vectors, SPEC)
    assert np.array_equal(opened.total, np.sum(list(vectors.values()), axis=0))
    with pytest.raises(SecaggReject, match="expired"):
        federation.sites[FIRST].share(
            federation.open(SPEC, 1).open_message, vectors[FIRST], spec=SPEC
        )
    assert roots_on_disk(federation)
    federation.restarted(FIRST)
    assert not any('INTO "epochs"' in line for line in memory_of(federation))
    rejoin(federation, "run/1")
    full_round(federation, 1)


def test_the_first_key_to_expire_ends_the_epoch_for_everyone(tmp_path):
    federation = Federation(tmp_path, 4, epoch_lifetime_s=3600)
    early = federation.sites[FIRST].announce(epoch="run/0")
    federation.coordinator.add_announcement(early)
    federation.now_s += 1700
    federation.join()
    federation.now_s += 1900
    with pytest.raises(SecaggReject, match="expired"):
        federation.sites["site-03"].check_open(
            federation.open(SPEC).open_message, specs={SPEC.name: SPEC}
        )


def test_keys_that_expired_before_the_roster_came_are_not_joined_and_nobody_is_blamed(tmp_path):
    federation = Federation(tmp_path, 4, epoch_lifetime_s=3600)
    for name in federation.names:
        federation.coordinator.add_announcement(federation.sites[name].announce(epoch="run/0"))
    federation.now_s += 3600
    with pytest.raises(SecaggReject, match="expired keys"):
        federation.sites[FIRST].join(federation.coordinator.roster_message())
    assert federation.stores[FIRST].proven_lies() == ()


# Counters


def counter_of(session):
    return framing.decode(session.open_message, kind=Kind.OPEN, max_body_bytes=0).header["counter"]


def test_counters_only_grow_across_sessions_tasks_and_restarts_of_the_site(tmp_path):
    federation = Federation(tmp_path, 4)
    federation.join()
    other = spec_of(name="progress")
    first, second = federation.open(SPEC), federation.open(other)
    assert [counter_of(first), counter_of(second)] == [0, 1]
    site, vector = federation.sites[FIRST], np.zeros(SPEC.length, dtype=np.int64)
    site.share(second.open_message, vector, spec=other)
    federation.sites[FIRST] = federation.restarted(FIRST)
    before = memory_of(federation)
    with pytest.raises(SecaggReject, match="counter 0, but this epoch's keys stand at 2"):
        federation.sites[FIRST].share(first.open_message, vector, spec=SPEC)
    assert memory_of(federation) == before


@pytest.mark.parametrize(("ahead", "taken"), [(10_000, True), (10_001, False), (2**30, False)])
def test_no_message_makes_a_site_hash_forward_for_hours(tmp_path, ahead, taken):
    federation = Federation(tmp_path, 4)
    federation.join()
    federation.coordinator._sessions = ahead
    check = federation.sites[FIRST].check_open
    message = federation.open(SPEC).open_message
    if taken:
        check(message, specs={SPEC.name: SPEC})
    else:
        with pytest.raises(SecaggReject, match="reach 10000 further"):
            check(message, specs={SPEC.name: SPEC})


def test_a_site_that_missed_sessions_catches_up(tmp_path):
    federation = Federation(tmp_path, 7)
    federation.join()
    for number in range(3):
        vectors = random_vectors(federation.names, SPEC, seed=number)
        session = federation.open(SPEC, number)
        drops = {"share": [FIRST]} if number < 2 else {}
        opened, _ = run_round(federation, session, vectors, SPEC, drops=drops)
        assert np.array_equal(
            opened.total, np.sum([vectors[name] for name in opened.survivors], axis=0)
        )


# Forward secrecy


def seeds_from(roots, session_id, *, steps=0, site=FIRST):
    """What a thief of `roots` takes for the pairwise seeds of a session."""
    return {
        derivation.pair_seed(
            root.forward(steps).mask, session=bytes.fromhex(session_id), pair={site, peer}
        )
        for peer, root in roots.items()
    }


def seeds_of_session(federation, session_id):
    with closing(sqlite3.connect(federation.folder / FIRST / "secagg.sqlite")) as connection:
        query = "SELECT secrets FROM secrets WHERE session = ?"
        (spelled,) = connection.execute(query, (session_id,)).fetchone()
    return {bytes.fromhex(seed) for seed in canonical.parse(spelled)["pair_seeds"].values()}


def test_a_disk_seized_later_does_not_open_earlier_sessions(tmp_path):
    federation = Federation(tmp_path, 4)
    federation.join()
    stolen_before = roots_on_disk(federation)
    vectors = random_vectors(federation.names, SPEC)
    session = federation.open(SPEC)
    federation.sites[FIRST].share(session.open_message, vectors[FIRST], spec=SPEC)
    true_seeds = seeds_of_session(federation, session._sid)
    # The check can fail: with the roots of before, the thief would have them all.
    assert seeds_from(stolen_before, session._sid) == true_seeds
    # Already after SHARE the roots have moved on, whatever becomes of the session.
    stolen_after = roots_on_disk(federation)
    for steps in range(3):
        assert true_seeds.isdisjoint(seeds_from(stolen_after, session._sid, steps=steps))
    run_round(federation, session, vectors, SPEC)
    everything = "\n".join(memory_of(federation)).lower()
    for secret in (*true_seeds, *(root.mask for root in stolen_before.values())):
        assert secret.hex() not in everything
    raw = (federation.folder / FIRST / "secagg.sqlite").read_bytes()
    assert all(seed.hex().encode() not in raw for seed in true_seeds)


def test_roots_taken_once_do_open_later_sessions_of_the_same_epoch_and_none_of_the_next(tmp_path):
    """Hashing forward protects the past only; the page on secure aggregation says so."""
    federation = Federation(tmp_path, 4)
    federation.join("run/0")
    stolen = roots_on_disk(federation)
    full_round(federation, 0)
    session, vectors = federation.open(SPEC, 1), random_vectors(federation.names, SPEC)
    federation.sites[FIRST].share(session.open_message, vectors[FIRST], spec=SPEC)
    true_seeds = seeds_of_session(federation, session._sid)
    assert seeds_from(stolen, session._sid, steps=1) == true_seeds
    rejoin(federation, "run/1")
    session = federation.open(SPEC, 1)
    federation.sites[FIRST].share(session.open_message, vectors[FIRST], spec=SPEC)
    fresh = seeds_of_session(federation, session._sid)
    assert all(fresh.isdisjoint(seeds_from(stolen, session._sid, steps=k)) for k in range(4))


# Revocation


def notice(federation, signer, revoked, reason="the key file was on a lost laptop"):
    key = federation.identities[revoked].public_key
    return revocation_notice(federation.identities[signer], key=key, reason=reason)


@pytest.mark.parametrize("signer", ["site-03", FIRST])
def test_a_revoked_key_is_never_accepted_again(tmp_path, signer):
    federation = Federation(tmp_path, 5)
    federation.join("run/0")
    full_round(federation, 0)
    pending = federation.open(SPEC, 1)
    vector = np.zeros(SPEC.length, dtype=np.int64)
    federation.sites[FIRST].share(pending.open_message, vector, spec=SPEC)
    text = notice(federation, signer, "site-03")
    assert federation.sites[FIRST].revoke(text) == federation.identities["site-03"].public_key
    # What was agreed with it is gone, at once.
    left = "\n".join(memory_of(federation))
    assert all(f'INTO "{table}"' not in left for table in ("epochs", "secrets", "vectors"))
    # And no epoch with it is joined, by any later process.
    for attempt in (1, 2):
        federation.coordinator = federation.new_coordinator()
        federation.sites[FIRST] = federation.restarted(FIRST)
        for name in federation.names:
            federation.coordinator.add_announcement(
                federation.sites[name].announce(epoch=f"run/{attempt}")
            )
        with pytest.raises(SecaggReject, match=r"revoked identity \(site-03\)"):
            federation.sites[FIRST].join(federation.coordinator.roster_message())
    assert federation.stores[FIRST].proven_lies() == ()  # the coordinator may not know
    # The others go on without it; as their cohort now differs by one site, in a new run.
    rest = [name for name in federation.names if name != "site-03"]
    federation.coordinator = federation.new_coordinator()
    federation.join("second/0", rest)
    vectors = random_vectors(rest, SPEC)
    run_round(federation, federation.open(SPEC, cohort=rest), vectors, SPEC)


def test_a_repeated_notice_changes_nothing(tmp_path):
    federation = Federation(tmp_path, 4)
    text = notice(federation, FIRST, "site-03")
    federation.sites[FIRST].revoke(text)
    federation.join("run/0", [name for name in federation.names if name != "site-03"])
    before = memory_of(federation)
    federation.sites[FIRST].revoke(text)
    assert memory_of(federation) == before
    assert list(federation.stores[FIRST].revoked_keys().values()) == [
        "the key file was on a lost laptop"
    ]


@pytest.mark.parametrize("signer", ["site-01", "coordinator"])
def test_neither_the_coordinator_nor_another_member_can_revoke_a_key(tmp_path, signer):
    federation = Federation(tmp_path, 4)
    federation.identities["coordinator"] = federation.key
    with pytest.raises(SecaggReject, match="only the key itself"):
        federation.sites[FIRST].revoke(notice(federation, signer, "site-03"))
    assert federation.stores[FIRST].revoked_keys() == {}


def test_a_disturbed_notice_is_rejected(tmp_path):
    federation = Federation(tmp_path, 4)
    text = notice(federation, "site-03", "site-03")
    other = federation.identities["site-02"].public_key
    bad = [text.replace(b'"key":"', b'"key":"0', 1), text + b" ", text[:-1], b"", b"[]", b"\xff"]
    bad += [text.replace(federation.identities["site-03"].public_key.encode(), other.encode())]
    bad += [text.replace(b"lost", b"cost"), b"[" * 4000, b"x" * 5000]
    for position in range(0, len(text), 7):
        bad.append(text[:position] + bytes([text[position] ^ 1]) + text[position + 1 :])
    for message in bad:
        with pytest.raises(SecaggReject):
            federation.sites[FIRST].revoke(message)
    assert federation.stores[FIRST].revoked_keys() == {}
    with pytest.raises(SecaggReject, match="1 to 200"):
        notice(federation, "site-03", "site-03", reason="x" * 201)


def test_under_a_revoked_coordinator_or_own_key_a_site_answers_nothing(tmp_path):
    federation = Federation(tmp_path, 4)
    federation.join()
    message = federation.open(SPEC).open_message
    key = federation.key.public_key
    text = revocation_notice(federation.identities[FIRST], key=key, reason="left its owner")
    federation.sites[FIRST].revoke(text)
    with pytest.raises(SecaggReject, match="coordinator's key"):
        federation.sites[FIRST].check_open(message, specs={SPEC.name: SPEC})
    with pytest.raises(CharterError, match="coordinator's key"):
        federation.restarted(FIRST)
    federation.sites["site-01"].revoke(notice(federation, "site-01", "site-01"))
    with pytest.raises(CharterError, match="own key"):
        federation.restarted("site-01")


def versioned(federation, name, terms, identity=None):
    return SiteSecagg(
        site=name,
        identity=identity or federation.identities[name],
        terms=terms,
        store=SiteStore(federation.folder / name / "secagg.sqlite"),
    )


def test_a_new_charter_version_revokes_the_keys_that_it_replaces(tmp_path):
    federation = Federation(tmp_path, 4, charter_name="heart", charter_version=1)
    federation.join()
    old = federation.identities["site-03"].public_key
    roster = {**federation.terms.roster, "site-03": Identity.generate().public_key}
    second = replace(federation.terms, roster=roster, charter_version=2, charter_hash="ef" * 32)
    versioned(federation, FIRST, second)
    revoked = federation.stores[FIRST].revoked_keys()
    assert revoked == {old: "replaced in version 2 of charter 'heart'"}
    assert not any('INTO "epochs"' in line for line in memory_of(federation))
    # Version 1 is over, and a version 3 that brings the old key back does not make it good.
    with pytest.raises(CharterError, match="under version 2"):
        federation.restarted(FIRST)
    third = replace(federation.terms, charter_version=3, charter_hash="aa" * 32)
    federation.terms = third
    federation.sites = {name: federation.restarted(name) for name in federation.names}
    federation.coordinator = federation.new_coordinator()
    for name in federation.names:
        federation.coordinator.add_announcement(federation.sites[name].announce(epoch="run/0"))
    with pytest.raises(SecaggReject, match="revoked identity"):
        federation.sites[FIRST].join(federation.coordinator.roster_message())


def test_a_member_that_left_and_a_charter_of_another_name_revoke_nothing(tmp_path):
    federation = Federation(tmp_path, 5, charter_name="heart", charter_version=1)
    roster = {name: key for name, key in federation.terms.roster.items() if name != "site-04"}
    versioned(federation, FIRST, replace(federation.terms, roster=roster, charter_version=2))
    other = {**federation.terms.roster, "site-03": Identity.generate().public_key}
    versioned(federation, FIRST, replace(federation.terms, roster=other, charter_name="lung"))
    assert federation.stores[FIRST].revoked_keys() == {}


# Stores of before

_BACK_TO = {
    2: "ALTER TABLE rounds DROP COLUMN session;",
    1: "DROP TABLE revoked; DROP TABLE charters; ALTER TABLE epochs DROP COLUMN counter;"
    "ALTER TABLE epochs DROP COLUMN expires_s;",
}


def as_of_before(federation, version):
    """Make the store of site-00 what an older version would have written."""
    with closing(sqlite3.connect(federation.folder / FIRST / "secagg.sqlite")) as connection:
        for older in range(2, version - 1, -1):
            connection.executescript(f"{_BACK_TO[older]} PRAGMA user_version = {older};")


def opened_sums(federation):
    opened = federation.sites[FIRST].opened_rounds("run")
    assert opened
    return list(opened)


def test_a_store_of_version_1_keeps_what_was_opened_and_forgets_its_keys(tmp_path):
    federation = Federation(tmp_path, 4)
    federation.join()
    full_round(federation, 0)
    before = opened_sums(federation)
    as_of_before(federation, 1)
    federation.sites[FIRST] = federation.restarted(FIRST)
    assert not any('INTO "epochs"' in line for line in memory_of(federation))
    assert opened_sums(federation) == [replace(each, session="") for each in before]
    rejoin(federation, "run/1")
    with pytest.raises(SecaggAbort, match="already opened"):
        federation.sites[FIRST].check_open(
            federation.open(SPEC, 0).open_message, specs={SPEC.name: SPEC}
        )
    full_round(federation, 1)


def test_a_store_of_version_2_keeps_all_but_does_not_know_old_sessions(tmp_path):
    federation = Federation(tmp_path, 4)
    federation.join()
    full_round(federation, 0)
    before, roots = opened_sums(federation), roots_on_disk(federation)
    as_of_before(federation, 2)
    federation.sites[FIRST] = federation.restarted(FIRST)
    assert opened_sums(federation) == [replace(each, session="") for each in before]
    assert roots_on_disk(federation) == roots
    with pytest.raises(SecaggAbort, match="already opened"):
        federation.sites[FIRST].check_open(
            federation.open(SPEC, 0).open_message, specs={SPEC.name: SPEC}
        )
    session = federation.open(SPEC, 1)
    run_round(federation, session, random_vectors(federation.names, SPEC), SPEC)
    assert [each.session for each in opened_sums(federation)] == ["", session.session_id]


@pytest.mark.parametrize("version", [1, 2])
def test_two_processes_that_open_an_old_store_at_once_both_find_it_migrated(
    tmp_path, monkeypatch, version
):
    federation = Federation(tmp_path, 4)
    federation.join()
    full_round(federation, 0)
    as_of_before(federation, version)
    path, between = tmp_path / FIRST / "secagg.sqlite", []

    class Overtaken(sqlite3.Connection):
        """The other process comes first, after this one saw the old version."""

        def overtake(self, sql):
            if sql.strip().startswith("BEGIN IMMEDIATE") and not between:
                between.append(sql)
                SiteStore(path)

        def execute(self, sql, *arguments):
            self.overtake(sql)
            return super().execute(sql, *arguments)

        def executescript(self, sql):
            self.overtake(sql)
            return super().executescript(sql)

    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: real(*a, **k, factory=Overtaken))
    store = SiteStore(path)
    monkeypatch.undo()
    assert len(between) == 1
    (opened,) = store.opened(charter_hash=federation.terms.charter_hash, run="run")
    assert opened.cohort == tuple(federation.names)


def test_a_member_that_was_renamed_keeps_its_key(tmp_path):
    federation = Federation(tmp_path, 4, charter_name="heart", charter_version=1)
    key = federation.identities["site-03"].public_key
    # Its old name goes to somebody else, so that this name's key differs from the version before.
    roster = {
        **federation.terms.roster,
        "site-03": Identity.generate().public_key,
        "site-09": key,
    }
    versioned(federation, FIRST, replace(federation.terms, roster=roster, charter_version=2))
    assert federation.stores[FIRST].revoked_keys() == {}
    # In the next version nobody holds the key that site-03 had in between: that one is revoked.
    between = roster["site-03"]
    roster = {**roster, "site-03": Identity.generate().public_key}
    versioned(federation, FIRST, replace(federation.terms, roster=roster, charter_version=3))
    assert set(federation.stores[FIRST].revoked_keys()) == {between}
