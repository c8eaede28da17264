"""The weights of a round at a site.

The coordinator sends no weights. It sends the opened sums again, and the site takes them only if
they are those that it was told, and takes no part once a check of one has failed; then it computes
the weights by the charter's rule.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedethics import charter_sums
from fedethics.canonical import sha256_hex
from fedethics.errors import SecaggReject
from fedethics.secagg import Opening
from fedethics.site.records import reading_records
from fedethics.site.request_context import RequestContext
from fedethics.steering import group_weights, steered_groups


def weights_of_round(
    context: RequestContext, opening: Opening, sent: bytes
) -> NDArray[np.float64] | None:
    """Return each training record's weight in a round, shape (n,); None without mitigation.

    Args:
        context: the site.
        opening: of the round's update.
        sent: the steering sums opened so far, as the coordinator sends them again.

    Raises:
        SecaggReject: they are not the sums that this site was told. Nothing was computed.
    """
    charter, plan = context.charter, context.plan
    rounds = [number for number in plan.steering.rounds if number <= opening.round_number]
    sums = _split(sent, len(rounds), 4 * charter_sums.steering_groups(charter)) if rounds else []
    seen = context.journal.sums(charter_hash=context.charter_hash, run=opening.run)
    told = {
        (number, here.sha256)
        for (name, number), here in seen.items()
        if name == charter_sums.STEERING
    }
    for number, total in zip(rounds, sums, strict=True):
        if (number, sha256_hex(total.astype("<i8").tobytes())) not in told:
            raise SecaggReject(
                f"the counts that came with round {opening.round_number} are not those that this "
                f"site received as opened in round {number}; nothing was computed"
            )
    if not rounds:
        return None
    weights = group_weights(charter, sums, variance=plan.steering.noise.sum_variance)
    with reading_records():
        part = context.workbench.records.train
        return weights.of(steered_groups(charter, part.groups), part.labels)


def _split(sent: bytes, count: int, length: int) -> list[NDArray[np.int64]]:
    if len(sent) != 8 * count * length:
        raise SecaggReject(
            f"{len(sent)} bytes of group counts, expected {8 * count * length}: {count} sums of "
            f"{length}; nothing was computed"
        )
    flat = np.frombuffer(sent, dtype="<i8").astype(np.int64)
    return list(flat.reshape(count, length))
