"""Read a file that somebody else may have made: a plain file of a bounded size, or nothing.

Guarantee: a read never waits for anybody (no pipe, socket or device is opened), never runs into
another file by a link that the reader did not ask for, and never holds more than `limit` bytes.
What lies at a path is looked at before it is opened, and what was opened is looked at again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fedethics.ownership import cannot_read

# Documents: charters, receipts, papers of an enrolment. The largest real ones have some 100 kB.
DOCUMENT_LIMIT = 4 * 1024 * 1024
_CHUNK = 1024 * 1024
_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISLNK, "a link, whose target can change"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
Failure = Callable[[str], Exception]


def read(path: Path, error: Failure, *, limit: int = DOCUMENT_LIMIT, typed: bool = False) -> bytes:
    """Return the bytes of a plain file.

    Args:
        path: of the file.
        error: makes the exception from its message.
        limit: most bytes that such a file has.
        typed: a person gave this very path, or it is a setting of this machine. Then a link is
            followed, and the file may have other names; a name inside a folder that somebody else
            made is held to both.

    Raises:
        Exception: as `error` makes it: missing, unreadable, no plain file, or too large.
    """
    with opened(path, error, limit=limit, typed=typed) as file:
        return b"".join(_chunks(file, path, error, limit))


def sha256(path: Path, error: Failure, *, limit: int, typed: bool = False) -> str:
    """Return the SHA-256 of a plain file as 64 hex digits, in bounded memory; see `read`."""
    digest = hashlib.sha256()
    with opened(path, error, limit=limit, typed=typed) as file:
        for chunk in _chunks(file, path, error, limit):
            digest.update(chunk)
    return digest.hexdigest()


def fault(path: Path, *, limit: int, typed: bool = False) -> str:
    """Return why a path would not be read, as the end of a sentence about it, or ""."""
    try:
        found = os.stat(path, follow_symlinks=typed)
    except OSError as problem:
        return cannot_read(path, problem).removeprefix(f"{path} ")
    return _unfit(found, limit=limit, typed=typed)


@contextmanager
def opened(path: Path, error: Failure, *, limit: int, typed: bool = False) -> Iterator[BinaryIO]:
    """Open a plain file for reading; see `read`."""
    unfit = fault(path, limit=limit, typed=typed)
    if unfit:
        raise error(f"{path} {unfit}")
    # Not on Windows, where there are no such files.
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    flags |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    if not typed:
        flags |= getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as problem:
        if problem.errno == errno.ELOOP:
            raise error(f"{path} is a link; it was not opened") from problem
        raise error(cannot_read(path, problem)) from problem
    with os.fdopen(descriptor, "rb") as file:
        # Somebody may have put another file there since it was looked at.
        unfit = _unfit(os.fstat(descriptor), limit=limit, typed=typed)
        if unfit:
            raise error(f"{path} {unfit}")
        yield file


def _unfit(found: os.stat_result, *, limit: int, typed: bool) -> str:
    for is_kind, words in _KINDS:
        if is_kind(found.st_mode):
            return f"is {words}, not a plain file; it was not opened"
    if not stat.S_ISREG(found.st_mode):
        return "is not a plain file; it was not opened"
    if not typed and found.st_nlink > 1:
        return (
            f"has {found.st_nlink} names (hard links), so it can be changed under another name; it "
            "was not read. Put a copy in its place"
        )
    if found.st_size > limit:
        return f"has {found.st_size:,} bytes, more than the {limit:,} that such a file may have"
    return ""


def _chunks(file: BinaryIO, path: Path, error: Failure, limit: int) -> Iterator[bytes]:
    left = limit
    try:
        # A byte more than may be: a file that grows while it is read is found.
        while chunk := file.read(min(_CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise error(f"{path} grew beyond the {limit:,} bytes that such a file may have")
            yield chunk
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror}") from problem
