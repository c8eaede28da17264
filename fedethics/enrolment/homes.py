"""The homes of a site and of the coordinator: how they are founded, and what stands in them.

Guarantee: keys are made on this machine from the operating system's randomness, with mode 0600, and
nothing that is there already is overwritten.

The coordinator's home: its key, the draft of the charter, and the requests that were approved.

The roster is kept as the signed requests themselves, so that anyone who may read this directory can
check afterwards who was enrolled on whose word. The rest of the home is described in
`fedethics.deployment.settings`.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path

from fedethics.address import Address
from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.deployment.settings import SuperLinkTable
from fedethics.enrolment import certificates, files
from fedethics.enrolment.certificates import OwnCertificates
from fedethics.enrolment.papers import SiteRequest, new_node_key, public_half, read_request
from fedethics.errors import EnrolmentError
from fedethics.identity import Identity
from fedethics.ownership import require_safe
from fedethics.policy.template import policy_text
from fedethics.privacy.ledger import Ledger
from fedethics.secagg import SiteStore
from fedethics.site.home import archived
from fedethics.storage import files as storage
from fedethics.terms import NAME

IDENTITY, NODE_KEY, NODE_PUBLIC_KEY = "identity.key", "node.key", "node.pub"
SITE_FILE, POLICY, LEDGER, OPENED_SUMS = "site.toml", "policy.toml", "ledger.db", "secagg.db"
_SITE_MADE = (IDENTITY, NODE_KEY, NODE_PUBLIC_KEY, SITE_FILE, POLICY, LEDGER, OPENED_SUMS)

_SITE_TOML = """\
# The operator's settings of one site. Paths are relative to this directory, or absolute.
# After an edit: fedethics site check --home THIS-DIRECTORY

site = {site}        # the name on the charter's roster; cannot change once enrolled
data = {data}    # the records, a file with the charter's columns; it stays where it is. Where it
# is no UTF-8 CSV with commas and decimal points, a table [data] says how to read it (docs/data.md).

# Directory with the base model (model.safetensors, tokenizer.json, config.json). Leave it out where
# the model comes with an installed package.
# model-dir = "/srv/models/name"

# Directory of the release that the charter starts from, where its [adapter] says `from`.
# start-dir = "/srv/releases/name"

# Directories of text classifiers that the charter pins to judge generated answers.
# scorer-dirs = ["toxicity=/srv/models/toxicity"]

# `fedethics site join` writes here how to reach the coordinator.
"""


def found_site(home: Path, *, site: str, data: str) -> Identity:
    """Make the home of a site, and return its new identity.

    Args:
        home: the directory; made with mode 0700, or there with that mode.
        site: the name that it will ask for.
        data: where its records are or will be.

    Raises:
        EnrolmentError: the name is not one, or a file is there already; nothing was written.
    """
    if not re.fullmatch(NAME, site):
        raise EnrolmentError(
            f"{site!r} is not a site's name: lower-case letters, digits and hyphens, 63 at most"
        )
    with files.new_home(home, (*_SITE_MADE, LEDGER + ".head"), last=SITE_FILE) as building:
        require_safe(
            building / SITE_FILE,
            EnrolmentError,
            what="the home of",
            could="put other files in its place",
        )
        identity = Identity.generate()
        identity.save(building / IDENTITY)
        private = new_node_key()
        files.create(building / NODE_KEY, private)
        files.create(building / NODE_PUBLIC_KEY, f"{public_half(private)} {site}\n".encode())
        Ledger.open(building / LEDGER, identity=identity, create=True)
        SiteStore(building / OPENED_SUMS)
        files.create(building / POLICY, policy_text().encode())
        text = _SITE_TOML.format(site=json.dumps(site), data=json.dumps(data))
        files.create(building / SITE_FILE, text.encode())
    return identity


DRAFT, CHARTER, INVITATION = "draft.toml", "charter.json", "invitation"
FEDERATION_FILE, ROSTER, NODES = "federation.toml", "roster", "nodes"
_FOLDERS = (ROSTER, NODES, certificates.FOLDER)
_COORDINATOR_MADE = (IDENTITY, DRAFT, CHARTER, INVITATION, FEDERATION_FILE, *_FOLDERS)

_FEDERATION_TOML = """\
# The coordinator's settings. Paths are relative to this directory, or absolute. Privacy terms are
# never here: they are in the charter, which every site holds for itself.

[superlink]
# Where the SuperLink listens. Its control path has no authentication: keep it on loopback, and put
# a proxy before it that lets only the fleet path through.
listen = "{listen}"
# Where sites connect to: the proxy. It goes into the invitation.
address = "{address}"
certificate = "tls/server.crt"
key = "tls/server.key"
ca = "tls/ca.crt"
{proxy_ca}proxy-ca = "tls/proxy-ca.crt"  # authority of the proxy's certificate, if another
{shielded}shielded = true  # only where the network keeps everyone but the proxy from `listen`

