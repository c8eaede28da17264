"""What a site computes for each kind of sum, by its name.

Apart from the registry, since it needs what trains a model, and an officer's tools must not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from fedethics.aggregates.agreement import site as agreement
from fedethics.aggregates.audit import site as audit
from fedethics.aggregates.census import site as census
from fedethics.aggregates.fairness import site as fairness
from fedethics.aggregates.measures import site as measures
from fedethics.aggregates.measuring import Mechanism
from fedethics.aggregates.monitoring import site as monitoring
from fedethics.aggregates.norms import site as norms
from fedethics.aggregates.paired import site as paired
from fedethics.aggregates.progress import site as progress
from fedethics.aggregates.steering import site as steering
from fedethics.aggregates.update import site as update
from fedethics.secagg import Opening
from fedethics.site.request_context import RequestContext

# Given what was sent with the opening, does all that can refuse it before it costs.
Prepare = Callable[[RequestContext, Opening, Mapping[str, bytes]], Mechanism]


def _at_once(mechanism: Mechanism) -> Prepare:
    """Return the preparation of a kind that nothing sent along can refuse."""
    return lambda _session, _opening, _sent: mechanism


COMPUTED: Final[Mapping[str, Prepare]] = {
    "update": update.prepare,
    "progress": _at_once(progress.count),
    "steering": _at_once(steering.count),
    "audit": _at_once(audit.count_losses),
    "fairness": _at_once(fairness.measure),
    "agreement": _at_once(agreement.count),
    "measures": _at_once(measures.sum_values),
    "paired": _at_once(paired.count),
    "census": _at_once(census.count),
    "monitoring": monitoring.prepare,
    "norms": _at_once(norms.count),
}
