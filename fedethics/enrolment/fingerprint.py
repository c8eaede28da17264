"""Is what a person said the fingerprint of a key? `fedethics.identity.fingerprint` makes them."""

from __future__ import annotations

from fedethics.identity import fingerprint


def matches(said: str, public_key: str) -> bool:
    """Say whether `said` is the whole fingerprint of the key; case, spaces and hyphens are free."""
    return _bare(said) == _bare(fingerprint(public_key))


def _bare(text: str) -> str:
    return "".join(text.split()).replace("-", "").lower()
