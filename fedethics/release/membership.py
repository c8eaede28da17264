"""The membership audit of a run, recomputed from its opened histograms and the charter."""

from __future__ import annotations

import math

import numpy as np

from fedethics.charter.model import Charter
from fedethics.privacy.audit.membership import Audit, Opened, audit_membership
from fedethics.privacy.plan import make_plan
from fedethics.release.folder import Folder

CONFIDENCE = 0.95


def promised(charter: Charter) -> float:
    """Return the epsilon that the charter promises a trained unit; infinite without DP."""
    training = charter.privacy.training
    return training.epsilon if training.mechanism != "none" else math.inf


def opened_histograms(folder: Folder) -> Opened | None:
    """Return the histograms with the noise that the charter's plan gives them; None without.

    Raises:
        AccountingError: no plan follows from the charter.
    """
    plan, counts = make_plan(folder.charter).audit, folder.evidence.audit
    if plan is None or len(counts) != 2 * plan.bins:
        return None
    members, non_members = np.array(counts, dtype=np.int64).reshape(2, plan.bins)
    return Opened(
        members=members,
        non_members=non_members,
        member_variance=plan.members.sum_variance,
        non_member_variance=plan.non_members.sum_variance,
    )


def audit_of(folder: Folder) -> Audit | None:
    """Return what the attack came to; None where the run holds no histograms of the right size.

    Raises:
        AccountingError: no plan follows from the charter.
    """
    opened, charter = opened_histograms(folder), folder.charter
    if opened is None:
        return None
    return audit_membership(
        opened,
        prior=1.0 - charter.data.holdout_fraction,
        epsilon=promised(charter),
        delta=charter.privacy.delta,
        confidence=CONFIDENCE,
    )
