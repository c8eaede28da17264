"""A site's part in the membership audit: two histograms of how sure the adapter is, with noise.

Guarantee: a unit, with all of its records, is in one entry of one half; the noise of the trained
half is what the training's trust mode asks for, that of the held-out half what the evaluation's
does. The caller has reserved the cost on both accounts before calling.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedethics import tasks
from fedethics.data.records import Records
from fedethics.errors import AccountingError
from fedethics.privacy.audit.histogram import loss_histogram
from fedethics.privacy.audit_plan import HalfPlan
from fedethics.privacy.noise import NoiseSource
from fedethics.secagg import Opening
from fedethics.site.session import Session


def count_losses(
    session: Session, adapter: NDArray[np.float32], _opening: Opening, noise: NoiseSource
) -> NDArray[np.int64]:
    """Return the trained units' histogram, then the held-out ones', shape (2 * bins,).

    Raises:
        AccountingError: the charter asks for no audit. Nothing was computed.
    """
    plan, records = session.plan.audit, session.workbench.records
    if plan is None:
        raise AccountingError("the charter asks for no membership audit; nothing was computed")
    halves = (
        ("members", records.train, plan.members),
        ("non-members", records.held_out, plan.non_members),
    )
    return np.concatenate(
        [_half(session, adapter, part, half, noise.derive(name)) for name, part, half in halves]
    )


def _half(
    session: Session,
    adapter: NDArray[np.float32],
    part: Records,
    plan: HalfPlan,
    noise: NoiseSource,
) -> NDArray[np.int64]:
    scores = session.workbench.learner.scores(adapter, session.workbench.activations(part))
    # As in `measure`: an error would tell of the record whose score overflowed.
    scores = np.where(np.isfinite(scores), scores, 0.0)
    bins = session.charter.privacy.audit.bins
    measured = tasks.layout_of(session.charter).measured
    sureness = measured.sureness(part.labels.astype(np.int64), scores)
    table = loss_histogram(sureness, units=part.units, bins=bins)
    mechanism = session.plan.count_mechanism
    if mechanism is None or not plan.site_variance:
        return table
    share = mechanism.draw(noise, variance=plan.site_variance, size=bins)
    return np.asarray(table + share, dtype=np.int64)
