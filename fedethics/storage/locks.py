"""A lock on an open file, which the system drops when its holder dies.

Two things fail alike to the eye and mean opposite things: another process holds the lock, or this
file system has no locks, so that nobody can ever hold one. Here the first is an answer and the
second an error.
"""

from __future__ import annotations


class NoLocksError(OSError):
    """The file system (or the system) cannot lock a file; nobody was found to hold it."""


def take(descriptor: int, *, shared: bool = False) -> bool:
    """Take the lock of an open file without waiting; say whether it is held now.

    It is dropped when the file is closed.

    Args:
        descriptor: of a file that is open for writing.
        shared: others may hold it in the same way; only one that holds it alone prevents it.

    Raises:
        NoLocksError: the answer is unknown, since files cannot be locked here.
    """
    try:
        import fcntl
    except ImportError as error:
        raise NoLocksError(0, "this system has no file locks") from error
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise NoLocksError(error.errno, error.strerror) from error
    return True
