"""The comparison of methods: site rules by their formulas, a page that loads nothing."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fedethics.charter.document import load
from fedethics.errors import RunError
from simulations.compare_page import Line, page, table
from simulations.methods import gap_objective
from simulations.site_rules import AgnosticAveraging, QFedAvg

ROOT = Path(__file__).resolve().parents[2]
CHARTER = ROOT / "configs" / "adult.charter.toml"
SIZES = {"a": 100, "b": 300}


def line(method, *, accuracy, gap, notes=()):
    return Line(
        method=method, what="x", epsilon=3.0, accuracy=accuracy, roc_auc=accuracy, gap=gap,
        notes=notes,
    )  # fmt: skip


LINES = [
    line("none", accuracy=(0.80, 0.82), gap=(0.20, 0.24)),
    line("thresholds", accuracy=(0.79, 0.79), gap=(0.10, 0.12), notes=("noise <as large>",)),
]


def test_q_fedavg_with_q_0_is_plain_averaging_and_with_q_1_goes_by_size_times_loss():
    losses = {"a": 0.9, "b": 0.3}
    assert QFedAvg(q=0.0).shares(losses, SIZES) == pytest.approx({"a": 0.25, "b": 0.75})
    assert QFedAvg(q=1.0).shares(losses, SIZES) == pytest.approx({"a": 0.5, "b": 0.5})


def test_agnostic_averaging_multiplies_by_the_exponential_of_the_loss_each_round():
    rule = AgnosticAveraging(step=2.0)
    rounds = [{"a": 0.9, "b": 0.3}, {"a": 0.8, "b": 0.5}]
    for losses in rounds:
        shares = rule.shares(losses, SIZES)
    raw = {s: SIZES[s] * np.exp(2.0 * sum(losses[s] for losses in rounds)) for s in SIZES}
    assert shares == pytest.approx({s: value / sum(raw.values()) for s, value in raw.items()})


def test_the_page_loads_nothing_and_escapes_what_it_quotes():
    charter = load(CHARTER)
    text = page(LINES, charter, gap_objective(charter))
    assert not re.search(r'(?:src|href)="(?!#)', text) and "<script" not in text
    assert "noise &lt;as large&gt;" in text
    assert "0.50" in text and "-2.0 points" in text  # .11 over .22; .79 less .81
    assert "simulated partition" in text


def test_the_table_fits_a_terminal_of_80_columns():
    from rich.console import Console

    charter = load(CHARTER)
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table(LINES, gap_objective(charter)))
    assert "thresholds" in console.export_text() and "…" not in console.export_text()


def test_a_charter_without_a_gap_and_an_unknown_method_are_refused_before_anything_runs():
    import dataclasses

    charter = load(CHARTER)
    over_everyone = tuple(one for one in charter.ethics.objectives if not one.feature)
    floors = dataclasses.replace(charter.ethics, objectives=over_everyone)
    with pytest.raises(RunError, match="no gap to compare methods by"):
        gap_objective(dataclasses.replace(charter, ethics=floors))
    done = subprocess.run(
        [sys.executable, "-m", "simulations", "compare", CHARTER, "--methods", "magic"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "magic: known are" in " ".join(done.stderr.split())
