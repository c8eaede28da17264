"""`policy init` writes a whole policy or nothing."""

from __future__ import annotations

from typer.testing import CliRunner

from fedethics.cli.policy import app
from fedethics.errors import PolicyError


def test_a_short_charter_hash_leaves_no_file_behind(tmp_path):
    path = tmp_path / "policy.toml"
    done = CliRunner().invoke(app, ["init", str(path), "--charter", "b365d9345ed8c862"])
    assert isinstance(done.exception, PolicyError)
    assert "64 hex digits" in str(done.exception)
    assert not path.exists()
    assert CliRunner().invoke(app, ["init", str(path), "--charter", "ab" * 32]).exit_code == 0
    assert path.exists()
