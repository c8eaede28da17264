"""A site's memory: private, durable before anything leaves, and empty of secrets afterwards."""

import os
import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from fedethics.errors import PolicyError, SecaggReject
from fedethics.identity import Identity
from fedethics.secagg import SiteSecagg, SiteStore, revocation_notice, store_transaction
from fedethics.secagg.framing import Kind
from tests.secagg.federation import Federation, random_vectors, run_round, spec_of
from tests.secagg.stages import SPEC, memory_of, moments

KINDS = [Kind.ROSTER, Kind.OPEN, Kind.FORWARD, Kind.SURVIVORS, Kind.PROOF, Kind.RESULT]


class PowerCut(Exception):
    """The machine died here."""


def test_nobody_else_can_read_the_store(tmp_path):
    path = tmp_path / "site" / "secagg.sqlite"
    SiteStore(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.chmod(0o640)
    with pytest.raises(PolicyError, match="chmod 600"):
        SiteStore(path)
    path.chmod(0o600)
    path.parent.chmod(0o755)
    with pytest.raises(PolicyError, match="chmod 700"):
        SiteStore(path)


def test_a_store_of_another_version_is_refused(tmp_path):
    path = tmp_path / "site" / "secagg.sqlite"
    SiteStore(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 9")
    with pytest.raises(PolicyError, match="version 9"):
        SiteStore(path)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_power_cut_at_any_write_leaves_no_trace_and_the_step_works_afterwards(
    tmp_path, monkeypatch, kind
):
    federation = Federation(tmp_path, 4)
    cuts = 0
    for moment in moments(federation):
        if moment.kind is not kind:
            continue
        before = memory_of(federation)
        while True:
            with monkeypatch.context() as patch:
                patch.setattr(store_transaction.StoreTransaction, "__init__", cut_after(cuts))
                try:
                    moment.take(moment.message)
                    break  # every write went through: this step is done
                except PowerCut:
                    cuts += 1
            assert memory_of(federation) == before
            federation.sites["site-00"] = federation.restarted("site-00")
        # The generator goes on from here and checks that the sum is exact.
    assert cuts >= 2


@pytest.mark.parametrize("step", ["announce", "revoke", "adopt"])
def test_a_power_cut_in_a_step_about_keys_leaves_no_trace_and_the_step_works_afterwards(
    tmp_path, monkeypatch, step
):
    federation = Federation(tmp_path, 4, charter_name="heart")
    federation.join()
    site, first = federation.sites["site-00"], federation.identities["site-00"]
    key = federation.identities["site-01"].public_key
    notice = revocation_notice(first, key=key, reason="lost")
    changed = {**federation.terms.roster, "site-01": Identity.generate().public_key}
    take = {
        "announce": lambda: site.announce(epoch="run/1"),
        "revoke": lambda: site.revoke(notice),
        "adopt": lambda: SiteSecagg(
            site="site-00",
            identity=first,
            terms=replace(federation.terms, roster=changed, charter_version=2),
            store=federation.stores["site-00"],
        ),
    }[step]
    before, cuts = memory_of(federation), 0
    while True:
        with monkeypatch.context() as patch:
            patch.setattr(store_transaction.StoreTransaction, "__init__", cut_after(cuts))
            try:
                take()
                break
            except PowerCut:
                cuts += 1
        assert memory_of(federation) == before
    assert cuts >= 1 and memory_of(federation) != before


def cut_after(writes):
    class Counting:
        def __init__(self, connection):
            self.connection = connection
            self.left = writes

        def execute(self, query, values=()):
            if not query.startswith("SELECT"):
                if self.left == 0:
                    raise PowerCut
                self.left -= 1
            return self.connection.execute(query, values)

    def start(self, connection):
        self._connection = Counting(connection)

    return start


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_process_killed_between_any_two_statements_leaves_all_or_nothing(tmp_path, kind):
    """No rollback is run here: what the next process finds is what SQLite makes of the journal."""
    federation = Federation(tmp_path, 4)
    outcomes = set()
    for moment in moments(federation):
        if moment.kind is not kind:
            continue
        before, statements = memory_of(federation), 0
        while True:
            child = os.fork()
            if child == 0:
                sqlite3.connect = dying_after(statements, sqlite3.connect)
                moment.take(moment.message)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            done, statements = status == 0, statements + 1
            outcomes.add(memory_of(federation) == before)
            if memory_of(federation) != before:
                break
        # Only the last statement, COMMIT, makes it so; the generator plays the round to its end.
        assert done or statements > 3
        federation.sites["site-00"] = federation.restarted("site-00")
    assert outcomes == {True, False}


def dying_after(statements, connect):
    left = statements

    class Dying:
        def __init__(self, connection):
            self.connection = connection

        def execute(self, query, values=()):
            nonlocal left
            if left == 0:
                os._exit(1)
            left -= 1
            return self.connection.execute(query, values)

        def close(self):
            self.connection.close()

    return lambda *words, **named: Dying(connect(*words, **named))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_reply_lost_on_the_way_is_given_again_byte_for_byte(tmp_path, kind):
    federation = Federation(tmp_path, 4)
    for moment in moments(federation):
        if moment.kind is not kind:
            continue
        first = moment.take(moment.message)
        after = memory_of(federation)
        federation.sites["site-00"] = federation.restarted("site-00")
        again = moment.take(moment.message)
        if isinstance(first, bytes):
            assert again == first
        else:
            assert np.array_equal(again.total, first.total)
        assert memory_of(federation) == after


def test_opened_is_on_the_disk_before_the_reveal_exists(tmp_path):
    federation = Federation(tmp_path, 4)
    for moment in moments(federation):
        if moment.kind is Kind.PROOF:
            moment.take(moment.message)
            rounds = [line for line in memory_of(federation) if 'INTO "rounds"' in line]
            assert len(rounds) == 1 and "'opened'" in rounds[0]
            assert not any('INTO "secrets"' in line for line in memory_of(federation))


def test_the_first_vector_counts_when_training_ran_twice(tmp_path):
    federation = Federation(tmp_path, 4)
    federation.join()
    session = federation.open(SPEC)
    vectors = random_vectors(federation.names, SPEC)
    site = federation.sites["site-00"]
    first = site.share(session.open_message, vectors["site-00"], spec=SPEC)
    other = random_vectors(["site-00"], SPEC, seed=9)["site-00"]
    assert site.share(session.open_message, other, spec=SPEC) == first
    opened, _ = run_round(federation, session, vectors, SPEC)
    assert np.array_equal(opened.total, np.sum(list(vectors.values()), axis=0))


def test_nothing_secret_is_left_when_a_round_is_over(tmp_path):
    federation = Federation(tmp_path, 4)
    spec = spec_of(length=4000, bits=64, bound=2**40)
    drawn = []
    real = federation.random["site-00"]

    def remembered(size):
        drawn.append(real(size))
        return drawn[-1]

    federation.random["site-00"] = remembered
    federation.sites["site-00"] = federation.restarted("site-00")
    federation.join()
    vectors = random_vectors(federation.names, spec)
    session = federation.open(spec)
    path = tmp_path / "site-00" / "secagg.sqlite"
    site = federation.sites["site-00"]
    site.share(session.open_message, vectors["site-00"], spec=spec)
    words = vectors["site-00"].tobytes()
    secrets = [value for value in drawn if len(value) == 32]
    assert len(secrets) == 4  # two X25519 keys, b_i and K_i
    seed = secrets[2]
    # The vector is on the disk under its masks only, from the first moment.
    assert not any(words[k : k + 64] in path.read_bytes() for k in range(0, len(words) - 64, 64))
    assert seed.hex().encode() in path.read_bytes()  # the check below can fail
    run_round(federation, session, vectors, spec)
    left = path.read_bytes()
    assert sorted(p.name for p in path.parent.iterdir()) == ["secagg.sqlite"]
    for start in range(0, len(words) - 64, 64):
        assert words[start : start + 64] not in left
    for secret in secrets:
        assert secret not in left and secret.hex().encode() not in left


def test_wiping_forgets_every_pending_secret_and_keeps_what_was_opened(tmp_path):
    federation = Federation(tmp_path, 4)
    federation.join()
    vectors = random_vectors(federation.names, SPEC)
    run_round(federation, federation.open(SPEC), vectors, SPEC)
    pending = federation.open(SPEC, 1)
    site = federation.sites["site-00"]
    site.share(pending.open_message, vectors["site-00"], spec=SPEC)
    with federation.stores["site-00"].transaction() as step:
        step.wipe_everything()
    left = "\n".join(memory_of(federation))
    for table in ("epochs", "secrets", "vectors", "replies"):
        assert f'INTO "{table}"' not in left
    assert "'opened'" in left
    with pytest.raises(SecaggReject, match="abandoned"):
        site.share(pending.open_message, vectors["site-00"], spec=SPEC)


def test_a_later_attempt_of_a_run_takes_over_and_remembers_what_was_opened(tmp_path):
    federation = Federation(tmp_path, 4)
    federation.join("run/0")
    vectors = random_vectors(federation.names, SPEC)
    run_round(federation, federation.open(SPEC, 5), vectors, SPEC)
    stale = federation.open(SPEC, 6)
    federation.coordinator = federation.new_coordinator()
    federation.join("run/1")
    site = federation.sites["site-00"]
    with pytest.raises(SecaggReject, match="was not joined"):
        site.share(stale.open_message, vectors["site-00"], spec=SPEC)
    with pytest.raises(Exception, match="already opened"):
        site.share(federation.open(SPEC, 5).open_message, vectors["site-00"], spec=SPEC)
    opened, _ = run_round(federation, federation.open(SPEC, 6), vectors, SPEC)
    assert np.array_equal(opened.total, np.sum(list(vectors.values()), axis=0))
    # Another run starts with a clean slate of rounds.
    federation.coordinator = federation.new_coordinator()
    federation.join("second/0")
    run_round(federation, federation.open(SPEC, 5), vectors, SPEC)


@pytest.mark.parametrize("recovery", ["blob", "classic"])
@pytest.mark.parametrize("dropped", [[], ["site-02"], ["site-02", "site-03"]])
def test_a_masked_vector_sent_again_is_the_same_bytes_whoever_dropped(tmp_path, recovery, dropped):
    federation = Federation(tmp_path, 7, recovery=recovery)
    federation.join()
    spec = spec_of(length=3000)
    vectors = random_vectors(federation.names, spec)
    session = federation.open(spec)
    alive = [name for name in federation.names if name not in dropped]
    for name in alive:
        session.add_share(
            federation.sites[name].share(session.open_message, vectors[name], spec=spec)
        )
    for name, forward in session.forward().items():
        first = federation.sites[name].mask(forward)
        assert federation.restarted(name).mask(forward) == first
        session.add_masked(first)
    opened, _ = run_round(federation, session, vectors, spec, drops={"share": dropped})
    assert np.array_equal(opened.total, np.sum([vectors[name] for name in alive], axis=0))
