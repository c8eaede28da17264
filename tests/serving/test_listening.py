"""Where a server listens, and what it asks before it does."""

from __future__ import annotations

import socket
import stat

import pytest

from fedethics.errors import RunError
from fedethics.listening import Listening, token_of
from fedethics.serving import run
from fedethics.serving.run import serve


@pytest.fixture(autouse=True)
def no_model(monkeypatch):
    """Let a test fail where a model would be loaded in spite of a fault."""

    def load(*_args, **_named):
        pytest.fail("the model was loaded")

    monkeypatch.setattr(run, "Service", load)


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ({"host": "0.0.0.0"}, "give --token-file"),
        ({"host": "example.org"}, "is no address"),
        ({"certificate": "c.pem"}, "belong together"),
        ({"host": "127.0.0.2"}, "give 127.0.0.1 or ::1"),
    ],
)
def test_what_would_not_be_protected_is_refused(tmp_path, named, why):
    with pytest.raises(RunError, match=why):
        serve(tmp_path, Listening(**named))


def test_others_are_answered_with_tls_only_or_behind_a_proxy(tmp_path):
    with pytest.raises(RunError, match="--tls-cert and --tls-key, or --without-tls"):
        serve(tmp_path, Listening(host="0.0.0.0", token_file=tmp_path / "token"))


def test_a_port_in_use_is_said_before_the_model_is_loaded(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(RunError, match=f"port {port} cannot be listened on"):
            serve(tmp_path, Listening(port=port))


def test_a_missing_token_is_written_for_its_owner_alone(tmp_path):
    path = tmp_path / "token"
    first = token_of(path)
    assert len(first) >= 40 and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token_of(path) == first


def test_a_token_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "token"
    path.write_text("x" * 40)
    path.chmod(0o644)
    with pytest.raises(RunError, match="is not safe"):
        token_of(path)


@pytest.mark.parametrize("text", ["short", "two words of a token that is long", "", "é" * 40])
def test_a_token_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match="--token-file"):
        token_of(path)
