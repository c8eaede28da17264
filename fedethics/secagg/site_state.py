"""What a site remembers of an epoch and of a session, and how it is spelled on its disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from fedethics import canonical
from fedethics.secagg.outcomes import Opening
from fedethics.secagg.sharing import PairRoots, SessionSecrets, SharePair
from fedethics.secagg.terms import SumSpec

SessionStage: TypeAlias = Literal[
    "shared", "masked", "confirmed", "revealed", "finished", "aborted", "abandoned"
]
CLOSED: frozenset[SessionStage] = frozenset({"finished", "aborted", "abandoned"})


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochState:
    """One epoch at a site. `private_keys` and `roots` are Sensitive.

    Attributes:
        private_keys: private keys (mask, channel) until no agreement needs them, then None.
        roots: peer -> pairwise roots at `counter`; empty until the roster is joined.
        awaiting: peers whose ciphertexts JOINED must bring -> their public keys; None once there
            is nothing to wait for.
        joined_hash: SHA-256 of the JOINED message that was accepted.
        ring_nonce: this site's part of the ring order, if the epoch draws one; else empty.
        ring_commitments: site -> its commitment to a nonce, until the order is known.
        ring: the sites in ring order, once known.
        counter: of the first session that the roots still reach; earlier ones are lost.
        round_number: the last round in which this site shared.
        expires_s: when the first key of the epoch ends, in seconds since 1970.
    """

    epoch: str
    run: str
    attempt: int
    announcement: bytes
    private_keys: tuple[bytes, bytes] | None
    epoch_hash: str = ""
    acknowledgement: bytes = b""
    counter: int = 0
    round_number: int = 0
    expires_s: int
    roots: Mapping[str, PairRoots]
    awaiting: Mapping[str, tuple[str, str]] | None = None
    joined_hash: str = ""
    ring_nonce: bytes = b""
    ring_commitments: Mapping[str, str] = field(default_factory=dict)
    ring: tuple[str, ...] = ()

    def at_counter(self, counter: int) -> EpochState:
        """Return the epoch with its roots hashed forward to the session of this counter.

        Raises:
            ValueError: `counter` lies behind; there is no way back.
        """
        steps = counter - self.counter
        if steps < 0:
            raise ValueError(f"roots stand at {self.counter}, beyond {counter}")
        roots = {peer: pair.forward(steps) for peer, pair in self.roots.items()}
        return replace(self, counter=counter, roots=roots)

    def spell_secrets(self) -> bytes:
        """Sensitive: return the keys and roots for storage."""
        keys = self.private_keys or ()
        roots = {peer: [pair.mask.hex(), pair.channel.hex()] for peer, pair in self.roots.items()}
        document: dict[str, Any] = {"keys": [key.hex() for key in keys], "roots": roots}
        if self.awaiting is not None:
            document["awaiting"] = {peer: list(keys) for peer, keys in self.awaiting.items()}
        if self.joined_hash:
            document["joined"] = self.joined_hash
        if self.ring_nonce:
            document["ring_nonce"] = self.ring_nonce.hex()
            document["ring_commitments"] = dict(self.ring_commitments)
            document["ring"] = list(self.ring)
        return _spell(document)

    def with_secrets(self, spelled: bytes) -> EpochState:
        """Sensitive: return the epoch with what `spell_secrets` wrote."""
        document: Any = canonical.parse(spelled)
        awaiting = document.get("awaiting")
        return replace(
            self,
            private_keys=_pair_of_keys(document["keys"]),
            roots={
                peer: PairRoots(mask=bytes.fromhex(mask), channel=bytes.fromhex(channel))
                for peer, (mask, channel) in document["roots"].items()
            },
            awaiting=None if awaiting is None else {p: (m, c) for p, (m, c) in awaiting.items()},
            joined_hash=document.get("joined", ""),
            ring_nonce=bytes.fromhex(document.get("ring_nonce", "")),
            ring_commitments=document.get("ring_commitments", {}),
            ring=tuple(document.get("ring", ())),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionState:
    """The public part of one session at a site.

    Attributes:
        opening: what the coordinator's OPEN said.
        spec: the kind of sum.
        shared: U1, the sites that shared, once FORWARD was accepted.
        root: tree hash of this site's masked vector, once masked.
        survivors: U2, once a survivor set was accepted.
        view: hash over session, U1, U2 and roots, once a survivor set was accepted.
        neighbours: this site's neighbours on the ring; None in the complete graph.
        ring: the epoch's sites in ring order; empty if it drew none.
    """

    opening: Opening
    spec: SumSpec
    stage: SessionStage
    shared: tuple[str, ...] = ()
    root: str = ""
    survivors: tuple[str, ...] = ()
    view: str = ""
    neighbours: tuple[str, ...] | None = None
    ring: tuple[str, ...] = ()

    @property
    def session(self) -> bytes:
        """The session id as 32 bytes, for derivations."""
        return bytes.fromhex(self.opening.session_id)

    def among_peers(self, sites: Iterable[str]) -> tuple[str, ...]:
        """Return those of `sites` that this site shares masks with, in their order."""
        if self.neighbours is None:
            return tuple(sites)
        return tuple(site for site in sites if site in self.neighbours)

    def spell(self) -> bytes:
        """Return the state for storage."""
        opening = self.opening
        return _spell(
            {
                "session_id": opening.session_id,
                "run": opening.run,
                "task": opening.aggregate,
                "round_number": opening.round_number,
                "cohort": list(opening.cohort),
                "threshold": opening.threshold,
                "model_hash": opening.model_hash,
                "spec": self.spec.document(),
                "shared": list(self.shared),
                "root": self.root,
                "survivors": list(self.survivors),
                "view": self.view,
                "neighbours": None if self.neighbours is None else list(self.neighbours),
                "ring": list(self.ring),
            }
        )


def read_session(spelled: bytes, stage: SessionStage) -> SessionState:
    """Return the session that `SessionState.spell` wrote."""
    document: Any = canonical.parse(spelled)
    opening = Opening(
        session_id=document["session_id"],
        run=document["run"],
        aggregate=document["task"],
        round_number=document["round_number"],
        cohort=tuple(document["cohort"]),
        threshold=document["threshold"],
        model_hash=document["model_hash"],
    )
    return SessionState(
        opening=opening,
        spec=SumSpec(**document["spec"]),
        stage=stage,
        shared=tuple(document["shared"]),
        root=document["root"],
        survivors=tuple(document["survivors"]),
        view=document["view"],
        # Absent in sessions that an older version of this code began.
        neighbours=None if (near := document.get("neighbours")) is None else tuple(near),
        ring=tuple(document.get("ring", ())),
    )


def spell_session_secrets(secrets: SessionSecrets) -> bytes:
    """Sensitive: return the secrets of a session for storage."""
    return _spell(
        {
            "seed": secrets.seed.hex(),
            "key": secrets.key.hex(),
            "pair_seeds": {peer: seed.hex() for peer, seed in secrets.pair_seeds.items()},
            "channel_keys": {peer: key.hex() for peer, key in secrets.channel_keys.items()},
            "shares": {
                owner: [pair.seed.hex(), pair.key.hex()] for owner, pair in secrets.shares.items()
            },
        }
    )


def read_session_secrets(spelled: bytes) -> SessionSecrets:
    """Sensitive: return the secrets that `spell_session_secrets` wrote."""
    document: Any = canonical.parse(spelled)
    return SessionSecrets(
        seed=bytes.fromhex(document["seed"]),
        key=bytes.fromhex(document.get("key", "")),
        pair_seeds={peer: bytes.fromhex(seed) for peer, seed in document["pair_seeds"].items()},
        channel_keys={peer: bytes.fromhex(key) for peer, key in document["channel_keys"].items()},
        shares={
            owner: SharePair(seed=bytes.fromhex(seed), key=bytes.fromhex(key))
            for owner, (seed, key) in document["shares"].items()
        },
    )


def _pair_of_keys(spelled: list[str]) -> tuple[bytes, bytes] | None:
    if not spelled:
        return None
    mask_key, channel_key = spelled
    return bytes.fromhex(mask_key), bytes.fromhex(channel_key)


def _spell(document: dict[str, Any]) -> bytes:
    return canonical.encode(document)
