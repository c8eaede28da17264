"""What a site remembers of an epoch and of a session, and how it is spelled on its disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from fedethics import canonical
from fedethics.secagg.outcomes import Opening
from fedethics.secagg.sharing import PairRoots, SessionSecrets, SharePair
from fedethics.secagg.terms import TaskSpec

SessionStage: TypeAlias = Literal[
    "shared", "masked", "confirmed", "revealed", "finished", "aborted", "abandoned"
]
CLOSED: frozenset[SessionStage] = frozenset({"finished", "aborted", "abandoned"})


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochState:
    """One epoch at a site. `private_keys` and `roots` are Sensitive.

    Attributes:
        private_keys: X25519 private keys (mask, channel) until the roster is joined, then None.
        roots: peer -> pairwise roots at `round_number`; empty until the roster is joined.
        round_number: how far the roots have been hashed forward.
    """

    epoch: str
    run: str
    attempt: int
    announcement: bytes
    private_keys: tuple[bytes, bytes] | None
    epoch_hash: str = ""
    acknowledgement: bytes = b""
    round_number: int = 0
    roots: Mapping[str, PairRoots]

    def at_round(self, round_number: int) -> EpochState:
        """Return the epoch with its roots hashed forward; earlier rounds are then lost."""
        steps = round_number - self.round_number
        if steps <= 0:
            return self
        roots = {peer: pair.forward(steps) for peer, pair in self.roots.items()}
        return replace(self, round_number=round_number, roots=roots)

    def spell_secrets(self) -> bytes:
        """Sensitive: return the keys and roots for storage."""
        keys = self.private_keys or ()
        roots = {peer: [pair.mask.hex(), pair.channel.hex()] for peer, pair in self.roots.items()}
        return _spell({"keys": [key.hex() for key in keys], "roots": roots})


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
    """

    opening: Opening
    spec: TaskSpec
    stage: SessionStage
    shared: tuple[str, ...] = ()
    root: str = ""
    survivors: tuple[str, ...] = ()
    view: str = ""

    @property
    def session(self) -> bytes:
        """The session id as 32 bytes, for derivations."""
        return bytes.fromhex(self.opening.session_id)

    def spell(self) -> bytes:
        """Return the state for storage."""
        opening = self.opening
        return _spell(
            {
                "session_id": opening.session_id,
                "run": opening.run,
                "task": opening.task,
                "round_number": opening.round_number,
                "cohort": list(opening.cohort),
                "threshold": opening.threshold,
                "model_hash": opening.model_hash,
                "spec": self.spec.document(),
                "shared": list(self.shared),
                "root": self.root,
                "survivors": list(self.survivors),
                "view": self.view,
            }
        )


def read_session(spelled: bytes, stage: SessionStage) -> SessionState:
    """Return the session that `SessionState.spell` wrote."""
    document: Any = canonical.parse(spelled)
    opening = Opening(
        session_id=document["session_id"],
        run=document["run"],
        task=document["task"],
        round_number=document["round_number"],
        cohort=tuple(document["cohort"]),
        threshold=document["threshold"],
        model_hash=document["model_hash"],
    )
    return SessionState(
        opening=opening,
        spec=TaskSpec(**document["spec"]),
        stage=stage,
        shared=tuple(document["shared"]),
        root=document["root"],
        survivors=tuple(document["survivors"]),
        view=document["view"],
    )


def spell_session_secrets(secrets: SessionSecrets) -> bytes:
    """Sensitive: return the secrets of a session for storage."""
    return _spell(
        {
            "seed": secrets.seed.hex(),
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
        pair_seeds={peer: bytes.fromhex(seed) for peer, seed in document["pair_seeds"].items()},
        channel_keys={peer: bytes.fromhex(key) for peer, key in document["channel_keys"].items()},
        shares={
            owner: SharePair(seed=bytes.fromhex(seed), key=bytes.fromhex(key))
            for owner, (seed, key) in document["shares"].items()
        },
    )


def read_epoch_secrets(
    spelled: bytes,
) -> tuple[tuple[bytes, bytes] | None, dict[str, PairRoots]]:
    """Sensitive: return the private keys and roots that `EpochState.spell_secrets` wrote."""
    document: Any = canonical.parse(spelled)
    roots = {
        peer: PairRoots(mask=bytes.fromhex(mask), channel=bytes.fromhex(channel))
        for peer, (mask, channel) in document["roots"].items()
    }
    if not document["keys"]:
        return None, roots
    mask_key, channel_key = document["keys"]
    return (bytes.fromhex(mask_key), bytes.fromhex(channel_key)), roots


def _spell(document: dict[str, Any]) -> bytes:
    return canonical.encode(document)
