"""host:port, as it is written in settings and invitations: one reading, and one canonical spelling.

Guarantee: what `Address.parse` returned is an address that Flower can connect to and a certificate
can name. Names in other scripts become their A-label (`xn--...`), so that a person reads the
address that is connected to.
Source: RFC 3986 (brackets), RFC 5890 (A-labels, by way of `idna`), RFC 5952 (spelling of IPv6).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

import idna

from fedethics.errors import EnrolmentError

_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_LONGEST_NAME, _LONGEST_SHOWN = 253, 120
_HINT = "use the form host:port, such as fed.example.org:443, 192.0.2.7:443 or [2001:db8::7]:443"

IP = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port.

    Attributes:
        host: a name in lower case, all ASCII, or an IP address without brackets.
        port: 1 to 65535.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `text`; a name in another script is taken by its A-label.

        Raises:
            EnrolmentError: it is no address, with what is wrong with it.
        """
        why, host, port = _split(text)
        if not why:
            why, host = _host(host, bracketed=text.startswith("["))
        if why:
            raise EnrolmentError(
                f"{_shown(text)} is not an address: {why}; {_HINT}. Nothing was done"
            )
        return cls(host, port)

    @property
    def ip(self) -> IP | None:
        """The host as an IP address, or None where it is a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return self.ip.is_loopback if self.ip is not None else self.host == "localhost"

    @property
    def is_every_interface(self) -> bool:
        """Whether it is listened on at every interface, so that no connection can be made to it."""
        return self.ip is not None and self.ip.is_unspecified

    def at(self, host: str) -> Address:
        """Return the same port at another host."""
        return Address(host, self.port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def problem(text: object) -> str:
    """Say what is wrong with an address that a file holds, for `terms.term(check=...)`.

    A file holds the canonical spelling, which is what `Address.parse` makes of what people type.
    """
    try:
        address = Address.parse(str(text))
    except EnrolmentError as error:
        return str(error)
    return "" if str(address) == text else f"write it as {address}"


def _split(text: str) -> tuple[str, str, int]:
    """Return what is wrong, the host without its brackets, and the port."""
    if "://" in text:
        return "it names a protocol", "", 0
    for mark, what in (("/", "a path"), ("@", "a user"), ("?", "a query"), ("#", "a fragment")):
        if mark in text:
            return f"it has {what} ({mark!r})", "", 0
    if text.startswith("["):
        inside, bracket, rest = text[1:].partition("]")
        if not bracket or not rest.startswith(":"):
            return "its bracket does not end before a colon and a port", "", 0
        host, digits = inside, rest[1:]
    else:
        host, colon, digits = text.rpartition(":")
        if not colon:
            return "it has no port", "", 0
        if ":" in host:
            return "an IPv6 address must be in brackets", "", 0
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5):
        return f"its port is {_shown(digits)}, not a number", "", 0
    if not 1 <= int(digits) <= 65535:
        return f"its port is {digits}, not 1 to 65535", "", 0
    return ("", host, int(digits)) if host else ("it has no host", "", 0)


def _host(host: str, *, bracketed: bool) -> tuple[str, str]:
    """Return what is wrong, and the host in its canonical spelling."""
    if bracketed:
        try:
            found = ipaddress.IPv6Address(host)
        except ValueError:
            return f"{_shown(host)} is not an IPv6 address", ""
        if found.scope_id is not None:
            return "an address with a zone (%) means another machine at each site", ""
        return "", str(found)
    name = host.lower() if host.isascii() else _mapped(host)
    if name is None:
        return f"{_shown(host)} has no A-label, so no name server can resolve it", ""
    name = name.removesuffix(".")
    last = name.rpartition(".")[2]
    if last.isdigit() or last.startswith("0x"):
        try:
            return "", str(ipaddress.IPv4Address(name))
        except ValueError:
            return f"{_shown(host)} is not an IPv4 address of four numbers", ""
    if len(name) > _LONGEST_NAME or not all(_label_holds(label) for label in name.split(".")):
        return f"{_shown(host)} is not a host name", ""
    return "", name


def _mapped(host: str) -> str | None:
    try:
        return idna.encode(host, uts46=True, std3_rules=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        return None


def _label_holds(label: str) -> bool:
    if not _NAME.fullmatch(label):
        return False
    if label[2:4] != "--":
        return True
    try:
        # Two hyphens there are for A-labels alone, and one that stands for nothing is a trap.
        return label.startswith("xn--") and bool(idna.decode(label))
    except (idna.IDNAError, UnicodeError):
        return False


def _shown(text: str) -> str:
    """Return `text` as Python writes it, control and bidirectional characters escaped, and cut."""
    shown = ascii(text) if not text.isprintable() else repr(text)
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}..."
