"""A session's messages on the coordinator's disk, and its answers to sites that check the sum.

The vectors are read back from the session's log, leaf by leaf; nothing is stored twice. They tell
no more than the coordinator's transcript. The caller deletes the log when nobody will ask any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedethics.errors import SecaggReject
from fedethics.secagg import framing, merkle
from fedethics.secagg.coordinator_log import CoordinatorLog
from fedethics.secagg.framing import LEAF_BYTES, SIGNATURE_BYTES, Frame, Kind
from fedethics.secagg.ring_opening import Secrets


@dataclass(kw_only=True, slots=True)
class _Vector:
    path: Path
    begin: int
    size: int
    head: bytes
    _hashes: list[bytes] = field(default_factory=list)

    def record(self, leaf: int) -> bytes:
        with self.path.open("rb") as file:
            if not self._hashes:  # only once somebody asks
                file.seek(self.begin)
                self._hashes = merkle.leaf_hashes(file.read(self.size))
            start = leaf * LEAF_BYTES
            file.seek(self.begin + start)
            data = file.read(min(LEAF_BYTES, self.size - start))
        return data + merkle.inclusion_path(self._hashes, leaf)


@dataclass(kw_only=True, slots=True)
class SliceArchive:
    """One session on disk: what it took, what it sent, and the slices of both.

    Attributes:
        log: the session's messages.
    """

    log: CoordinatorLog
    _shares: dict[str, Frame] = field(default_factory=dict)
    _masked: dict[str, _Vector] = field(default_factory=dict)
    _total: tuple[bytes, list[bytes]] = (b"", [])

    def took(self, frame: Frame) -> None:
        """Keep a site's message."""
        begin, site = self.log.append(frame.raw), frame.header["sender"]
        if frame.kind is Kind.SHARE:
            self._shares[site] = frame
        elif frame.kind is Kind.MASKED:
            size = len(frame.body)
            self._masked[site] = _Vector(
                path=self.log.path,
                begin=begin + len(frame.raw) - SIGNATURE_BYTES - size,
                size=size,
                head=framing.detach(frame),
            )

    def sends(self, message: bytes) -> None:
        """Keep what the coordinator is about to send, durably, with all that it took before."""
        self.log.append(message, durable=True)

    def answer(
        self, leaves: Sequence[int], *, result: Frame, survivors: Sequence[str], secrets: Secrets
    ) -> bytes:
        """Return the body of a SLICE message.

        Args:
            leaves: numbers of the 64 KiB leaves asked for, sorted.
            result: the RESULT message.
            survivors: U2.
            secrets: the secrets that the revealed shares gave.

        Raises:
            SecaggReject: there is no such leaf.
        """
        count = merkle.leaf_count(len(result.body))
        if leaves[-1] >= count:
            raise SecaggReject(f"SLICE_REQUEST asks for leaf {leaves[-1]} of {count}")
        parts = [
            framing.detach(result),
            framing.pack(framing.detach(self._shares[site]) for site in survivors),
            framing.pack(self._masked[site].head for site in survivors),
            b"".join(secrets.seeds[site] for site in survivors),
            framing.pack(self._shares[site].raw for site in secrets.keys),
            b"".join(secrets.keys.values()),
        ]
        hashes = self._hashes_of(result)
        for leaf in leaves:
            own = bytes(result.body[leaf * LEAF_BYTES : (leaf + 1) * LEAF_BYTES])
            records = [self._masked[site].record(leaf) for site in survivors]
            parts.append(b"".join([*records, own, merkle.inclusion_path(hashes, leaf)]))
        return framing.pack(parts)

    def _hashes_of(self, result: Frame) -> list[bytes]:
        if self._total[0] != result.root:
            self._total = (result.root, merkle.leaf_hashes(result.body))
        return self._total[1]