[job]
# Name of the next run in every message and ledger: keep it to resume a run, change it for another.
id = "{job}"
leg-timeout-s = 600.0
# model-dir = "/srv/models/name"    # left out: the model that comes with an installed package
# start-dir = "/srv/releases/name"  # the release that the charter starts from, if it says so
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Founded:
    """A new home: its identity, the address that sites connect to, and what to look at."""

    identity: Identity
    address: Address
    warnings: tuple[str, ...] = ()


def found_coordinator(
    home: Path,
    *,
    draft: Path,
    listen: str,
    address: str,
    own: OwnCertificates | None = None,
    shielded: bool = False,
) -> Founded:
    """Make the coordinator's home, with its certificates, whole or not at all.

    Args:
        home: the directory; made with mode 0700, or there with that mode.
        draft: the charter without its roster, as people wrote it (TOML).
        listen: host:port of the SuperLink.
        address: host:port that sites connect to.
        own: the institution's certificates; None makes a pilot authority.
        shielded: the network keeps everyone but the proxy from `listen`.

    Raises:
        CharterError: the draft is not a charter, with every problem.
        EnrolmentError: it has a roster, an address is none, a site would not believe the
            certificates, or a file is in the way; nothing was written.
    """
    charter = document.load(draft)
    if charter.roster:
        raise EnrolmentError(
            f"{draft} has a roster already; a draft has none, since the roster is made of requests"
        )
    table = _superlink(listen, address, proxied=own is not None and own.proxy_ca is not None)
    table = dataclasses.replace(table, shielded=shielded)
    if table.problems():
        raise EnrolmentError(f"{'; '.join(table.problems())}. Nothing was written")
    warnings: tuple[str, ...] = ()
    with files.new_home(home, _COORDINATOR_MADE, last=FEDERATION_FILE) as building:
        for folder in (ROSTER, NODES):
            files.make_private_folder(building / folder)
        identity = Identity.generate()
        identity.save(building / IDENTITY)
        files.create(building / DRAFT, files.read(draft))
        if own is None:
            certificates.pilot_certificates(building, (str(table.dialled), table.local))
        else:
            warnings = certificates.own_certificates(building, own, names=table.names_dialled)
        text = _FEDERATION_TOML.format(
            listen=table.listen,
            address=table.address,
            job=f"{charter.name[:56]}-1",
            proxy_ca="" if table.proxy_ca else "# ",
            shielded="" if shielded else "# ",
        )
        files.create(building / FEDERATION_FILE, text.encode())
    return Founded(identity=identity, address=table.dialled, warnings=warnings)


def _superlink(listen: str, address: str, *, proxied: bool) -> SuperLinkTable:
    return SuperLinkTable(
        listen=str(Address.parse(listen)),
        address=str(Address.parse(address)),
        proxy_ca="tls/proxy-ca.crt" if proxied else "",
    )


def approved(home: Path) -> dict[str, tuple[bytes, SiteRequest]]:
    """Return every approved request by its site, each with its signature checked again."""
    found = {}
    for path in sorted((home / ROSTER).glob("*.request")):
        data = files.read(path)
        request = read_request(data)
        found[request.site] = (data, request)
    return found


def take_off(home: Path, site: str) -> None:
    """Take a site off the roster; its request is kept as `NAME.VERSION.left`.

    VERSION is the last one of a charter that was in force with it, so that a notice under that one
    or an earlier one counts no more should the site come back. The renaming is the one step that
    ends its membership; its node is dropped before.
    """
    (home / NODES / f"{site}.pub").unlink(missing_ok=True)
    request = home / ROSTER / f"{site}.request"
    try:
        storage.move(request, request.with_name(f"{site}.{last_version(home)}.left"))
    except OSError as error:
        raise EnrolmentError(
            f"{request} cannot be renamed: {error.strerror}; {site!r} is still on the roster"
        ) from error


def left_at(home: Path, site: str) -> int:
    """Return the version that was in force when this site last left; 0 if it never did."""
    kept = (home / ROSTER).glob(f"{site}.*.left")
    versions = (path.name.split(".")[1] for path in kept)
    return max((int(version) for version in versions if version.isdigit()), default=0)


def charters(home: Path) -> tuple[Charter, ...]:
    """Return every charter that is or was in force here."""
    present = current_charter(home)
    before = (document.load(path) for path in archived(home / CHARTER))
    return tuple(one for one in (present, *before) if one is not None)


def current_charter(home: Path) -> Charter | None:
    """Return the charter with its roster, or None before enough sites were approved."""
    path = home / CHARTER
    return document.load(path) if path.exists() else None


def last_version(home: Path) -> int:
    """Return the highest version of a charter that was ever in force here; 0 before the first."""
    return max((one.charter.version for one in charters(home)), default=0)
