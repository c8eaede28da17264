"""Ways to close gaps between groups, each from opened, noised sums alone.

While training: a weight for each group and label, by which a record's loss is multiplied before its
gradient is clipped. After training: a threshold for each group.
"""

from fedethics.fairness.mitigation.steering import (
    GroupWeights,
    Steering,
    WeightRule,
    first_weights,
    next_weights,
)
from fedethics.fairness.mitigation.thresholds import (
    GroupThreshold,
    ThresholdPlan,
    group_thresholds,
)

__all__ = [
    "GroupThreshold",
    "GroupWeights",
    "Steering",
    "ThresholdPlan",
    "WeightRule",
    "first_weights",
    "group_thresholds",
    "next_weights",
]
