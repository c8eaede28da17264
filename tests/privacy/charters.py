"""Variations of the heart charter for tests."""

import dataclasses
from pathlib import Path

from fedethics.charter.model import Charter
from fedethics.charter.privacy_terms import AuditTerms

# In the demo's charter the adapter is audited; where a test is not about that, it is left out.
UNAUDITED = AuditTerms()
HEART = Path(__file__).parents[2] / "configs" / "heart.charter.toml"


def with_terms(
    charter: Charter, *, training: dict | None = None, evaluation: dict | None = None, **privacy
) -> Charter:
    """Return the charter with other privacy terms."""
    terms = dataclasses.replace(
        charter.privacy,
        training=dataclasses.replace(charter.privacy.training, **(training or {})),
        evaluation=dataclasses.replace(charter.privacy.evaluation, **(evaluation or {})),
        **privacy,
    )
    return dataclasses.replace(charter, privacy=terms)
