"""`fedethics audit mechanism`: a sound mechanism passes, half its noise is named."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fedethics.charter.document import encode
from fedethics.cli.checks import _tell
from fedethics.cli.main import app
from fedethics.errors import EXIT_INTEGRITY
from fedethics.training import gradient_noise
from fedethics.training.canaries import CanaryAudit, Exposures
from tests.training.tiny_models import charter_for, save_tiny


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    folder = save_tiny(tmp_path_factory.mktemp("tiny"), "llama", task="causal-lm")
    path = tmp_path_factory.mktemp("charter") / "charter.json"
    path.write_bytes(encode(charter_for(folder, "llama", task="causal-lm")))
    return ["audit", "mechanism", str(path), "--model-dir", str(folder)]


def test_a_sound_mechanism_is_shown_as_a_table_and_as_json(asked):
    shown = CliRunner().invoke(app, asked)
    assert shown.exit_code == 0 and "noise of one step" in shown.output
    assert "CONTRADICTED" not in shown.output and "never prove it" in " ".join(shown.output.split())
    found = json.loads(CliRunner().invoke(app, [*asked, "--json"]).output)
    assert found["sound"] and len(found["figures"]) == 7
    assert found["figures"][5]["measured"] < found["promised-epsilon"]


def test_half_the_noise_ends_with_its_own_exit_code(asked, monkeypatch):
    honest = gradient_noise.gaussian
    monkeypatch.setattr(
        gradient_noise, "gaussian", lambda noise, size, std: honest(noise, size=size, std=std / 2)
    )
    done = CliRunner().invoke(app, [*asked, "--json"])
    found = json.loads(done.output)
    assert (done.exit_code, found["sound"]) == (EXIT_INTEGRITY, False)
    assert not found["figures"][0]["passed"]


@pytest.mark.parametrize("own", [False, True])
def test_figures_that_follow_from_a_sites_records_are_labelled(own, capsys):
    bits = np.array([1.0])
    plain = Exposures(noise_multiplier=0.0, promised=np.inf, inside=bits, outside=bits, most=5.0,
                      bound=0.0, reach=1.0)  # fmt: skip
    found = CanaryAudit(private=None, plain=plain, steps=1, delta=1e-5)
    counted = {"canaries": 16, "references": 31, "of-own-records": own}
    _tell(Path("charter.json"), found, counted, as_json=False)
    said = " ".join(capsys.readouterr().out.split())
    assert ("Do not send them to anyone" in said) == own
    _tell(Path("charter.json"), found, counted, as_json=True)
    assert json.loads(capsys.readouterr().out)["of-own-records"] is own
