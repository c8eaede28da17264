"""A site's part in a light evaluation: four counts of its held-out records, with noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedethics import tasks
from fedethics.aggregates.measuring import Vector, scores_of, share_of
from fedethics.fairness.tabulate import tabulate_progress
from fedethics.privacy.noise import NoiseSource
from fedethics.secagg import Opening
from fedethics.site.session import Session


def count(
    session: Session, adapter: Vector, _opening: Opening, noise: NoiseSource
) -> NDArray[np.int64]:
    """Return the four counts with this site's share of the noise."""
    part = session.workbench.records.held_out
    scores = scores_of(session, adapter, part)
    layout = tasks.layout_of(session.charter)
    table = tabulate_progress(layout, labels=part.labels, scores=scores)
    share = share_of(session, session.plan.progress.noise, table.size, noise)
    return np.asarray(table + share, dtype=np.int64)
