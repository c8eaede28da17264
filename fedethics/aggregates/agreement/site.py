"""A site's part in the agreement of annotators: which labels were given to the same records.

Guarantee: a record of m labels adds m coincidences, all multiples of 1 / (m - 1), and so moves the
entries by at most `AnnotationTerms.sensitivity` steps added up; one with fewer than two adds
nothing. A unit, with all of its records, is trained on or held out, and pays from that account. The
caller has reserved the cost on both accounts before calling.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fedethics.aggregates.agreement import AGREEMENT, groups_of
from fedethics.aggregates.measuring import Vector, share_of
from fedethics.charter.annotation_terms import AnnotationTerms
from fedethics.charter.model import Charter
from fedethics.data.beside import NOTHING
from fedethics.data.records import Records
from fedethics.errors import AccountingError
from fedethics.privacy.noise import NoiseSource
from fedethics.secagg import Opening
from fedethics.site.request_context import RequestContext


def count(
    context: RequestContext, _adapter: Vector, _opening: Opening, noise: NoiseSource
) -> NDArray[np.int64]:
    """Return the coincidences of all records with this site's share of the noise.

    Raises:
        AccountingError: the charter asks for none. Nothing was computed.
    """
    plan, terms = AGREEMENT.of(context.plan.sums), context.charter.annotation
    if terms is None:
        raise AccountingError("the charter asks for no agreement; nothing was computed")
    records = context.workbench.records
    charter = context.charter
    table = steps_by_group(records.train, charter) + steps_by_group(records.held_out, charter)
    return np.asarray(table + share_of(context, plan.noise, table.size, noise), dtype=np.int64)


def steps_by_group(records: Records, charter: Charter) -> NDArray[np.int64]:
    """Return the upper triangle of each group's matrix in steps, one after the other, flat.

    Args:
        records: of one site.
        charter: with annotation.

    Raises:
        AccountingError: it says nothing of annotation.
    """
    terms, groups = charter.annotation, groups_of(charter)
    if terms is None or terms.by is None:
        return coincidence_steps(records.beside, terms) if terms else np.zeros(0, dtype=np.int64)
    names = [feature.name for feature in charter.data.sensitive]
    own = records.groups[:, names.index(terms.by)]
    tables = []
    for place in range(len(groups)):
        inside = {name: column[own == place] for name, column in records.beside.items()}
        tables.append(coincidence_steps(inside, terms))
    return np.concatenate(tables)


def coincidence_steps(
    beside: Mapping[str, NDArray[np.int16]], terms: AnnotationTerms
) -> NDArray[np.int64]:
    """Return the upper triangle of the coincidence matrix in steps, shape (V (V + 1) / 2,).

    Args:
        beside: the place of each annotator's label among `terms.labels`, by column, shape (n,).
        terms: labels and annotators.
    """
    given = np.stack([beside[name] for name in terms.annotators], axis=1)
    size = len(terms.labels)
    counts = np.stack([(given == place).sum(axis=1) for place in range(size)], axis=1)
    labels = (given != NOTHING).sum(axis=1)
    # Exact: `steps` is a multiple of every number below that of the annotators.
    weights = np.where(labels > 1, terms.steps // np.maximum(labels - 1, 1), 0)
    weighted = (counts * weights[:, None]).astype(np.int64)
    matrix = weighted.T @ counts - np.diag(weighted.sum(axis=0))
    return np.asarray(matrix[np.triu_indices(size)], dtype=np.int64)
