"""The throw-away home of a rehearsal: the site's settings and policy, fresh keys, empty ledger.

Nothing made here can be used outside of it: the roster of its charter, the coordinator's key and
this site's own are drawn for the occasion, so that no message of a rehearsal means anything to a
real member of the federation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedethics import terms
from fedethics.canonical import Json
from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.charter.roster import Member
from fedethics.enrolment import files
from fedethics.identity import Identity
from fedethics.policy.model import ANY, Officers, Policy, load_policy
from fedethics.privacy.ledger import Ledger
from fedethics.secagg import SiteStore
from fedethics.site.home import SiteHome

# Above this many members, the rehearsal plays with the minimum cohort: stand-ins take time too.
_MOST_MEMBERS = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A rehearsal's cast.

    Attributes:
        home: the throw-away home of this site.
        charter: the real charter, with a roster of throw-away keys.
        coordinator: the throw-away coordinator.
        peers: stand-ins for the other sites.
    """

    home: Path
    charter: Charter
    coordinator: Identity
    peers: Mapping[str, Identity]


def build_stage(real: SiteHome, folder: Path) -> Stage:
    """Make the cast in `folder`, which the caller removes."""
    charter, site = document.load(real.charter_path), real.settings.site
    own, coordinator = Identity.generate(), Identity.generate()
    members = _members(charter, site)
    peers = {member.site: Identity.generate() for member in members if member.site != site}
    roster = [
        dataclasses.replace(member, public_key=(peers.get(member.site) or own).public_key)
        for member in members
    ]
    played = document.enrol(charter, coordinator_key=coordinator.public_key, roster=roster)
    home = folder / "home"
    home.mkdir(mode=0o700)
    own.save(home / "identity.key")
    Ledger.open(home / "ledger.db", identity=own, create=True)
    SiteStore(home / "secagg.db")
    files.create(home / "charter.json", document.encode(played))
    files.create(home / "policy.toml", _policy_text(load_policy(real.policy_path)).encode())
    settings: dict[str, Json] = {"site": site, "data": str(real.data_path.resolve())}
    if real.model_dir is not None:
        settings["model-dir"] = str(real.model_dir.resolve())
    files.create(home / "site.toml", terms.toml_text(settings).encode())
    return Stage(home=home, charter=played, coordinator=coordinator, peers=peers)


def _members(charter: Charter, site: str) -> tuple[Member, ...]:
    if len(charter.roster) <= _MOST_MEMBERS:
        return charter.roster
    own = [member for member in charter.roster if member.site == site]
    others = [member for member in charter.roster if member.site != site]
    return (*own, *others[: charter.secagg.minimum_cohort - 1])


def _policy_text(policy: Policy) -> str:
    """Return the policy without what binds it to one charter and to signatures."""
    allow = dataclasses.replace(policy.allow, charters=(ANY,), require_signed_charter=False)
    played = dataclasses.replace(policy, allow=allow, officers=Officers())
    table = terms.document(played)
    return terms.toml_text(table) if isinstance(table, dict) else ""
