"""What a site computes for each kind of sum, by its name.

Apart from the registry, since it needs what trains a model, and an officer's tools must not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from fedethics.aggregates.audit import site as audit
from fedethics.aggregates.fairness import site as fairness
from fedethics.aggregates.measuring import Mechanism
from fedethics.aggregates.progress import site as progress
from fedethics.aggregates.steering import site as steering
from fedethics.aggregates.update import site as update
from fedethics.secagg import Opening
from fedethics.site.session import Session

# Given what was sent with the opening, does all that can refuse it before it costs.
Prepare = Callable[[Session, Opening, Mapping[str, bytes]], Mechanism]

COMPUTED: Final[Mapping[str, Prepare]] = {
    "update": update.prepare,
    "progress": progress.prepare,
    "steering": steering.prepare,
    "audit": audit.prepare,
    "fairness": fairness.prepare,
}
