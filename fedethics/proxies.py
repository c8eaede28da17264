"""Which proxy a connection takes: one rule for `site check`, the SuperNode and every child process.

Guarantee: what two processes of one machine say to each other goes to no proxy, whatever is set in
the environment. Only the connection from a site to its coordinator may take one. Libraries read
these variables in ways that differ (NO_PROXY with a network, SOCKS, upper and lower case), so the
rule is applied here, and a child process is given its result and nothing else.

The rule for the coordinator's address: `https_proxy`, then `all_proxy`; a lower-case name counts
before an upper-case one; `no_proxy` names exceptions as curl and Go read it: hosts with all their
subdomains, host:port, addresses, networks (10.0.0.0/8), or `*`. A connection to a loopback address
is made directly, unless the proxy itself is on loopback.
"""

from __future__ import annotations

import os
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit

_SUFFIX = "_proxy"
_DEFAULT_PORT = 3128
# In this order: the connection to the coordinator is always TLS.
_KINDS = ("https", "all")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that was found in the environment.

    Attributes:
        url: its whole address. Sensitive: it may hold a password; never shown and never logged.
        variable: where it was found.
    """

    url: str = field(repr=False)
    variable: str

    @property
    def scheme(self) -> str:
        """How it is spoken to: http, https, socks5 and so on."""
        return urlsplit(self.url).scheme.lower()

    @property
    def host(self) -> str:
        """Its host, without user and password."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """Its port."""
        try:
            return urlsplit(self.url).port or _DEFAULT_PORT
        except ValueError:
            return _DEFAULT_PORT

    @property
    def shown(self) -> str:
        """host:port, as people may read it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def credentials(self) -> dict[str, str]:
        """The header that names the user to the proxy, if the address holds that. Sensitive."""
        parts = urlsplit(self.url)
        if parts.username is None:
            return {}
        told = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return {"Proxy-Authorization": f"Basic {b64encode(told.encode('utf-8')).decode('ascii')}"}

    @property
    def fault(self) -> str:
        """Return why it cannot be used, as one sentence; empty when it can."""
        if self.scheme in ("http", "https") and self.host:
            return ""
        kind = f"a {self.scheme} proxy" if self.host and self.scheme else "no address of a proxy"
        return (
            f"{self.variable} names {kind}; only HTTP proxies with CONNECT can be used, as "
            "http://host:port"
        )


def is_loopback(host: str) -> bool:
    """Say whether `host` names this machine by itself: localhost or a loopback address."""
    bare = host.strip("[]").rstrip(".").lower()
    if bare == "localhost" or bare.endswith(".localhost"):
        return True
    try:
        address = ip_address(bare)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or bool(mapped and mapped.is_loopback)


def proxy_for(
    host: str, port: int = 0, environment: Mapping[str, str] | None = None
) -> Proxy | None:
    """Return the proxy that a TLS connection to `host` takes, or None.

    Args:
        host: name or address, with or without brackets.
        port: its port, for exceptions that name one.
        environment: variables to read instead of this process's and the system's settings.
    """
    for kind in _KINDS:
        found = _named(kind, environment)
        if found is None:
            continue
        if _is_excepted(host, port, _exceptions(environment)):
            return None
        if is_loopback(host) and not is_loopback(found.host):
            return None
        return found
    return None


def variables(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the names of all proxy variables that are set and not empty, in order."""
    given = os.environ if environment is None else environment
    return tuple(sorted(name for name, value in given.items() if _is_proxy(name) and value))


def without_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a child that speaks to this machine only."""
    kept = {name: value for name, value in environment.items() if not _is_proxy(name)}
    # Where nothing is set, libraries ask the system's own settings (macOS, Windows).
    return kept | {"NO_PROXY": "*", "no_proxy": "*"}


def only_for(host: str, port: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a child that may reach `host` alone, by the proxy for it."""
    found = proxy_for(host, port, environment)
    if found is None:
        return without_proxies(environment)
    kept = {name: value for name, value in environment.items() if not _is_proxy(name)}
    return kept | {"https_proxy": found.url, "HTTPS_PROXY": found.url}


def _named(kind: str, environment: Mapping[str, str] | None) -> Proxy | None:
    given = os.environ if environment is None else environment
    for name in (f"{kind}{_SUFFIX}", f"{kind}{_SUFFIX}".upper()):
        if name in given:  # set and empty means none, and hides the upper-case name
            value = given[name].strip()
            return Proxy(_whole(value), name) if value else None
    if environment is None and not any(_is_proxy(name) for name in given):
        value = urllib.request.getproxies().get(kind, "")
        return Proxy(_whole(value), "the system's settings") if value else None
    return None


def _whole(value: str) -> str:
    return value if "://" in value else f"http://{value}"


def _exceptions(environment: Mapping[str, str] | None) -> str:
    given = os.environ if environment is None else environment
    return given.get("no_proxy", given.get("NO_PROXY", ""))


def _is_excepted(host: str, port: int, listed: str) -> bool:
    bare = host.strip("[]").rstrip(".").lower()
    return any(_matches(bare, port, entry.lower()) for entry in listed.replace(",", " ").split())


def _matches(host: str, port: int, entry: str) -> bool:
    if entry == "*":
        return True
    name, _, given = entry.rpartition(":")
    if given.isdigit() and name and (":" not in name or name.endswith("]")):
        entry, only = name, int(given)
        if port and only != port:
            return False
    entry = entry.strip("[]").rstrip(".")
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        suffix = entry.removeprefix("*").lstrip(".")
        return bool(suffix) and (host == suffix or host.endswith(f".{suffix}"))


def _is_proxy(name: str) -> bool:
    return name.lower().endswith(_SUFFIX)
