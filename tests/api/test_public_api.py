"""`import fedethics` offers what docs/api.md lists and costs nothing; it does what commands do."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fedethics
from fedethics.errors import CharterError
from fedethics.identity import Identity
from fedethics.privacy import accounting
from fedethics.privacy.events import SampledGaussian
from fedethics.privacy.ledger import Cap, DataSet, Ledger
from fedethics.privacy.plan import make_plan

ROOT = Path(__file__).resolve().parents[2]
CHARTER = ROOT / "configs" / "heart.charter.toml"


def fresh(code):
    """Run code in a new interpreter; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_every_name_is_there_and_no_other_is():
    for name in fedethics.__all__:
        assert getattr(fedethics, name) is not None
    assert dir(fedethics) == sorted(fedethics.__all__)
    with pytest.raises(AttributeError, match="no attribute 'gradients'"):
        fedethics.gradients  # noqa: B018


def test_the_version_is_the_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert fedethics.__version__ == project["version"]


def test_the_reference_documents_every_public_name():
    page = (ROOT / "docs" / "api.md").read_text()
    listed = {line.rpartition(".")[2] for line in re.findall(r"^::: (\S+)$", page, re.MULTILINE)}
    assert listed == set(fedethics.__all__) - {"__version__"}


def test_importing_loads_no_other_package_and_planning_loads_no_torch():
    loaded = "import sys, fedethics; print(sorted({m.split('.')[0] for m in sys.modules}))"
    assert not {"numpy", "torch", "scipy", "flwr"} & set(re.findall(r"'(\w+)'", fresh(loaded)))
    planned = f"fedethics.epsilon(fedethics.load_charter({str(CHARTER)!r}))"
    assert fresh(f"import sys, fedethics; {planned}; print('torch' in sys.modules)") == "False"


def test_epsilon_is_the_plans():
    charter = fedethics.load_charter(str(CHARTER))
    spend, plan = fedethics.epsilon(charter), make_plan(charter)
    assert spend.training == plan.training.epsilon <= charter.privacy.training.epsilon
    assert spend.delta == charter.privacy.delta and spend.unit == "record"


def test_a_bad_charter_is_refused_as_at_the_command_line(tmp_path):
    (tmp_path / "charter.toml").write_text("name = 3")
    with pytest.raises(CharterError) as caught:
        fedethics.load_charter(tmp_path / "charter.toml")
    assert isinstance(caught.value, fedethics.FedethicsError)


def test_the_budget_example_prints_what_the_command_plans():
    example = subprocess.run(
        [sys.executable, "examples/plan_a_budget.py", CHARTER],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    first = example.stdout.splitlines()[0]
    spend = fedethics.epsilon(fedethics.load_charter(CHARTER))
    assert f"noise multiplier {spend.noise_multiplier:.2f}" in first
    assert "delta 0.0001" in first and "add-or-remove-one" in first


def test_a_ledger_is_read_as_the_command_shows_it(tmp_path):
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path, identity=Identity.generate(), create=True)
    event = SampledGaussian(2.9, 0.5, 4)
    for label, rounds in (("train", 3), ("held-out", 1)):
        account = DataSet(fingerprint=label[0] * 64, label=label, unit="person")
        for number in range(rounds):
            ledger.reserve(
                data_set=account, run="run-1", round_number=number, events=(event,), kind="update",
                cap=Cap(epsilon=9.0, delta=1e-4), charter_hash="c" * 64,
            )  # fmt: skip
    train, held_out = fedethics.read_ledger(path, delta=1e-5)
    assert (train.data_set, train.unit, train.charges, train.delta) == ("train", "person", 3, 1e-5)
    assert train.epsilon == accounting.epsilon([event] * 3, delta=1e-5) > held_out.epsilon
    example = subprocess.run(
        [sys.executable, "examples/read_a_ledger.py", path],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert len(example) == 2 and "at delta 0.0001 for one person, add-or-remove-one" in example[0]


@pytest.mark.slow
def test_the_demo_example_ends_with_a_report_and_the_gates_own_verdict(tmp_path):
    configs = Path(shutil.copytree(ROOT / "configs", tmp_path / "configs"))
    charter = configs / "heart.charter.toml"
    text = charter.read_text().replace("rounds = 5", "rounds = 2")
    charter.write_text(text.replace('columns = ["*"]', 'columns = ["cp"]'))
    done = subprocess.run(
        [sys.executable, "examples/demo.py", configs / "heart.toml", tmp_path / "runs"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (path,) = (tmp_path / "runs").iterdir()
    run = fedethics.Run(path)
    assert run.report.exists()
    judged = run.examine()
    assert judged.verdict == json.loads((path / "gate.json").read_text())["verdict"]
    assert f"gate: {judged.verdict}" in done.stdout
    own = subprocess.run(
        [sys.executable, "examples/own_metric.py", path],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    tables = run.tables()
    sex = tables.layout.feature("sex")
    assert [line.partition(":")[0] for line in own] == list(sex.groups)
    missed = [int(line.partition(":")[2].split()[0]) for line in own]
    assert sum(missed) == int(tables.counts[:, 1, 0].sum())
    auc = fedethics.overall(run.tables(), "roc_auc_score")
    assert math.isnan(auc.figure) or f"AUC: {auc.figure:.3f}" in done.stdout
