"""How a site reaches its coordinator: the address that it dials and the authority that it believes.

Whoever changes both sends a site to another server without a word in the charter, so that a change
of either is shown to a person like a change of the charter.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from fedethics.charter.differences import ABSENT, Change
from fedethics.enrolment.invitation import Invitation
from fedethics.site.home import SiteHome


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """One way to a coordinator.

    Attributes:
        superlink: host:port that the site's node dials; empty where there is none.
        ca: certificates (PEM) of the authority; empty where there is none.
    """

    superlink: str = ""
    ca: str = ""

    @classmethod
    def invited(cls, invitation: Invitation) -> Route:
        """Return the way that an invitation names."""
        return cls(superlink=invitation.superlink, ca=invitation.ca)

    @classmethod
    def installed(cls, home: SiteHome) -> Route:
        """Return the way that this home holds; what cannot be read counts as absent."""
        node = home.settings.node
        if node is None:
            return cls()
        try:
            ca = (home.path / node.ca).read_bytes().decode("utf-8", errors="replace")
        except OSError:
            ca = ""
        return cls(superlink=node.superlink, ca=ca)

    @property
    def authority(self) -> str:
        """The SHA-256 of each certificate (DER), as `openssl x509 -fingerprint -sha256` has it."""
        if not self.ca:
            return ABSENT
        try:
            found = x509.load_pem_x509_certificates(self.ca.encode("utf-8"))
        except ValueError:
            return "not a certificate"
        return "; ".join(one.fingerprint(hashes.SHA256()).hex(":").upper() for one in found)


def route_changes(before: Route, after: Route) -> tuple[Change, ...]:
    """Return what changes for a site that has a way already; empty for one that had none."""
    if before == Route():
        return ()
    rows = (
        (
            "node.superlink",
            before.superlink,
            after.superlink,
            "This site dials another server.",
            before.superlink != after.superlink,
        ),
        (
            "node.ca (SHA-256)",
            before.authority,
            after.authority,
            "Another authority says which server is the coordinator's.",
            before.ca != after.ca,
        ),
    )
    return tuple(
        Change(key=key, old=old, new=new, meaning=meaning)
        for key, old, new, meaning, changed in rows
        if changed
    )
