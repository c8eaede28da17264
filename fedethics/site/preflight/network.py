"""Preflight: is the coordinator there, is it the right one, and do the clocks agree?

One TLS connection, as Flower's node will make it: through the proxy of the environment if there is
one (`fedethics.proxies`), believing only the authority of the invitation. One request for
`/health`, which carries nothing of this site.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from fedethics import proxies
from fedethics.address import Address
from fedethics.commands import join_again, suggested
from fedethics.deployment.chain import ending, last_end
from fedethics.proxies import Proxy
from fedethics.site.home import SiteHome
from fedethics.site.preflight.check_result import CheckResult, fail, ok, warn

_TIMEOUT_S = 6.0
_NOTABLE_SKEW_S = 30.0
# Flower's node authentication takes timestamps within 305 s; the ledger, clocks within 300 s.
_MOST_SKEW_S = 300.0
_FIXES = {
    9: "the coordinator's certificate is not valid yet: compare this machine's clock with theirs",
    10: "the coordinator must renew its certificate, or this machine's clock is wrong",
    18: "it is not the authority of the invitation: ask the coordinator, by telephone",
    19: "it is not the authority of the invitation: ask the coordinator, by telephone",
    20: "it is not the authority of the invitation: ask the coordinator, by telephone",
    62: "the certificate is for another host: ask the coordinator for the right address",
    64: "the certificate is for another address: ask the coordinator for the right address",
}


def coordinator(home: SiteHome, *, clock: Callable[[], datetime]) -> Iterator[CheckResult]:
    """Connect to the coordinator, and look at its certificate and its clock."""
    table = home.settings.node
    if table is None:
        yield fail(
            "coordinator",
            f"{home.path}/site.toml has no [node]: this site has no coordinator",
            fix=join_again(home.path),
        )
        return
    address = Address.parse(table.superlink)
    host, port = address.host, address.port
    proxy = proxies.proxy_for(host, port)
    yield from _proxies(table.superlink, proxy)
    if proxy is not None and proxy.scheme != "http":
        return
    way = f" through the proxy {proxy.shown}" if proxy else ""
    try:
        context = ssl.create_default_context(cafile=str(home.path / table.ca))
    except (OSError, ssl.SSLError) as error:
        yield fail(
            "coordinator",
            f"the authority's certificate {home.path / table.ca} cannot be read ({error})",
            fix=join_again(home.path),
        )
        return
    with closing(_connection(host, port, proxy, context)) as connection:
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            yield _bad_certificate(table.superlink, error)
            return
        except OSError as error:
            yield _unreachable(f"{table.superlink}{way}", error)
            return
        yield ok("coordinator", f"{table.superlink} answers{way}, with TLS by the right authority")
        yield _certificate(connection, clock(), last_end(home.path / table.ca))
        yield _clocks(connection, host, clock)


def _proxies(superlink: str, proxy: Proxy | None) -> Iterator[CheckResult]:
    """Say which proxy variables are set here, and what they mean for the node."""
    named = ", ".join(proxies.variables())
    if proxy is None and not named:
        return
    within = "; what passes within this machine takes none"
    if proxy is None:
        yield ok("proxy", f"{named}: not used for {superlink}, which is reached directly{within}")
    elif proxy.fault:
        yield fail(
            "proxy",
            f"{proxy.fault}: {superlink} was not contacted, and `site run` will not start",
            fix="set HTTPS_PROXY=http://HOST:PORT to an HTTP proxy, or name the coordinator's host "
            "in NO_PROXY",
        )
    elif proxy.scheme == "https":
        yield warn(
            "proxy",
            f"{proxy.variable}: {superlink} is reached through {proxy.shown}, over TLS; this check "
            "did not try it",
            fix="start the node and see that it connects",
        )
    else:
        others = [name for name in proxies.variables() if name != proxy.variable]
        rest = f"; set and not used: {', '.join(others)}" if others else ""
        yield ok(
            "proxy", f"{proxy.variable}: {superlink} is reached through {proxy.shown}{within}{rest}"
        )


def _connection(
    host: str, port: int, proxy: Proxy | None, context: ssl.SSLContext
) -> http.client.HTTPSConnection:
    bare = host.strip("[]")
    if proxy is None:
        return http.client.HTTPSConnection(bare, port, timeout=_TIMEOUT_S, context=context)
    through = http.client.HTTPSConnection(
        proxy.host, proxy.port, timeout=_TIMEOUT_S, context=context
    )
    through.set_tunnel(bare, port, headers=proxy.credentials)
    return through


def _bad_certificate(address: str, error: ssl.SSLCertVerificationError) -> CheckResult:
    return fail(
        "certificate",
        f"{address} showed a certificate that does not hold: {error.verify_message}",
        fix=_FIXES.get(error.verify_code, "ask the coordinator, by telephone, what changed"),
    )


def _unreachable(address: str, error: OSError) -> CheckResult:
    why = error.strerror or str(error) or type(error).__name__
    return fail(
        "coordinator",
        f"{address} cannot be reached: {why}",
        fix="open the way out to this host and port in the firewall; where a proxy is needed, set "
        "HTTPS_PROXY; ask whether the coordinator is up",
    )


def certificates_end(home: SiteHome) -> datetime | None:
    """Return when the coordinator's certificate or its authority's ends; None without a connection.

    Where it does not hold any more, the end is that of the authority, or unknown.
    """
    table = home.settings.node
    if table is None:
        return None
    address = Address.parse(table.superlink)
    proxy = proxies.proxy_for(address.host, address.port)
    if proxy is not None and proxy.scheme != "http":
        return None
    try:
        context = ssl.create_default_context(cafile=str(home.path / table.ca))
        with closing(_connection(address.host, address.port, proxy, context)) as connection:
            connection.connect()
            shown = _shown_end(connection)
    except (OSError, http.client.HTTPException):
        return None
    return min(filter(None, (shown, last_end(home.path / table.ca))))


def _shown_end(connection: http.client.HTTPSConnection) -> datetime:
    shown = connection.sock.getpeercert() or {}  # never empty once verified
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC)


def _certificate(
    connection: http.client.HTTPSConnection, now: datetime, authority: datetime | None
) -> CheckResult:
    end = min(_shown_end(connection), authority or datetime.max.replace(tzinfo=UTC))
    line = f"valid until {end.date()} ({(end - now).days} days)"
    if ending(end, now=now):
        return warn(
            "certificate",
            line,
            fix="tell the coordinator's operator to renew it before the run: "
            + suggested("federation", "renew-certificate", "--home", "THEIR-HOME"),
        )
    return ok("certificate", line)


def _clocks(
    connection: http.client.HTTPSConnection, host: str, clock: Callable[[], datetime]
) -> CheckResult:
    fix = "ask whether the coordinator's proxy sends a Date header; compare the clocks by hand"
    try:
        connection.request("GET", "/health", headers={"Host": host})
        theirs = connection.getresponse().getheader("Date") or ""
        skew = (clock() - parsedate_to_datetime(theirs)).total_seconds()
    except (OSError, http.client.HTTPException, ValueError):
        return warn("clock", "the coordinator did not tell its time", fix=fix)
    line = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the coordinator's"
    mend = "let both sides take the time from the network (NTP)"
    if abs(skew) > _MOST_SKEW_S:
        return fail("clock", f"{line}: nodes this far apart are refused", fix=mend)
    if abs(skew) > _NOTABLE_SKEW_S:
        return warn("clock", line, fix=mend)
    return ok("clock", line)
