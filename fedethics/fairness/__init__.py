"""Group fairness across sites, from sums only.

Sites tabulate held-out predictions into integers; only the noised sums over all sites are opened;
every metric, interval and verdict here is post-processing of those sums.
"""

from fedethics.fairness.calibration import Reliability, reliability
from fedethics.fairness.estimate import Estimate, GroupEstimate
from fedethics.fairness.explained import Explained
from fedethics.fairness.importance import importance, importance_by_group, importance_gaps
from fedethics.fairness.judge import Objective, Verdict, judge
from fedethics.fairness.layout import Layout, SensitiveFeature, Tables
from fedethics.fairness.measure import ProgressMetrics, aggregate, by_group, overall, progress
from fedethics.fairness.metrics import Metric, find_metric, metric_names
from fedethics.fairness.partition import MINIMUM_CELL
from fedethics.fairness.roc import RocCurve, roc
from fedethics.fairness.score_edges import fine_edges
from fedethics.fairness.tabulate import tabulate, tabulate_explanation, tabulate_progress
from fedethics.fairness.together import judge_together

__all__ = [
    "MINIMUM_CELL",
    "Estimate",
    "Explained",
    "GroupEstimate",
    "Layout",
    "Metric",
    "Objective",
    "ProgressMetrics",
    "Reliability",
    "RocCurve",
    "SensitiveFeature",
    "Tables",
    "Verdict",
    "aggregate",
    "by_group",
    "find_metric",
    "fine_edges",
    "importance",
    "importance_by_group",
    "importance_gaps",
    "judge",
    "judge_together",
    "metric_names",
    "overall",
    "progress",
    "reliability",
    "roc",
    "tabulate",
    "tabulate_explanation",
    "tabulate_progress",
]
