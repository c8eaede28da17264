"""Which metrics there are, what each means, and which sums it needs.

Names and definitions are Fairlearn's (and scikit-learn's behind it), with the threshold's
predictions as `y_pred`. One thing differs on purpose: a rate whose denominator is empty (the true
positive rate of a group without positives) is NaN here, where Fairlearn reports 0 and so a gap
that nobody observed; and a gap needs two groups, where Fairlearn reports 0 for one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal, TypeAlias

from fedethics.errors import FairnessError

Kind: TypeAlias = Literal["rate", "aggregate"]
Combine: TypeAlias = Literal[
    "difference", "ratio", "group_min", "group_max", "mean_difference", "between", "pooled"
]

# Entries of counts[y, yhat].
_TN, _FP, _FN, _TP = (0, 0), (0, 1), (1, 0), (1, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fraction:
    """A rate hits / (hits + misses) over entries of counts[target, decision]."""

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
        binned: whether it needs the score histograms.
        swapped: whether it needs scores with the feature's word swapped.
        brought: whether a task brought it with it, see `add_rate`; else it is for two classes.
    """

    name: str
    kind: Kind
    meaning: str
    low: float = 0.0
    high: float = 1.0
    bases: tuple[str, ...] = ()
    combine: Combine | None = None
    binned: bool = False
    swapped: bool = False
    brought: bool = False


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
    "false_discovery_rate": Fraction(hits=(_FP,), misses=(_TP,)),
    "false_omission_rate": Fraction(hits=(_FN,), misses=(_TN,)),
    "negative_predictive_value": Fraction(hits=(_TN,), misses=(_FN,)),
    "base_rate": Fraction(hits=(_FN, _TP), misses=(_TN, _FP)),
}
# f1 = 2 q / (1 + q) for the Jaccard fraction q = TP / (TP + FP + FN), increasing in q.
JACCARD = Fraction(hits=(_TP,), misses=(_FP, _FN))
# What can be said of one class against all others. Accuracy is of all classes together.
PER_CLASS = (*(name for name in FRACTIONS if name not in ("accuracy_score", "zero_one_loss")),
             "f1_score")  # fmt: skip

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
    "false_discovery_rate": "share of positive predictions that are wrong",
    "false_omission_rate": "share of negative predictions that are wrong",
    "negative_predictive_value": "share of negative predictions that are right",
    "base_rate": "share labelled positive",
    "generalized_entropy_index": "inequality of benefits (generalized entropy, alpha 2)",
    "theil_index": "inequality of benefits (Theil)",
    "coefficient_of_variation": "coefficient of variation of benefits",
}
_BINNED = {
    "roc_auc_score": "area under the ROC curve",
    "bpsn_auc": "area of other groups' positives over the group's negatives",
    "bnsp_auc": "area of the group's positives over other groups' negatives",
    "mean_prediction": "mean score",
    "mean_absolute_error": "mean distance of score and label",
    "mean_squared_error": "mean squared distance of score and label (Brier score)",
    "expected_calibration_error": "expected calibration error",
}
_SWAPPED = {
    "flip_rate": "share whose decision changes when their group's word is swapped",
    "flip_to_positive_rate": "share not selected who would be with another group's word",
    "flip_to_negative_rate": "share selected who would not be with another group's word",
    "swap_shift": "mean change of the score when the group's word is swapped",
    "swap_fall": "mean fall of the score when the group's word is swapped",
    "swap_rise": "mean rise of the score when the group's word is swapped",
}
# Over everyone whose word was swapped, by the name that the literature knows it by.
_POOLED = {"counterfactual_flip_rate": "flip_rate", "counterfactual_score_shift": "swap_shift"}
UNBOUNDED = ("generalized_entropy_index", "theil_index", "coefficient_of_variation")
BETWEEN = "between_all_groups_"
_COMBINED: dict[Combine, str] = {
    "difference": "largest difference between groups in the {}",
    "ratio": "lowest group's {} over the highest group's",
    "group_min": "lowest group's {}",
    "group_max": "highest group's {}",
    "mean_difference": "mean of the largest differences in the true and false positive rates",
    "between": "{}, each person taken at their group's mean,",
    "pooled": "{}",
}
_FOR_EVERY_RATE: tuple[Combine, ...] = ("difference", "ratio", "group_min", "group_max")
_FOR_SWAPS: tuple[Combine, ...] = ("difference", "group_max")
_NAMED: dict[str, tuple[tuple[str, ...], Combine, str]] = {
    "demographic_parity": (("selection_rate",), "difference", "share predicted positive"),
    "equal_opportunity": (("true_positive_rate",), "difference", "true positive rate"),
    "equalized_odds": (
        ("true_positive_rate", "false_positive_rate"),
        "difference",
        "true or false positive rate, whichever is worse",
    ),
}
_NO_BOUND = ("log_loss", "r2_score", "mean_pinball_loss")


