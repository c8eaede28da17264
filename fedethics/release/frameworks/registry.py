"""The laws and standards that every release is held against; a new one is a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fedethics.release.frameworks.ai_rmf import AI_RMF
from fedethics.release.frameworks.annex_iv import ANNEX_IV
from fedethics.release.frameworks.framework import Facts, Framework, Mapped, mapped
from fedethics.release.frameworks.iso_42001 import ISO_42001
from fedethics.release.frameworks.sp_800_226 import SP_800_226

# By the word under which report.json and the pages' links keep them.
FRAMEWORKS: Final[Mapping[str, Framework]] = {
    "annex-iv": ANNEX_IV,
    "ai-rmf": AI_RMF,
    "sp-800-226": SP_800_226,
    "iso-42001": ISO_42001,
}


def all_mapped(facts: Facts) -> dict[str, Mapped]:
    """Return every framework with its items answered for this release."""
    return {key: mapped(framework, facts) for key, framework in FRAMEWORKS.items()}
