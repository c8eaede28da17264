"""A site's half of the protocol: one method per message, all memory in the site's own store.

A message that fails its signature or form is rejected and changes nothing. A message that is
genuine and breaks a rule is a lie of its signer: the session ends, and the message is kept as
evidence. Secrets are wiped as soon as no honest continuation needs them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from fedethics.errors import CharterError, SecaggAbort, SecaggReject
from fedethics.identity import Identity
from fedethics.secagg import revocation, site_epoch, site_round, slice_check
from fedethics.secagg.checked import CheckedSum, believe, statement
from fedethics.secagg.framing import Frame, Kind
from fedethics.secagg.messages import (
    LISTED_MESSAGE_BYTES,
    SYSTEM_CLOCK,
    Clock,
    Party,
    joined_bytes,
    receive,
    roster_bytes,
)
from fedethics.secagg.outcomes import Opening, Result
from fedethics.secagg.sharing import RECORD_BYTES
from fedethics.secagg.site_checks import catching_lies, verify_open
from fedethics.secagg.store import OpenedRound, SiteStore
from fedethics.secagg.store_transaction import StoreTransaction
from fedethics.secagg.terms import COORDINATOR, SecaggTerms, SumSpec

# A RESULT or SLICE is read before its session is known; the largest that a SumSpec can describe.
MAX_RESULT_BYTES = 1 << 33


class SiteSecagg:
    """One site of a federation.

    Guarantee: what leaves the site is masked until the site itself agrees to a sum over at least
    the minimum cohort, and it agrees at most once per (charter, run, aggregate, round). Every
    method may run in another process than the one before, and answers a repeated message with the
    same bytes.

    Every method raises `SecaggReject` for a message that is malformed, not genuine or out of place
    (nothing changed), and `SecaggAbort` for one that is genuine and a lie (the session is over,
    the lie recorded in the store).
    """

    def __init__(
        self,
        *,
        site: str,
        identity: Identity,
        terms: SecaggTerms,
        store: SiteStore,
        random_bytes: Callable[[int], bytes] = os.urandom,
        now_s: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Take part as `site`, whose key the charter's roster must name.

        A newer version of a charter revokes the keys that it replaces, at once and permanently.

        Raises:
            CharterError: it names another key, or none; this site took part under a later version
                of it; or the key of this site or the coordinator was revoked.
        """
        if terms.roster.get(site) != identity.public_key:
            raise CharterError(
                f"the charter's roster does not give this site's key for {site!r}; this site "
                "takes no part. Check the name, the key file and the charter"
            )
        self._store = store
        self._terms = terms
        self._member = Party(
            name=site, identity=identity, terms=terms, random_bytes=random_bytes, now_s=now_s
        )
        self._adopt_charter()

    @property
    def name(self) -> str:
        """The site's name on the roster."""
        return self._member.name

    @property
    def terms(self) -> SecaggTerms:
        """The charter's terms."""
        return self._terms

    def sum_bytes(self, session_id: str) -> int:
        """Return how many bytes a vector of a session has; 0 if this site shared nothing in it."""
        with self._store.transaction() as step:
            session = step.session(session_id)
            return session.spec.body_bytes if session else 0

    def announce(self, *, epoch: str) -> bytes:
        """Return the EPOCH message: fresh signed keys for `epoch`, "<run>/<attempt>"."""
        with self._store.transaction() as step:
            return site_epoch.announce(self._member, step, epoch)

    def join(self, roster_message: bytes) -> bytes:
        """Verify every bundle of the ROSTER, agree on keys with every peer; return EPOCH_ACK."""
        roster = self._receive(roster_message, Kind.ROSTER, roster_bytes(self._terms))
        with self._step(roster) as step:
            return site_epoch.join(self._member, step, roster)

    def revoke(self, notice: bytes) -> str:
        """Take a signed notice (`revocation_notice`); return the key, which never comes back.

        Every epoch and pending session of this site ends with it, no matter which site's key it
        was: what was agreed with a stolen key is no longer secret. Taking a notice again changes
        nothing.

        Raises:
            SecaggReject: malformed, or signed by neither the key itself nor this site.
        """
        own = self._member.identity.public_key
        read = revocation.read_notice(notice, own_key=own)
        with self._store.transaction() as step:
            at_s = int(self._member.now_s())
            if step.trust.revoke(read.key, at_s=at_s, reason=read.reason, notice=notice):
                step.wipe_everything()
        return read.key

    def complete(self, joined: bytes) -> None:
        """Take the JOINED message of an epoch, which some suites need before the first OPEN."""
        message = self._receive(joined, Kind.JOINED, joined_bytes(self._terms))
        with self._step(message) as step:
            site_epoch.complete(self._member, step, message)

    def check_open(self, open_message: bytes, *, specs: Mapping[str, SumSpec]) -> Opening:
        """Verify an OPEN in full, before any work is done for it.

        Args:
            open_message: as received.
            specs: the charter's aggregates by name.

        Returns:
            What was asked. The caller compares its `model_hash` with the model it holds.
        """
        message = self._receive(open_message, Kind.OPEN)
        with self._step(message) as step:
            spec = specs.get(message.header["task"])
            if spec is None:
                raise SecaggAbort(f"OPEN: the charter has no sum {message.header['task']!r}")
            opening, _ = verify_open(self._member, step, message, spec)
            return opening

    def share(self, open_message: bytes, vector: NDArray[np.int64], *, spec: SumSpec) -> bytes:
        """Commit `vector`, shape (length,), to the session of an OPEN; return SHARE.

        The same OPEN again gets the same SHARE, and the first vector counts. Another OPEN of the
        same aggregate wipes what is pending of it; for the same round it is a restart, and refused
        once a share of that round was revealed.
        """
        message = self._receive(open_message, Kind.OPEN)
        with self._step(message) as step:
            return site_round.share(self._member, step, message, vector, spec)

    def mask(self, forward: bytes) -> bytes:
        """Take the peers' sealed shares; return MASKED, and forget the vector."""
        message = self._receive(forward, Kind.FORWARD, RECORD_BYTES * len(self._terms.roster))
        with self._step(message) as step:
            return site_round.mask(self._member, step, message)

    def confirm(self, survivors: bytes) -> bytes:
        """Check the survivor set and sign it (strict mode only); return CONFIRM."""
        message = self._receive(survivors, Kind.SURVIVORS)
        with self._step(message) as step:
            return site_round.confirm(self._member, step, message)

    def reveal(self, proof: bytes) -> bytes:
        """Agree to open the sum: return REVEAL, after "opened" is on the disk.

        Args:
            proof: the PROOF in strict mode, the SURVIVORS message in fast mode.
        """
        if self._terms.mode == "strict":
            limit = LISTED_MESSAGE_BYTES * len(self._terms.roster)
            message = self._receive(proof, Kind.PROOF, limit)
        else:
            message = self._receive(proof, Kind.SURVIVORS)
        with self._step(message) as step:
            return site_round.reveal(self._member, step, message)

    def finish(self, result: bytes) -> Result:
        """Check the RESULT, wipe the session, and return the sum."""
        message = self._receive(result, Kind.RESULT, MAX_RESULT_BYTES)
        with self._step(message) as step:
            return site_round.finish(self._member, step, message)

    def slice_request(self, session_id: str, *, random_leaves: int = 1) -> bytes:
        """Ask to check slices of a finished sum; return SLICE_REQUEST, the same one each time.

        Args:
            session_id: as in `Opening`.
            random_leaves: how many 64 KiB leaves to draw besides this site's share of them.
        """
        with self._store.transaction() as step:
            return slice_check.request(self._member, step, session_id, random_leaves)

    def session_of_slice(self, answer: bytes) -> str:
        """Return the session that a SLICE of the coordinator is about; nothing of it is checked."""
        session: str = self._receive(answer, Kind.SLICE, MAX_RESULT_BYTES).header["session"]
        return session

    def verify_slice(self, answer: bytes) -> int:
        """Check the sum on the slices asked for; return how many coordinates are proven right.

        A false sum raises `SecaggAbort`, and the coordinator's signed contradiction is kept.
        """
        message = self._receive(answer, Kind.SLICE, MAX_RESULT_BYTES)
        with self._step(message) as step:
            return slice_check.verify(self._member, step, message)

    def checked(self, session_id: str) -> bytes:
        """Return CHECKED, the same one each time: this site vouches for a sum to others.

        The caller answers for it that the sum passed this site's check, or that the charter asks
        for none: then it says only that this site was told that sum.
        """
        with self._store.transaction() as step:
            session = step.session(session_id)
            if session is None:
                raise SecaggReject("CHECKED: unknown session; this site shared nothing in it")
            return statement(self._member, session)

    def believe(self, missed: CheckedSum, *, spec: SumSpec) -> tuple[Opening, Result]:
        """Return a sum that this site was not told itself, once enough members vouch for it.

        Nothing is written, and nobody is blamed: a bundle may have been put together by anyone.

        Raises:
            SecaggReject: see `fedethics.secagg.checked.believe`.
        """
        with self._store.transaction() as step:
            return believe(self._member, step, missed, spec)

    def opened_rounds(self, run: str) -> tuple[OpenedRound, ...]:
        """Return every sum of a run that this site agreed to open, from the REVEAL on."""
        return self._store.opened(charter_hash=self._terms.charter_hash, run=run)

    def _adopt_charter(self) -> None:
        terms, now_s = self._terms, self._member.now_s()
        members = {**terms.roster, COORDINATOR: terms.coordinator_key}
        with self._store.transaction() as step:
            step.delete_expired_epochs(now_s)
            if terms.charter_name and step.trust.adopt_charter(
                terms.charter_name, terms.charter_version, members, now_s=now_s
            ):
                step.wipe_everything()
            problem = self._revoked(step)
        if problem:  # raised here, so that what was learned stays learned
            raise CharterError(problem)

    def _revoked(self, step: StoreTransaction) -> str:
        own, coordinator = self._member.identity.public_key, self._terms.coordinator_key
        for whose, key in (("this site's own", own), ("the coordinator's", coordinator)):
            if step.trust.is_revoked(key):
                return (
                    f"{whose} key {key[:16]} was revoked here; nothing is answered under it. A new "
                    "version of the charter must name another key"
                )
        return ""

    def _receive(self, raw: bytes, kind: Kind, max_body_bytes: int = 0) -> Frame:
        return receive(raw, kind=kind, terms=self._terms, max_body_bytes=max_body_bytes)

    @contextmanager
    def _step(self, message: Frame) -> Iterator[StoreTransaction]:
        with catching_lies(self._store, self._terms, message), self._store.transaction() as step:
            if problem := self._revoked(step):
                raise SecaggReject(problem)
            yield step
