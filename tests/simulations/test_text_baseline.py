import csv
import dataclasses
from pathlib import Path

from fedethics.charter.data_terms import Column, DataTerms, LabelColumn, SensitiveColumn
from fedethics.charter.document import load
from fedethics.data.reading import read_records
from fedethics.data.records import split
from simulations.arms import judge
from simulations.baselines import Bench

CHARTER = load(Path(__file__).parents[2] / "configs" / "heart.charter.toml")
TERMS = DataTerms(
    source="made up",
    holdout_fraction=0.4,
    split_salt="salt/1",
    label=LabelColumn(
        column="rude", positive=("1",), negative=("0",), positive_name="rude", negative_name="kind"
    ),
    columns=(
        Column(name="comment", kind="text", phrase="{value}", max_chars=100),
        Column(name="sex", kind="category", values=("F", "M")),
    ),
    sensitive=(SensitiveColumn(name="sex", column="sex", groups=("F", "M")),),
)


def test_logistic_regression_on_a_free_text_learns_its_words(tmp_path):
    # No comment is listed twice: only a word can tell, whatever its case and place.
    words = ("Awful", "lovely")
    comments = [
        f"{n} {words[n % 2]} day {n * 7}" if n % 3 else f"{words[n % 2].upper()} {n}"
        for n in range(400)
    ]
    path = tmp_path / "site.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("comment", "sex", "rude"))
        writer.writerows(
            (comment, "FM"[n // 2 % 2], str(1 - n % 2)) for n, comment in enumerate(comments)
        )
    charter = dataclasses.replace(CHARTER, data=TERMS)
    bench = Bench(charter, {"site": split(read_records(path, TERMS), TERMS)})
    assert judge(bench.logistic(("site",)), bench).roc_auc > 0.99
