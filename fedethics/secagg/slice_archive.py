"""What the coordinator keeps so that sites can check the sum, and its answers to them.

The masked vectors lie in files of a folder that the caller chose; they tell no more than the
coordinator's transcript. The caller deletes the folder when nobody will ask any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedethics.errors import SecaggReject
from fedethics.secagg import framing, merkle
from fedethics.secagg.framing import LEAF_BYTES, Frame
from fedethics.secagg.ring_opening import Secrets


@dataclass(frozen=True, kw_only=True, slots=True)
class _Vector:
    path: Path
    head: bytes
    hashes: list[bytes]

    def record(self, leaf: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(leaf * LEAF_BYTES)
            return file.read(LEAF_BYTES) + merkle.inclusion_path(self.hashes, leaf)


@dataclass(kw_only=True, slots=True)
class SliceArchive:
    """One session's SHARE messages and masked vectors.

    Attributes:
        folder: where vectors are written, one file a site, in the order of arrival.
    """

    folder: Path
    _shares: dict[str, Frame] = field(default_factory=dict)
    _masked: dict[str, _Vector] = field(default_factory=dict)

    def add_share(self, frame: Frame) -> None:
        """Keep a SHARE message."""
        self._shares[frame.header["sender"]] = frame

    def add_masked(self, frame: Frame) -> None:
        """Keep a MASKED message: its body on the disk, the rest here."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / f"{frame.header['session'][:16]}-{len(self._masked):04d}.masked"
        path.write_bytes(frame.body)
        self._masked[frame.header["sender"]] = _Vector(
            path=path, head=framing.detach(frame), hashes=merkle.leaf_hashes(frame.body)
        )

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
        hashes = merkle.leaf_hashes(result.body)
        for leaf in leaves:
            own = bytes(result.body[leaf * LEAF_BYTES : (leaf + 1) * LEAF_BYTES])
            records = [self._masked[site].record(leaf) for site in survivors]
            parts.append(b"".join([*records, own, merkle.inclusion_path(hashes, leaf)]))
        return framing.pack(parts)
