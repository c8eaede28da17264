"""Found a site's home: its keys, its ledger and two files with comments to fill in.

Guarantee: keys are made on this machine from the operating system's randomness, with mode 0600, and
nothing that is there already is overwritten.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from fedethics.enrolment import files
from fedethics.enrolment.node_key import new_node_key, public_half
from fedethics.errors import EnrolmentError
from fedethics.identity import Identity
from fedethics.ownership import require_safe
from fedethics.policy.template import policy_text
from fedethics.privacy.ledger import Ledger
from fedethics.secagg import SiteStore
from fedethics.terms import NAME

IDENTITY, NODE_KEY, NODE_PUBLIC_KEY = "identity.key", "node.key", "node.pub"
SITE_FILE, POLICY, LEDGER, OPENED_SUMS = "site.toml", "policy.toml", "ledger.db", "secagg.db"
_MADE = (IDENTITY, NODE_KEY, NODE_PUBLIC_KEY, SITE_FILE, POLICY, LEDGER, OPENED_SUMS)

_SITE_TOML = """\
# The operator's settings of one site. Paths are relative to this directory, or absolute.
# After an edit: fedethics site check --home THIS-DIRECTORY

site = {site}        # the name on the charter's roster; cannot change once enrolled
data = {data}    # the records: a CSV file with the charter's columns; it stays where it is

# Directory with the base model (model.safetensors, tokenizer.json, config.json). Leave it out where
# the model comes with an installed package.
# model-dir = "/srv/models/name"

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
    with files.new_home(home, (*_MADE, LEDGER + ".head"), last=SITE_FILE) as building:
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
