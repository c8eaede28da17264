"""Ports of this machine: taken before anything is started, and by whom they are taken if not by us.

The coordinator binds its port itself, hands it to its SuperLink, and holds it while that is started
again; so nobody else can answer there in its name. Source: proc(5), /proc/net/tcp.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fedethics.address import Address
from fedethics.errors import RunError

_BACKLOG = 2048
_LISTENS = "0A"
_PROC = Path("/proc")
_LONGEST_COMMAND = 160


def bound(address: Address) -> tuple[socket.socket, ...]:
    """Return sockets that listen at every IP address of `address`.

    Raises:
        RunError: the port is taken (by whom, where the system says so) or cannot be opened; nothing
            was started.
    """
    sockets: list[socket.socket] = []
    try:
        for family, place in _places(address):
            one = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(one)
            # Against the connections of a SuperLink that ended; a listener is never passed by.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(place)
            one.listen(_BACKLOG)
    except OSError as error:
        for one in sockets:
            one.close()
        raise RunError(why_not(address, error)) from error
    return tuple(sockets)


@contextmanager
def bound_path(path: Path) -> Iterator[socket.socket]:
    """Listen at a Unix socket for this account alone (mode 0600), in the place of an earlier one.

    Call it only while you hold the lock of the folder. The path that is bound is relative to its
    folder, since it has at most 107 bytes.

    Raises:
        RunError: it cannot be made; nothing was started.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        here, before = os.open(".", os.O_RDONLY), os.umask(0o177)
        try:
            path.unlink(missing_ok=True)
            os.chdir(path.parent)
            one.bind(path.name)
            one.listen(_BACKLOG)
        except OSError as error:
            raise RunError(f"{path} cannot be made: {error.strerror}; nothing started") from error
        finally:
            os.fchdir(here)
            os.close(here)
            os.umask(before)
        yield one


def why_not(address: Address, error: OSError) -> str:
    """Return in words why `address` cannot be listened at."""
    if error.errno == errno.EADDRINUSE:
        return (
            f"{address} is in use by {holder_of(address.port)}; nothing was started. End that "
            "process, or use another port"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"no interface of this machine has the address {address.host}; nothing was started"
    if error.errno == errno.EACCES:
        return (
            f"port {address.port} is for administrators on this machine; nothing was started. Use "
            "one above 1023, behind a proxy"
        )
    return f"{address} cannot be listened at: {error.strerror or error}; nothing was started"


def holder_of(port: int) -> str:
    """Return which process listens at a TCP port, as far as this account may know."""
    inodes = set(_listening(port))
    for process in sorted(_processes(), key=lambda path: int(path.name)) if inodes else ():
        if inodes & set(_sockets(process)):
            return f"process {process.name} ({_told(process)})"
    return "another process (of another account, or in another container)"


def _places(address: Address) -> Iterator[tuple[socket.AddressFamily, tuple[str, int]]]:
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    for family, _, _, _, place in dict.fromkeys(found):
        yield family, (str(place[0]), address.port)


def _listening(port: int) -> Iterator[str]:
    """Yield the inode of each socket that listens at `port`."""
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (_PROC / "net" / name).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def _processes() -> Iterator[Path]:
    with suppress(OSError):
        yield from (path for path in _PROC.iterdir() if path.name.isdigit())


def _sockets(process: Path) -> Iterator[str]:
    with suppress(OSError):
        for entry in (process / "fd").iterdir():
            with suppress(OSError):
                target = str(entry.readlink())
                if target.startswith("socket:["):
                    yield target[len("socket:[") : -1]


def _told(process: Path) -> str:
    """Return what a process is: its command, without what a terminal would act on."""
    try:
        words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        words = words.strip() or (process / "comm").read_text().strip()
    except OSError:
        return "gone by now"
    plain = "".join(one if one.isprintable() else "?" for one in words)
    return plain if len(plain) <= _LONGEST_COMMAND else f"{plain[:_LONGEST_COMMAND]}..."
