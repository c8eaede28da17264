"""Officers' keys, pinned in the ledger: whoever can edit the policy cannot take the officers out.

The first policy that asks for signatures pins its officers as an entry of the append-only ledger.
From then on a policy with other officers, or with fewer signatures, is obeyed only when the pinned
officers have signed it, which pins the new ones.
"""

from __future__ import annotations

from fedethics.errors import PolicyError
from fedethics.policy.model import PolicyFile
from fedethics.policy.signatures import missing_signatures
from fedethics.privacy.ledger import Ledger, PinnedOfficers


def require_pinned_officers(read: PolicyFile, ledger: Ledger) -> None:
    """Check a loaded policy against the officers that the ledger has pinned, and pin new ones.

    Args:
        read: as `read_policy` returned it, so its own officers have signed these bytes.
        ledger: this site's.

    Raises:
        PolicyError: the pinned officers did not sign this policy; the site refuses all work.
    """
    officers = read.policy.officers
    stated = PinnedOfficers(
        public_keys=tuple(sorted(set(officers.public_keys))),
        required_signatures=officers.required_signatures,
    )
    pinned = ledger.officers
    if stated == pinned or (pinned is None and not stated.required_signatures):
        return
    if pinned is not None and pinned.required_signatures:
        missing = missing_signatures(
            read.path,
            content=read.content,
            officers=pinned.public_keys,
            required=pinned.required_signatures,
        )
        if missing:
            keys = ", ".join(key[:16] for key in pinned.public_keys)
            raise PolicyError(
                f"{read.path} names other officers or fewer signatures than the ledger has pinned "
                f"({pinned.required_signatures} of {keys}); this site refuses all work until they "
                f"sign the change: {missing[0]}"
            )
    ledger.pin_officers(stated)
