"""Whether all that a charter names have signed it, for a site whose policy asks for that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fedethics.charter.model import Charter
from fedethics.charter.signing import CharterSignature, standing


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
            f"the signatures of {', '.join(simulated)} were made by a simulation, which is "
            f"nobody's consent, and {asked}"
        )
