"""Detached signatures of officers over a policy file: `policy.toml.sig` beside `policy.toml`.

The file is a JSON list of {"public-key": hex, "signature": hex}; each signature is over the exact
bytes of the policy, for the purpose "site-policy". Any edit of the policy voids all of them.

Whether all that a charter names have signed it, for a site whose policy asks for that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fedethics import plain_file
from fedethics.charter.model import Charter
from fedethics.charter.signing import CharterSignature, standing
from fedethics.commands import suggested
from fedethics.errors import PolicyError
from fedethics.identity import Identity, verify
from fedethics.storage import files

PURPOSE = "site-policy"


def signature_path(policy_path: Path) -> Path:
    """Return where the signatures over a policy stand."""
    return policy_path.with_name(policy_path.name + ".sig")


def missing_signatures(
    policy_path: Path, *, content: bytes, officers: Sequence[str], required: int
) -> list[str]:
    """Return what is missing to `required` signatures by distinct officers; empty when enough.

    Args:
        policy_path: the signatures are next to it; the file itself is not read.
        content: the bytes that the policy was read from. If the file were read again, an account
            that may write it could show the officers' copy here and obey another.
        officers: whose signatures count.
        required: how many of them.
    """
    try:
        listed = _read(policy_path)
    except PolicyError as error:
        return [str(error)]
    signers = {
        key
        for key, signature in listed
        if key in officers and verify(key, content, signature, purpose=PURPOSE)
    }
    if len(signers) >= required:
        return []
    return [
        f"officers.required-signatures: {required} asked for, {len(signers)} valid in "
        f"{signature_path(policy_path)}; sign with: "
        + suggested("policy", "sign", policy_path, "--key", "KEY")
    ]


def no_officer(policy_path: Path, public_key: str, officers: Sequence[str]) -> str:
    """Return why a signature by this key would not count, or "" where it does."""
    if public_key in officers:
        return ""
    named = ", ".join(key[:16] for key in officers) or "nobody"
    return (
        f"the key {public_key[:16]} is no officer's: officers.public-keys of {policy_path} names "
        f"{named}, and no other signature counts under this policy"
    )


def sign_policy(policy_path: Path, officer: Identity) -> int:
    """Add an officer's signature over the policy as it stands; return how many are listed.

    Raises:
        PolicyError: the policy or the list of signatures cannot be read or written.
    """
    path = signature_path(policy_path)
    listed = _read(policy_path) if path.exists() else []
    try:
        signature = officer.sign(policy_path.read_bytes(), purpose=PURPOSE)
        kept = [(key, old) for key, old in listed if key != officer.public_key]
        kept.append((officer.public_key, signature))
        table = [{"public-key": key, "signature": old.hex()} for key, old in kept]
        text = json.dumps(table, indent=2) + "\n"
        # By no umask: a site refuses what a group may write.
        files.replace(path, text.encode("utf-8"), mode=files.PUBLIC)
    except OSError as error:
        raise PolicyError(f"{path} cannot be written: {error.strerror}") from error
    return len(kept)


def _read(policy_path: Path) -> list[tuple[str, bytes]]:
    path = signature_path(policy_path)
    data = plain_file.read(path, _unreadable, typed=True)
    try:
        table: Any = json.loads(data.decode("utf-8"))
        return [(str(e["public-key"]), bytes.fromhex(str(e["signature"]))) for e in table]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PolicyError(f"signatures {path} are not a JSON list of signatures") from error


def _unreadable(what: str) -> PolicyError:
    return PolicyError(f"signatures {what}")


def signature_reasons(charter: Charter, signatures: Sequence[CharterSignature]) -> Iterator[str]:
    """Yield one reason for each signature that is missing, void, or made by a simulation."""
    found = standing(charter, signatures)
    asked = "allow.require-signed-charter is true"
    for signer in found.missing:
        yield f"{signer.label} has not signed the charter, and {asked}"
    for sentence in found.void:
        yield f"{sentence[:-1]}, and {asked}"
    simulated = [one.name for one in found.valid if one.simulated]
    if simulated:
        yield (
            f"the signatures of {', '.join(simulated)} were made by a simulation, which is not the "
            f"consent of any person, and {asked}"
        )
