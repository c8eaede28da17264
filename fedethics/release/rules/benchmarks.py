"""The charter's bars on public benchmarks, judged on the answers that are kept with the run.

Guarantee: missing, incomplete or foreign answers never pass: they leave each bar undecided. Every
figure is computed again from the answers to single items; of these the file itself shows that they
are to the items of the suite, for this base model, this adapter and this charter.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Literal, TypeAlias

from fedethics.benchmarks import results
from fedethics.benchmarks.benchmark import BenchmarkMetric
from fedethics.benchmarks.results import Results, Row
from fedethics.benchmarks.statistics import Figure
from fedethics.charter.benchmark_terms import BenchmarkObjective
from fedethics.commands import suggested
from fedethics.errors import ReleaseError
from fedethics.fairness.together import at_looks
from fedethics.release.folder import BENCHMARKS, Folder
from fedethics.release.rules.bars import Bar
from fedethics.release.rules.rule import Measurement, Outcome, Rule

Side: TypeAlias = Literal["good", "wrong", "both", ""]


def examine(folder: Folder) -> tuple[Bar, ...]:
    """Judge every bar by its own interval, in the charter's order; none where there is none."""
    stated = folder.charter.ethics.benchmarks or ()
    if not stated:
        return ()
    found, missing = kept(folder)
    if found is None:
        # They stay in the family: how many bars there are follows from the charter.
        return tuple(_open(one, missing) for one in stated)
    return tuple(_judge(found, one) for one in stated)


def _open(stated: BenchmarkObjective, why: str) -> Bar:
    rule = _rule(stated, "cannot conclude", None, why)
    return Bar(rule=rule, said=why, fails=lambda looks: False)


def _side(found: Results, stated: BenchmarkObjective, *, confidence: float) -> Side:
    """Return on which side of the bar the whole interval lies; "" where there is no figure."""
    benchmark, metric = results.metric_of(stated.name, stated.metric, stated.slice)
    row = results.row(found, benchmark, metric, stated.slice, confidence=confidence)
    figure, bar = _figure_and_bar(row, stated)
    if figure is None or figure.low is None or figure.high is None:
        return ""
    sign = 1.0 if stated.direction == "at-most" else -1.0
    worst, best = (figure.high, figure.low) if sign > 0 else (figure.low, figure.high)
    if sign * worst <= sign * bar:
        return "good"
    return "wrong" if sign * best > sign * bar else "both"


def kept(folder: Folder) -> tuple[Results | None, str]:
    """Return the answers kept with the run, or why none count."""
    path = folder.path / BENCHMARKS
    stated = folder.charter.ethics.benchmarks or ()
    suite = stated[0].suite if stated else "standard"
    ask = suggested("benchmark", folder.path.name, "--suite", suite, "--keep", "--key", "KEY")
    if not os.path.lexists(path):
        return None, f"No model was asked: {BENCHMARKS} is not there. Run: {ask}"
    try:
        found = results.read(path)
    except ReleaseError as error:
        return None, f"{error}."
    unlike = "; ".join(_unlike(folder, found))
    if unlike:
        return None, f"{BENCHMARKS} does not count: {unlike}. Run again: {ask}"
    return found, ""


def _unlike(folder: Folder, found: Results) -> Iterator[str]:
    head, charter = found.header, folder.charter
    pairs = {
        "base model": (head.base_sha256, charter.model.sha256),
        "quantisation": (head.quantisation, charter.model.quantisation),
        "adapter": (head.adapter_sha256 or "none", folder.evidence.model_hash),
        "charter": (head.charter_sha256 or "none", folder.charter_sha256),
    }
    for what, (said, wanted) in pairs.items():
        if said != wanted:
            yield f"it is of {what} {said[:12]}, the run's is {wanted[:12]}"
    for one in charter.ethics.benchmarks or ():
        if one.suite != head.suite:
            yield f"it answers suite {head.suite}, the charter names {one.suite}"
            return
        if one.name not in found.lines:
            yield f"it does not answer {one.name}"


def _judge(found: Results, stated: BenchmarkObjective) -> Bar:
    benchmark, metric = results.metric_of(stated.name, stated.metric, stated.slice)
    row = results.row(found, benchmark, metric, stated.slice, confidence=stated.confidence)
    figure, bar = _figure_and_bar(row, stated)
    side = _side(found, stated, confidence=stated.confidence)
    if figure is None or not side:
        why = "the base alone was asked" if figure is None else figure.untold
        return _open(stated, f"There is no figure: {why}.")
    outcome = _OUTCOMES[side]
    shown = Measurement(
        value=figure.value,
        low=figure.low,
        high=figure.high,
        confidence=stated.confidence,
        bar=bar,
        direction=stated.direction,
    )
    told = _told_of(row, stated, metric)
    return Bar(
        rule=_rule(stated, outcome, shown, f"{told} {_ENDINGS[outcome]}"),
        said=told,
        fails=lambda looks: (
            _side(found, stated, confidence=at_looks(stated.confidence, looks)) == "wrong"
        ),
    )


def _figure_and_bar(row: Row, stated: BenchmarkObjective) -> tuple[Figure | None, float]:
    if stated.bar is not None:
        return row.after, stated.bar
    allowed = stated.not_worse_than_base_by or 0.0
    return row.change, allowed if stated.direction == "at-most" else -allowed


_OUTCOMES: dict[Side, Outcome] = {
    "good": "pass",
    "wrong": "fail",
    "both": "cannot conclude",
    "": "cannot conclude",
}
_ENDINGS: dict[Outcome, str] = {
    "pass": "The whole interval lies on the good side of the bar.",
    "fail": "The whole interval lies on the wrong side of the bar.",
    "cannot conclude": "The interval contains the bar, so nothing can be concluded.",
    "not informative": "",
}


def _told_of(row: Row, stated: BenchmarkObjective, metric: BenchmarkMetric) -> str:
    told = f"The {metric.meaning}: {_told(row.before)} by the base model"
    if row.after is not None and row.change is not None:
        told += f", {_told(row.after)} with the adapter, a change of {_told(row.change)}"
        told += "" if row.change.p is None else f" (p {row.change.p:.3g})"
    side = stated.direction.replace("-", " ")
    bar = (
        f"Bar: {side} {stated.bar:g}."
        if stated.bar is not None
        else f"Bar: not worse than the base by more than {stated.not_worse_than_base_by:g} "
        f"({side} is good)."
    )
    return f"{told}; {row.before.items} items, intervals at {stated.confidence:g}. {bar}"


def _told(figure: Figure) -> str:
    if figure.value is None or figure.low is None or figure.high is None:
        return f"no figure ({figure.untold})"
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def _rule(
    stated: BenchmarkObjective, verdict: Outcome, figure: Measurement | None, sentence: str
) -> Rule:
    return Rule(
        name=stated.title,
        topic="people",
        verdict=verdict,
        figure=figure,
        sentence=sentence,
        evidence=BENCHMARKS,
    )
