"""Join a federation: read an invitation, say what it asks, and install it once a person agrees.

Guarantee: `propose` writes nothing, and `install` is only to be called with what it returned. A
proposal exists only under four conditions: the coordinator's fingerprint is the given one; every
signature holds; the charter's roster names this site by the key in this home; the site never had a
later version of the charter.

How a site reaches its coordinator: the address that it connects to and the authority that it
trusts.

Anyone who changes both sends a site to another server without a word in the charter, so that a
change of either is shown to a person like a change of the charter.

Write how to reach the coordinator into site.toml without touching anything else in it.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from fedethics.charter import document
from fedethics.charter.differences import ABSENT, Change, differences
from fedethics.charter.model import Charter
from fedethics.enrolment import files
from fedethics.enrolment.asking import Ask, asks
from fedethics.enrolment.papers import Invitation, read_invitation
from fedethics.errors import CharterError, DataError, EnrolmentError
from fedethics.policy.model import Policy, load_policy
from fedethics.policy.permit import DataFacts, refusals_before_joining
from fedethics.privacy.ledger import Ledger
from fedethics.privacy.plan import make_plan
from fedethics.site.home import SiteHome, archive_charter, archived
from fedethics.site.records import facts_of, site_records


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """One way to a coordinator.

    Attributes:
        superlink: host:port that the site's node connects to; empty where there is none.
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
            "This site connects to another server.",
            before.superlink != after.superlink,
        ),
        (
            "node.ca (SHA-256)",
            before.authority,
            after.authority,
            "Another authority certifies the coordinator's server.",
            before.ca != after.ca,
        ),
    )
    return tuple(
        Change(key=key, old=old, new=new, meaning=meaning)
        for key, old, new, meaning, changed in rows
        if changed
    )


_HEADER = re.compile(r"^\[node\][ \t]*(#.*)?$", re.MULTILINE)
_NEXT = re.compile(r"^\[", re.MULTILINE)


def with_node_table(text: str, *, superlink: str, ca: str) -> str:
    """Return site.toml with `superlink` and `ca` of the table `[node]` set; comments stay.

    Raises:
        EnrolmentError: the file is written in a way that this cannot edit; edit it by hand.
    """
    lines = {"superlink": json.dumps(superlink), "ca": json.dumps(ca)}
    header = _HEADER.search(text)
    if header is None:
        table = "".join(f"{key} = {value}\n" for key, value in lines.items())
        edited = f"{text.rstrip()}\n\n[node]\n{table}"
    else:
        following = _NEXT.search(text, header.end())
        end = following.start() if following else len(text)
        body = text[header.end() : end]
        for key, value in lines.items():
            body = _set(body, key, value)
        edited = text[: header.end()] + body + text[end:]
    _check(text, edited, superlink=superlink, ca=ca)
    return edited


def _set(body: str, key: str, value: str) -> str:
    line = re.compile(rf"^{key}[ \t]*=.*$", re.MULTILINE)
    if line.search(body):
        return line.sub(lambda _: f"{key} = {value}", body, count=1)
    return f"\n{key} = {value}{body}"


def _check(before: str, after: str, *, superlink: str, ca: str) -> None:
    """Refuse an edit that did more or less than it should have."""
    try:
        was, now = tomllib.loads(before), tomllib.loads(after)
    except tomllib.TOMLDecodeError as error:
        raise EnrolmentError(f"site.toml is not valid TOML: {error}") from error
    node = {**was.pop("node", {}), "superlink": superlink, "ca": ca}
    if now.pop("node", None) != node or now != was:
        raise EnrolmentError(
            "site.toml could not be edited; nothing was written. Add by hand: [node] with "
            f"superlink = {json.dumps(superlink)} and ca = {json.dumps(ca)}"
        )


INVITATION, CA = "invitation", "ca.crt"


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """What joining would mean.

    Attributes:
        asks: each term beside what the policy allows.
        refusals: every reason why this site's policy does not allow the charter.
        unread: why the records could not be judged yet; empty when they were.
        changes: against the charter that the site holds now, and the coordinator's address and
            authority; empty where it holds none.
        again: the site holds exactly this charter already, with the same address and authority.
    """

    paper: bytes
    invitation: Invitation
    charter: Charter
    charter_hash: str
    asks: tuple[Ask, ...]
    refusals: tuple[str, ...]
    unread: str
    changes: tuple[Change, ...]
    again: bool


