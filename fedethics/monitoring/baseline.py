"""The release that windows are held to: verified, and its scores and labels as they were opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedethics import terms
from fedethics.aggregates.monitoring import terms_of
from fedethics.charter.model import Charter
from fedethics.errors import ReleaseError
from fedethics.fairness.drift import Scored
from fedethics.fairness.layout import Tables
from fedethics.release import durable, folder
from fedethics.release.folder import MANIFEST, Folder
from fedethics.release.standing import require_released


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """What the release published of its held-out records."""

    scores: Scored


def released(path: Path, charter: Charter) -> Baseline:
    """Return the baseline of a release that may be used, and that the charter watches.

    Raises:
        ReleaseError: it is withdrawn, withheld, altered or another one; says why.
    """
    return of_folder(require_released(path), charter)


def known(path: Path, charter: Charter) -> Baseline:
    """Return the baseline of a release that may have been withdrawn since.

    Raises:
        ReleaseError: it is another one.
    """
    return of_folder(folder.load(path), charter)


def of_folder(opened: Folder, charter: Charter) -> Baseline:
    """Return the baseline of an opened release.

    Raises:
        ReleaseError: it is not the one that the charter watches, or has other terms.
    """
    agreed = terms_of(charter)
    if durable.file_sha256(opened.path / MANIFEST) != agreed.release:
        raise ReleaseError(
            f"{opened.path} is not the release that monitoring.release names "
            f"({agreed.release[:16]}...); nothing was started"
        )
    if opened.evidence.model_hash != charter.adapter.from_:
        raise ReleaseError(
            f"the adapter of {opened.path} is not the one that adapter.from names; nothing was "
            "started"
        )
    told = _comparable(opened.charter), _comparable(charter)
    if told[0] != told[1]:
        raise ReleaseError(
            f"the charter reads records or scores otherwise than the release in {opened.path} "
            "(data, model, or threshold, bins and finest-at of privacy.evaluation), so its windows "
            "cannot be compared with it; nothing was started"
        )
    return Baseline(scores=scores_of(opened.tables))


def _comparable(charter: Charter) -> tuple[object, ...]:
    evaluation = charter.privacy.evaluation
    return (
        terms.document(charter.data),
        terms.document(charter.model),
        evaluation.threshold,
        evaluation.bins,
        evaluation.finest_at,
    )


def scores_of(tables: Tables) -> Scored:
    """Return scores by label over everyone, in the fine bins."""
    if tables.fine is not None:
        return Scored(
            counts=np.asarray(tables.fine, dtype=np.float64), variance=tables.histogram_variance
        )
    cells = tables.histogram.shape[0]
    return Scored(
        counts=tables.histogram.sum(axis=0).astype(np.float64),
        variance=cells * tables.histogram_variance,
    )
