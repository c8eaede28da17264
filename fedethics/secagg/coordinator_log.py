"""What the coordinator remembers of an epoch or a session: its signed messages, in one file.

Format: `FESLOG`, a zero byte, version 1; then records: length of the message (4 bytes, big-endian),
CRC-32 of it (4), the message as it was signed. Of messages that differ by recipient (FORWARD,
JOINED) the first by name stands for all, since all follow from the records before it.

No secret of a site is in it but the shares that were revealed to the coordinator; mode 0600.

Guarantee: after `append(durable=True)` the message, and all before it, survive a power cut; a
record that a crash cut short is dropped when the file is opened again. A log that was opened is
replayed first: what is appended must equal, byte for byte, what the log holds, until its end.

A session's messages on the coordinator's disk, and its answers to sites that check the sum.

The vectors are read back from the session's log, leaf by leaf; nothing is stored twice. They reveal
no more than the coordinator's transcript. The caller deletes the log when no site can ask any more.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from fedethics.errors import RunError, SecaggReject
from fedethics.secagg import framing
from fedethics.secagg.framing import LEAF_BYTES, SIGNATURE_BYTES, Frame, Kind
from fedethics.secagg.opening import Secrets
from fedethics.storage import files

_MAGIC = b"FESLOG\x00\x01"
_RECORD = struct.Struct(">II")


class CoordinatorLog:
    """Messages in one file, in the order in which they were taken or about to be sent."""

    def __init__(self, path: Path, *, position: int, end: int) -> None:
        """Use `create` or `open`."""
        self.path = path
        self.position = position
        self._end = end

    @classmethod
    def create(cls, path: Path) -> CoordinatorLog:
        """Begin an empty log.

        Raises:
            RunError: the file exists or cannot be written.
        """
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.create(path, _MAGIC)
        except OSError as error:
            raise RunError(
                f"{path} cannot be begun ({error.strerror}); nothing was sent"
            ) from error
        return cls(path, position=len(_MAGIC), end=len(_MAGIC))

    @classmethod
    def open(cls, path: Path) -> CoordinatorLog:
        """Open a log for replay; it ends before the first record that is cut short or unsound.

        Raises:
            RunError: missing, or not a log of this version.
        """
        try:
            with path.open("rb") as file:
                magic = file.read(len(_MAGIC))
                end = len(_MAGIC)
                while record_bytes := _sound_record(file):
                    end += record_bytes
        except OSError as error:
            raise RunError(f"{path} cannot be read ({error.strerror})") from error
        if not _MAGIC.startswith(magic):
            raise RunError(f"{path} is not a log of this version; nothing was sent")
        return cls(path, position=len(_MAGIC), end=end)

    def upcoming(self) -> bytes | None:
        """Return the next message to be replayed, or None at the end."""
        if self.position >= self._end:
            return None
        with self.path.open("rb") as file:
            file.seek(self.position)
            length, _ = _RECORD.unpack(file.read(_RECORD.size))
            return file.read(length)

    def append(self, message: bytes, *, durable: bool = False) -> int:
        """Keep a message; return where in the file it begins.

        Raises:
            RunError: it cannot be written, or a replay gave a message other than the logged one.
        """
        begin = self.position + _RECORD.size
        recorded = self.upcoming()
        if recorded is None:
            self._write(message, durable=durable)
        elif recorded != message:
            raise RunError(
                f"{self.path} does not lead to the message at byte {begin}; was it written by "
                "another version? Nothing was sent"
            )
        self.position = begin + len(message)
        return begin

    def _write(self, message: bytes, *, durable: bool) -> None:
        try:
            with self.path.open("r+b") as file:
                file.seek(0)
                file.write(_MAGIC)
                file.seek(self.position)
                file.write(_RECORD.pack(len(message), zlib.crc32(message)))
                file.write(message)
                file.truncate()  # what a crash left half written behind the end
                if durable:
                    files.sync(file)
        except OSError as error:
            raise RunError(
                f"{self.path} cannot be written ({error.strerror}); nothing was sent. Make room, "
                "then resume the job"
            ) from error
        self._end = self.position + _RECORD.size + len(message)


def _sound_record(file: BinaryIO) -> int:
    """Return the size of the record that begins here, or 0 if it is not whole."""
    head = file.read(_RECORD.size)
    if len(head) < _RECORD.size:
        return 0
    length, checksum = _RECORD.unpack(head)
    message = file.read(length)
    sound = len(message) == length and length > 0 and zlib.crc32(message) == checksum
    return _RECORD.size + length if sound else 0


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
                self._hashes = framing.leaf_hashes(file.read(self.size))
            start = leaf * LEAF_BYTES
            file.seek(self.begin + start)
            data = file.read(min(LEAF_BYTES, self.size - start))
        return data + framing.inclusion_path(self._hashes, leaf)


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
        count = framing.leaf_count(len(result.body))
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
            parts.append(b"".join([*records, own, framing.inclusion_path(hashes, leaf)]))
        return framing.pack(parts)

    def _hashes_of(self, result: Frame) -> list[bytes]:
        if self._total[0] != result.root:
            self._total = (result.root, framing.leaf_hashes(result.body))
        return self._total[1]
