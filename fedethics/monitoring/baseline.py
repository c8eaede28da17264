"""The release that windows are held to: verified, and its scores and labels as they were opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedethics import terms
from fedethics.aggregates.monitoring import WindowLayout, terms_of
from fedethics.charter.model import Charter
from fedethics.errors import ReleaseError
from fedethics.fairness.drift import Scored
from fedethics.fairness.layout import Tables
from fedethics.release import durable, folder
from fedethics.release.folder import MANIFEST, Folder
from fedethics.release.standing import require_released


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """What the release published of its held-out records.

    Attributes:
        scores: by label and bin.
        labels: negatives and positives, shape (2, 1), from the tables with the least noise.
    """

    scores: Scored
    labels: Scored


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
            f"the charter reads or scores records differently from the release in {opened.path} "
            "(data, model, or threshold, bins and finest-at of privacy.evaluation), so its windows "
            "cannot be compared with it; nothing was started"
        )
    edges = WindowLayout.of(charter).edges
    return Baseline(scores=scores_of(opened.tables, edges), labels=labels_of(opened.tables))


def _comparable(charter: Charter) -> tuple[object, ...]:
    evaluation = charter.privacy.evaluation
    return (
        terms.document(charter.data),
        terms.document(charter.model),
        evaluation.threshold,
        evaluation.bins,
        evaluation.finest_at,
    )


def labels_of(tables: Tables) -> Scored:
    """Return negatives and positives over everyone, from the count block with the fewest cells."""
    _, block = min(tables.count_blocks, key=lambda each: each[1].shape[0])
    cells, _, decisions = block.shape
    totals = block.sum(axis=(0, 2)).astype(np.float64)
    return Scored(counts=totals[:, None], variance=cells * decisions * tables.counts_variance)


def scores_of(tables: Tables, edges: Sequence[float]) -> Scored:
    """Return scores by label over everyone between these edges, from the block with less noise.

    Args:
        tables: of the release.
        edges: among the release's own.
    """
    cells = tables.histogram.shape[0]
    crossed = Scored(
        counts=tables.histogram.sum(axis=0).astype(np.float64),
        variance=cells * tables.histogram_variance,
    )
    found = [_between(crossed, tables.layout.coarse_edges, edges)]
    if tables.fine is not None:
        fine = Scored(counts=tables.fine.astype(np.float64), variance=tables.histogram_variance)
        found.append(_between(fine, tables.layout.fine_edges, edges))
    return min(found, key=lambda one: float(one.noise.sum()))


def _between(scored: Scored, own: Sequence[float], edges: Sequence[float]) -> Scored:
    counts, noise = scored.grouped([list(own).index(edge) for edge in edges])
    return Scored(counts=counts, variance=noise[0])