def add_rate(name: str, meaning: str, *, binned: bool = False, high: float = 1.0) -> None:
    """Make a rate of a task known, with how it is compared between groups; once more is no harm.

    Args:
        name: of the rate.
        meaning: plain words, to follow "the".
        binned: whether it needs the histograms.
        high: its greatest possible value.

    Raises:
        FairnessError: a metric of that name means something else.
    """
    metric = Metric(name=name, kind="rate", meaning=meaning, high=high, binned=binned, brought=True)
    if _REGISTRY.setdefault(name, metric) != metric:
        raise FairnessError(f"metric {name!r} is there already and means something else")
    for combine in _FOR_EVERY_RATE:
        _add(_REGISTRY, f"{name}_{combine}", (name,), combine, meaning)


def metric_names(kind: Kind | None = None, *, swapped: bool = False) -> tuple[str, ...]:
    """Return the metrics of two classes, or those of one kind, in alphabetical order.

    Those of the group tables, or those that need scores with a word `swapped`.
    """
    return tuple(
        sorted(
            name
            for name, metric in _REGISTRY.items()
            if kind in (None, metric.kind) and metric.swapped == swapped and not metric.brought
        )
    )


def find_metric(name: str, *, kind: Kind | None = None) -> Metric:
    """Return the metric called `name`.

    Raises:
        FairnessError: unknown, of another kind, or one that the tables hold no sums for; the
            message lists what is supported.
    """
    metric = _REGISTRY.get(name) or _of_class(name)
    if metric is not None and kind in (None, metric.kind):
        return metric
    if metric is not None:
        why = (
            "compares groups, so it needs a sensitive feature"
            if metric.kind == "aggregate"
            else "is a rate of one group; over groups, name how they are compared, for example "
            f"{name}_difference or {name}_group_min"
        )
    elif name.startswith(_NO_BOUND):
        why = "has no bound that score bins could certify"
    else:
        why = "is not a metric of this version"
    known = (*metric_names(kind), *metric_names(kind, swapped=True))
    near = get_close_matches(name, known, n=4, cutoff=0.4)
    raise FairnessError(
        f"{name!r} {why}. {'Nearest: ' + ', '.join(near) + '. ' if near else ''}"
        f"Rates: {', '.join(metric_names('rate'))}; over groups each with _difference, _ratio, "
        "_group_min or _group_max, and those that docs/fairness.md names"
    )


def of_class(rate: str, name: str) -> str:
    """Return what `rate` of the class called `name` against all others is called."""
    return f"{rate}[{name}]"


def _of_class(name: str) -> Metric | None:
    """Return the metric of one class that `name` spells, or None where it spells none."""
    stem, bracket, rest = name.partition("[")
    metric, label = _REGISTRY.get(stem), rest.removesuffix("]")
    if metric is None or not bracket or not label or label == rest:
        return None
    if not {*metric.bases, *([] if metric.bases else [stem])} <= set(PER_CLASS):
        return None
    return replace(
        metric,
        name=name,
        meaning=f"{metric.meaning} (the class {label!r} against all others)",
        bases=tuple(of_class(base, label) for base in metric.bases),
        brought=True,
    )


def _build() -> dict[str, Metric]:
    registry = {
        name: Metric(
            name=name,
            kind="rate",
            meaning=meaning,
            high=math.inf if name in ("count", *UNBOUNDED) else 1.0,
            binned=name in _BINNED,
        )
        for name, meaning in (_RATES | _BINNED).items()
    }
    for base, meaning in (_RATES | _BINNED).items():
        if base != "count":
            for combine in _FOR_EVERY_RATE:
                _add(registry, f"{base}_{combine}", (base,), combine, meaning)
    for stem, (bases, _, meaning) in _NAMED.items():
        _add(registry, f"{stem}_difference", bases, "difference", meaning)
        _add(registry, f"{stem}_ratio", bases, "ratio", meaning)
    for base, meaning in _SWAPPED.items():
        registry[base] = Metric(name=base, kind="rate", meaning=meaning, swapped=True)
        for combine in _FOR_SWAPS:
            _add(registry, f"{base}_{combine}", (base,), combine, meaning)
    for name, base in _POOLED.items():
        _add(registry, name, (base,), "pooled", _SWAPPED[base])
    _add(
        registry,
        "four_fifths",
        ("selection_rate",),
        "ratio",
        "share predicted positive (four-fifths screening statistic)",
    )
    both = ("true_positive_rate", "false_positive_rate")
    _add(registry, "average_abs_odds_difference", both, "mean_difference", "")
    for name in UNBOUNDED:
        _add(registry, f"{BETWEEN}{name}", (name,), "between", _RATES[name])
    return registry


def _add(
    registry: dict[str, Metric], name: str, bases: tuple[str, ...], combine: Combine, meaning: str
) -> None:
    registry[name] = Metric(
        name=name,
        kind="aggregate",
        meaning=_COMBINED[combine].format(meaning),
        high=registry[bases[0]].high if combine != "ratio" else 1.0,
        bases=bases,
        combine=combine,
        binned=any(registry[base].binned for base in bases),
        swapped=any(registry[base].swapped for base in bases),
        brought=any(registry[base].brought for base in bases),
    )


_REGISTRY = _build()
