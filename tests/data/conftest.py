"""Shared by the data tests: a small schema, a way to write a table, and the real hospitals."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from fedethics.charter.data_terms import Column, DataTerms, LabelColumn, SensitiveColumn
from simulations.datasets import heart
from simulations.datasets.__main__ import ROOT


@pytest.fixture(scope="session")
def heart_folder() -> Path:
    """The four hospitals, fetched if they are not there; without a registry this fails by name."""
    folder = ROOT / "heart"
    heart.fetch(folder)
    return folder


@pytest.fixture
def schema() -> DataTerms:
    return DataTerms(
        source="made up",
        holdout_fraction=0.5,
        split_salt="salt/1",
        label=LabelColumn(
            column="ill",
            positive=("yes",),
            negative=("no",),
            positive_name="ill",
            negative_name="well",
        ),
        columns=(
            Column(name="age", kind="number", phrase="{value} years", minimum=0, maximum=120),
            Column(name="sex", kind="category", phrase="{value}", values=("F=woman", "M=man")),
            Column(
                name="chol",
                kind="number",
                phrase="cholesterol {value}",
                minimum=50,
                maximum=600,
                not_recorded=("0",),
            ),
            Column(name="note", kind="category", values=("a", "b"), on_empty="say"),
        ),
        sensitive=(
            SensitiveColumn(name="sex", column="sex", groups=("F", "M")),
            SensitiveColumn(
                name="age_band", column="age", groups=("young", "middle", "old"), edges=(40, 60)
            ),
        ),
    )


@pytest.fixture
def table(tmp_path):
    """Write rows to a CSV file: `table(rows, name=...)` -> path."""

    def write(rows, *, name="site.csv", columns=("id", "age", "sex", "chol", "note", "ill")):
        path = tmp_path / name
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(rows)
        return path

    return write
