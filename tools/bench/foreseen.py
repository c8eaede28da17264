"""What the planner foresees of bars that are not on the group tables, by records and epsilon.

Bars of measures (loss, token accuracy, exact match, flips of swapped words), of the comparison with
the model before training, and of annotators' agreement. Each cell is the chance in per cent that
the bar holds at the truth that the planner aims at, with the noise of the charter's own plan at
four sites, and in brackets without any.

    python -m tools.bench.foreseen
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

from fedethics.charter import document
from fedethics.charter.annotation_terms import AnnotationTerms
from fedethics.charter.measure_terms import (
    CounterfactualTerms,
    GenerationTerms,
    MeasureObjective,
    MeasureTerms,
)
from fedethics.charter.model import Charter, Member
from fedethics.charter.paired_terms import PairedObjective, PairedTerms
from fedethics.foresight.asked import Asked, outlook_of
from fedethics.foresight.chances import Effort
from fedethics.foresight.of_labels import asked_of_labels
from fedethics.foresight.of_measures import asked_of_measures
from fedethics.foresight.of_pairs import asked_of_pairs
from fedethics.foresight.people import People

ROOT = Path(__file__).resolve().parents[2]
SIZES, EPSILONS = (200, 1000, 5000), (0.25, 0.5, 1.0)
_WHY = "For the table."
_SITES = 4


def main() -> None:
    """Print a Markdown table."""
    began = time.process_time()
    heads = [f"n {size}, ε {epsilon:g}" for size in SIZES for epsilon in EPSILONS]
    print(f"| bar | {' | '.join(heads)} | records at ε {EPSILONS[1]:g} |")
    print(f"|---|{'---|' * (len(heads) + 1)}")
    columns = [list(_bars(size, epsilon)) for size in SIZES for epsilon in EPSILONS]
    for number, (name, _) in enumerate(columns[0]):
        cells, needed = [], ""
        for place, column in enumerate(columns):
            found = outlook_of(column[number][1], Effort(draws=100, searched=60), number=number)
            level = found.at(found.aim)
            cells.append(f"{100 * level.noised.holds:.0f} ({100 * level.exact.holds:.0f})")
            if place == 1:
                needed = "as planned" if found.can_hold else f"{found.records or 'none'}"
        print(f"| {name} | {' | '.join(cells)} | {needed} |")
    print(f"\n{time.process_time() - began:.0f} CPU seconds")


def _bars(records: int, epsilon: float) -> Iterator[tuple[str, Asked]]:
    letters, heart = (
        _rostered(path)
        for path in ("examples/sft/letters.charter.toml", "configs/heart.charter.toml")
    )
    for stated in _MEASURED:
        terms = MeasureTerms(
            names=("token_accuracy", "token_loss"), feature="addressee", epsilon=epsilon,
            generation=GenerationTerms(scorers=("exact_match/1",), records=100_000),
            objectives=(stated,),
        )  # fmt: skip
        yield _one(dataclasses.replace(letters, measures=terms), records, stated)
    words = CounterfactualTerms(name="gender", pairs=("he/she",), count=("flips",))
    flips = _objective("gender_flips", 0.05, "at-most")
    terms = MeasureTerms(epsilon=epsilon, counterfactuals=(words,), objectives=(flips,))
    yield _one(dataclasses.replace(heart, measures=terms), records, flips)
    for metric in ("accuracy_change", "accuracy_change_group_min"):
        bar = PairedObjective(metric=metric, bar=-0.05, why=_WHY)
        paired = PairedTerms(feature="sex", epsilon=epsilon, objectives=(bar,))
        charter = dataclasses.replace(heart, paired=paired)
        (asked,) = asked_of_pairs(charter, _people(charter, records))
        yield f"`{metric}` at least -0.05, truly 0", asked
    labels = AnnotationTerms(annotators=("a", "b"), labels=("0", "1"), bar=0.7, epsilon=epsilon)
    charter = dataclasses.replace(heart, annotation=labels)
    (asked,) = asked_of_labels(charter, _people(charter, records))
    yield "agreement (alpha) at least 0.7, truly 0.85", asked


def _one(charter: Charter, records: int, stated: MeasureObjective) -> tuple[str, Asked]:
    (asked,) = asked_of_measures(charter, _people(charter, records))
    truth = asked.best if asked.aim == "best" else (asked.best + asked.bar) / 2
    side = stated.direction.replace("-", " ")
    return f"`{stated.metric}` {side} {stated.bar:g}, truly {truth:g}", asked


def _objective(metric: str, bar: float, direction: str) -> MeasureObjective:
    way = "at-most" if direction == "at-most" else "at-least"
    return MeasureObjective(metric=metric, bar=bar, direction=way, why=_WHY)


_MEASURED = (
    _objective("token_accuracy", 0.6, "at-least"),
    _objective("token_loss", 2.0, "at-most"),
    _objective("token_loss_difference", 0.4, "at-most"),
    _objective("exact_match", 0.3, "at-least"),
)


def _people(charter: Charter, records: int) -> People:
    return People(charter=charter, records=records, groups={})


def _rostered(path: str) -> Charter:
    members = tuple(
        Member(site=f"site-{place}", public_key=f"{place:02x}" * 32, declared_records=4000)
        for place in range(1, _SITES + 1)
    )
    return dataclasses.replace(document.load(ROOT / path), roster=members)


if __name__ == "__main__":
    main()
