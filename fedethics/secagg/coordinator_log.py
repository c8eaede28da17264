"""What the coordinator remembers of an epoch or a session: its signed messages, in one file.

Format: `FESLOG`, a zero byte, version 1; then records: length of the message (4 bytes, big-endian),
CRC-32 of it (4), the message as it was signed. Of messages that differ by recipient (FORWARD,
JOINED) the first by name stands for all, since all follow from what stands before it.

No secret of a site is in it but the shares that were revealed to the coordinator; mode 0600.

Guarantee: after `append(durable=True)` the message, and all before it, survive a power cut; a
record that a crash cut short is dropped when the file is opened again. A log that was opened is
replayed first: what is appended must be, byte for byte, what stands there, until its end.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from fedethics.errors import RunError

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
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(_MAGIC)
                file.flush()
                os.fsync(file.fileno())
            _sync_folder(path.parent)
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
            RunError: it cannot be written, or a replay gave another message than stands there.
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
                file.flush()
                if durable:
                    os.fsync(file.fileno())
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


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
