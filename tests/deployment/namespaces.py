"""Each site and the coordinator on a machine of its own, as far as the network can tell.

Every site has a Linux network namespace with one cable, to the coordinator's; there is no other
route, so neither another site nor the Internet can be reached from it. Needs root and `ip`.
"""

from __future__ import annotations

import contextlib
import functools
import re
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

ADDRESS = "10.77.0.1"  # of the coordinator, in every site's eyes
_LISTENING = "0A"  # the kernel's TCP_LISTEN, in hexadecimal
# 127.0.0.0/8, ::1 and the former in IPv6, as the kernel prints them: words of four bytes, turned.
_LOCAL = re.compile(r"[0-9A-F]{6}7F|0{24}01000000|0{16}FFFF0000[0-9A-F]{6}7F")


@dataclass(frozen=True)
class Namespaces:
    """One network namespace for each of a federation's members.

    Attributes:
        of_coordinator: name of the coordinator's.
        of_site: site -> name of its own.
        address_of: site -> its address on its one cable.
    """

    of_coordinator: str
    of_site: dict[str, str] = field(default_factory=dict)
    address_of: dict[str, str] = field(default_factory=dict)

    def enter(self, site: str = "") -> tuple[str, ...]:
        """Return what to put before a command so that it runs at `site`, or the coordinator."""
        return _inside(self.of_site[site] if site else self.of_coordinator)

    def heard_from_outside(self, site: str) -> set[int]:
        """Return the TCP ports that `site` listens on and that are not on its loopback only."""
        found = set()
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            for line in _run(*self.enter(site), "cat", table).splitlines()[1:]:
                local, state = (line.split()[number] for number in (1, 3))
                address, port = local.split(":")
                if state == _LISTENING and _LOCAL.fullmatch(address) is None:
                    found.add(int(port, 16))
        return found


def _inside(name: str) -> tuple[str, ...]:
    return ("ip", "netns", "exec", name)


@functools.cache
def why_not() -> str:
    """Say why this machine gives us no namespaces; empty where it does."""
    try:
        with apart(["try"]):
            return ""
    except FileNotFoundError as error:
        return f"{error.filename} is not installed"
    except subprocess.CalledProcessError as error:
        return f"{' '.join(error.cmd)}: {error.stderr.strip()}"


@contextlib.contextmanager
def apart(sites: Sequence[str]) -> Iterator[Namespaces]:
    """Yield namespaces for `sites` and a coordinator, cabled as a star; gone afterwards."""
    mark = f"fe{secrets.token_hex(4)}"
    made = Namespaces(f"{mark}-c")
    try:
        _namespace(made.of_coordinator)
        _run(*made.enter(), "ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")
        _run(*made.enter(), "sysctl", "-qw", "net.ipv4.ip_forward=0")
        for number, site in enumerate(sites, start=1):
            made.of_site[site] = f"{mark}-{number}"
            _namespace(made.of_site[site])
            made.address_of[site] = _cable(made, site, number)
        yield made
    finally:
        for name in (made.of_coordinator, *made.of_site.values()):
            # One that was not made is not there to delete.
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _namespace(name: str) -> None:
    _run("ip", "netns", "add", name)
    _run(*_inside(name), "ip", "link", "set", "lo", "up")


def _cable(made: Namespaces, site: str, number: int) -> str:
    """Lay a cable between `site` and the coordinator; return the site's address on it."""
    ends = {f"c{number}": made.of_coordinator, f"s{number}": made.of_site[site]}
    near, far = ends
    _run(
        *("ip", "-n", ends[near], "link", "add", near, "type", "veth"),
        *("peer", "name", far, "netns", ends[far]),
    )
    addresses = {near: f"10.77.{number}.1", far: f"10.77.{number}.2"}
    for end, name in ends.items():
        _run("ip", "-n", name, "address", "add", f"{addresses[end]}/30", "dev", end)
        _run("ip", "-n", name, "link", "set", end, "up")
    _run("ip", "-n", ends[far], "route", "add", ADDRESS, "via", addresses[near])
    return addresses[far]


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