def propose(home: SiteHome, paper: bytes, *, said: str) -> Proposal:
    """Read an invitation for this site; nothing is written.

    Args:
        home: this site's.
        paper: the invitation's bytes.
        said: the coordinator's fingerprint, as it was read out.

    Raises:
        EnrolmentForged: another signer than the one with this fingerprint, or a changed paper.
        EnrolmentError: damaged, the roster does not name this site with its key, or the charter is
            an earlier version than one that this site had.
        CharterError: a charter that was kept here cannot be read.
        PolicyError: no valid policy.
        LedgerError, LedgerTampered: the ledger does not verify.
    """
    invitation = read_invitation(paper, said=said)
    charter = invitation.agreement
    identity = home.identity()
    _check_named(charter, site=home.settings.site, public_key=identity.public_key)
    _check_not_older(home, charter)
    policy, plan = load_policy(home.policy_path), make_plan(charter)
    facts, unread = _records(home, charter, policy)
    refusals = refusals_before_joining(
        charter,
        site=home.settings.site,
        policy=policy,
        plan=plan,
        ledger=Ledger.open(home.ledger_path, identity=identity),
        data=facts,
    )
    before = document.load(home.charter_path) if home.charter_path.exists() else None
    installed, invited = Route.installed(home), Route.invited(invitation)
    return Proposal(
        paper=paper,
        invitation=invitation,
        charter=charter,
        charter_hash=document.hash_of(charter),
        asks=asks(charter, policy=policy, plan=plan),
        refusals=refusals,
        unread=unread,
        changes=(
            *(differences(before, charter) if before else ()),
            *route_changes(installed, invited),
        ),
        again=before == charter and installed == invited,
    )


def install(home: SiteHome, proposal: Proposal) -> None:
    """Install what was agreed to: certificate, address, and last the charter.

    The charter before it and what was signed over it are kept in `charters/`. Should one file fail,
    those before it are put back. A crash in between leaves the old charter in force; joining again
    ends it.

    Raises:
        EnrolmentError: a file cannot be written.
        CharterError: the charter before it cannot be read or kept.
    """
    settings = home.path / "site.toml"
    text = with_node_table(
        files.read(settings).decode("utf-8"), superlink=proposal.invitation.superlink, ca=CA
    )
    if home.charter_path.exists() and document.load(home.charter_path) != proposal.charter:
        archive_charter(home.charter_path)
    # The charter first: without it the rest is not in force.
    with files.put_back(home.charter_path, home.path / CA, settings, home.path / INVITATION):
        files.replace(home.path / CA, proposal.invitation.ca.encode("utf-8"))
        files.replace(settings, text.encode("utf-8"))
        files.replace(home.path / INVITATION, proposal.paper)
        files.replace(home.charter_path, document.encode(proposal.charter))


def _check_named(charter: Charter, *, site: str, public_key: str) -> None:
    member = charter.member(site)
    if member is None:
        raise EnrolmentError(
            f"the charter's roster ({', '.join(charter.site_names)}) does not name {site!r}; "
            "nothing was written. Ask the coordinator whether your request was approved"
        )
    if member.public_key != public_key:
        raise EnrolmentError(
            f"the charter names {site!r} by key {member.public_key[:16]}, but this home's key is "
            f"{public_key[:16]}; nothing was written. Send a new request from this home"
        )


def _check_not_older(home: SiteHome, charter: Charter) -> None:
    """Refuse the replay of a genuine invitation that a later one replaced."""
    present = (home.charter_path,) if home.charter_path.exists() else ()
    held = (document.load(path) for path in (*present, *archived(home.charter_path)))
    versions = (one.charter.version for one in held if one.name == charter.name)
    latest, offered = max(versions, default=0), charter.charter.version
    if offered < latest:
        raise EnrolmentError(
            f"the invitation is for version {offered} of charter {charter.name!r}, but this site "
            f"has had version {latest}; nothing was written. Ask the coordinator for the latest "
            "invitation. A new federation needs another name or a higher version"
        )


def _records(home: SiteHome, charter: Charter, policy: Policy) -> tuple[DataFacts | None, str]:
    if charter.monitoring is not None:
        return None, "records are read window by window, each once it is over"
    try:
        return facts_of(site_records(home.data.under(policy.personal), charter)), ""
    except (DataError, CharterError) as error:
        return None, str(error)
