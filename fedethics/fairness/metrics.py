"""Which metrics there are, what each means, and which sums it needs.

Names and definitions are Fairlearn's (and scikit-learn's behind it), with the threshold's
predictions as `y_pred`. One thing differs on purpose: a rate whose denominator is empty (the true
positive rate of a group without positives) is NaN here, where Fairlearn reports 0 and so a gap
that nobody observed; and a gap needs two groups, where Fairlearn reports 0 for one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fedethics.errors import FairnessError

Kind: TypeAlias = Literal["rate", "aggregate"]
Combine: TypeAlias = Literal["difference", "ratio", "group_min", "group_max"]

# Entries of counts[y, yhat].
_TN, _FP, _FN, _TP = (0, 0), (0, 1), (1, 0), (1, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fraction:
    """A rate hits / (hits + misses) over entries of counts[y, yhat]."""

    hits: tuple[tuple[int, int], ...]
    misses: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A supported metric.

    Attributes:
        name: Fairlearn's name.
        kind: `rate` is defined for one group or for everyone, `aggregate` over a feature's groups.
        meaning: plain words, to follow "the".
        low: least possible value.
        high: greatest possible value.
        bases: for an aggregate, the rates whose worst value over them counts.
        combine: for an aggregate, how groups are put together.
    """

    name: str
    kind: Kind
    meaning: str
    low: float = 0.0
    high: float = 1.0
    bases: tuple[str, ...] = ()
    combine: Combine | None = None


FRACTIONS = {
    "selection_rate": Fraction(hits=(_FP, _TP), misses=(_TN, _FN)),
    "true_positive_rate": Fraction(hits=(_TP,), misses=(_FN,)),
    "false_positive_rate": Fraction(hits=(_FP,), misses=(_TN,)),
    "true_negative_rate": Fraction(hits=(_TN,), misses=(_FP,)),
    "false_negative_rate": Fraction(hits=(_FN,), misses=(_TP,)),
    "accuracy_score": Fraction(hits=(_TN, _TP), misses=(_FP, _FN)),
    "zero_one_loss": Fraction(hits=(_FP, _FN), misses=(_TN, _TP)),
    "precision_score": Fraction(hits=(_TP,), misses=(_FP,)),
    "recall_score": Fraction(hits=(_TP,), misses=(_FN,)),
}
# f1 = 2 q / (1 + q) for the Jaccard fraction q = TP / (TP + FP + FN), increasing in q.
JACCARD = Fraction(hits=(_TP,), misses=(_FP, _FN))

_RATES = {
    "count": "number of records",
    "selection_rate": "share predicted positive",
    "true_positive_rate": "true positive rate",
    "false_positive_rate": "false positive rate",
    "true_negative_rate": "true negative rate",
    "false_negative_rate": "false negative rate",
    "accuracy_score": "share predicted correctly",
    "zero_one_loss": "share predicted wrongly",
    "balanced_accuracy_score": "mean of the true positive and true negative rates",
    "precision_score": "share of positive predictions that are right",
    "recall_score": "true positive rate (recall)",
    "f1_score": "F1 score",
    "roc_auc_score": "area under the ROC curve",
}
_COMBINED: dict[Combine, str] = {
    "difference": "largest difference between groups in the {}",
    "ratio": "lowest group's {} over the highest group's",
    "group_min": "lowest group's {}",
    "group_max": "highest group's {}",
}
_NAMED: dict[str, tuple[tuple[str, ...], Combine, str]] = {
    "demographic_parity": (("selection_rate",), "difference", "share predicted positive"),
    "equal_opportunity": (("true_positive_rate",), "difference", "true positive rate"),
    "equalized_odds": (
        ("true_positive_rate", "false_positive_rate"),
        "difference",
        "true or false positive rate, whichever is worse",
    ),
}
_NOT_COLLECTED = (
    "mean_prediction",
    "log_loss",
    "mean_absolute_error",
    "mean_squared_error",
    "r2_score",
)


def metric_names(kind: Kind | None = None) -> tuple[str, ...]:
    """Return the supported metrics, or those of one kind, in alphabetical order."""
    return tuple(sorted(name for name, metric in _REGISTRY.items() if kind in (None, metric.kind)))


def find_metric(name: str, *, kind: Kind | None = None) -> Metric:
    """Return the metric called `name`.

    Raises:
        FairnessError: unknown, of another kind, or one that the tables hold no sums for; the
            message lists what is supported.
    """
    metric = _REGISTRY.get(name)
    if metric is not None and kind in (None, metric.kind):
        return metric
    if metric is not None:
        why = (
            "compares groups, so it needs a sensitive feature"
            if metric.kind == "aggregate"
            else "is a rate of one group; over groups, name how they are compared, for example "
            f"{name}_difference or {name}_group_min"
        )
    elif name.startswith(_NOT_COLLECTED):
        why = "needs sums of scores, which sites do not tabulate"
    else:
        why = "is not a metric of this version"
    raise FairnessError(f"{name!r} {why}. Supported: {', '.join(metric_names(kind))}")


def _build() -> dict[str, Metric]:
    registry = {
        name: Metric(
            name=name, kind="rate", meaning=meaning, high=math.inf if name == "count" else 1.0
        )
        for name, meaning in _RATES.items()
    }
    for base, meaning in _RATES.items():
        if base != "count":
            for combine in _COMBINED:
                _add(registry, f"{base}_{combine}", (base,), combine, meaning)
    for stem, (bases, _, meaning) in _NAMED.items():
        _add(registry, f"{stem}_difference", bases, "difference", meaning)
        _add(registry, f"{stem}_ratio", bases, "ratio", meaning)
    _add(
        registry,
        "four_fifths",
        ("selection_rate",),
        "ratio",
        "share predicted positive (four-fifths screening statistic)",
    )
    return registry


def _add(
    registry: dict[str, Metric], name: str, bases: tuple[str, ...], combine: Combine, meaning: str
) -> None:
    registry[name] = Metric(
        name=name,
        kind="aggregate",
        meaning=_COMBINED[combine].format(meaning),
        bases=bases,
        combine=combine,
    )


_REGISTRY = _build()
