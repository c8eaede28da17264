"""A port in use: said by whom before anything is started, and never mistaken for one's own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fedethics.address import Address
from fedethics.deployment import processes
from fedethics.deployment.locking import end_holder, holder, locked
from fedethics.deployment.ports import bound, holder_of
from fedethics.deployment.processes import Child
from fedethics.errors import RunError
from tests.ports import quiet_port

LISTENS = """
import socket, sys, time
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
one = socket.socket(family)
if "shared" in sys.argv: one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
one.bind((sys.argv[1], int(sys.argv[2])))
one.listen()
print("up", flush=True)
time.sleep(300)
"""


@pytest.fixture
def other():
    """Start another process that listens; it is ended after."""
    started = []

    def listens(host: str, port: int, *more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", LISTENS, host, str(port), *more]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process

    yield listens
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("127.0.0.1", "0.0.0.0"),
        ("127.0.0.1", "localhost"),
        ("::", "127.0.0.1"),
        ("::1", "::1"),
        ("::1", "localhost"),
    ],
)
@pytest.mark.parametrize("shared", [(), ("shared",)])
def test_a_port_that_another_process_holds_is_not_taken_and_its_holder_is_named(
    theirs, ours, shared, other
):
    if ours == "localhost" and theirs == "::1" and "::1" not in _loopback():
        pytest.skip("localhost is IPv4 only on this machine")
    port = quiet_port()
    process = other(theirs, port, *shared)
    with pytest.raises(RunError) as refused:
        bound(Address(ours, port))
    assert f"process {process.pid} (" in str(refused.value)
    assert "nothing was started" in str(refused.value)
    process.kill()
    process.wait()
    for one in bound(Address(ours, port)):
        one.close()


def _loopback() -> set[str]:
    return {str(found[4][0]) for found in socket.getaddrinfo("localhost", 1)}


def test_a_port_that_is_held_can_be_taken_by_nobody_else_not_even_with_a_shared_one():
    port = quiet_port()
    held = bound(Address("127.0.0.1", port))
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        with socket.socket() as second:
            second.setsockopt(socket.SOL_SOCKET, option, 1)
            with pytest.raises(OSError, match="in use"):
                _listen(second, port)
    with pytest.raises(RunError, match=f"process {os.getpid()}"):
        bound(Address("127.0.0.1", port))
    for one in held:
        one.close()


def _listen(one: socket.socket, port: int) -> None:
    one.bind(("127.0.0.1", port))
    one.listen()


def test_the_port_stays_held_while_the_server_behind_it_is_started_again(tmp_path):
    """A connection that comes in between waits, and is answered by the next server."""
    (held,) = bound(Address("127.0.0.1", quiet_port()))
    serves = (
        f"import socket; one = socket.socket(fileno={held.fileno()}); taken, _ = one.accept();"
        "taken.sendall(b'mine')"
    )
    child = Child(
        "server", (sys.executable, "-c", serves), tmp_path / "log", tmp_path, keeps=[held.fileno()]
    )
    for _ in range(2):
        with socket.create_connection(held.getsockname(), timeout=30) as dialled:
            child.start()
            assert dialled.recv(9) == b"mine"
        child.stop(grace_s=5)
    held.close()


def test_an_address_that_no_interface_has_is_told():
    with pytest.raises(
        RunError, match=r"no interface of this machine has the address 192\.0\.2\.1"
    ):
        bound(Address("192.0.2.1", quiet_port()))


def test_a_holder_that_cannot_be_seen_is_another_process():
    assert holder_of(quiet_port()).startswith("another process")


def test_what_a_process_calls_itself_commands_no_terminal(other):
    port = quiet_port()
    other("127.0.0.1", port, "\x1b]0;owned\x07", "‮")
    assert holder_of(port).isprintable()


def test_a_process_is_told_from_another_of_the_same_number():
    mine = processes.mark(os.getpid())
    assert processes.runs(mine)
    number, started, *rest = mine.split(" ")
    assert not processes.runs(" ".join([number, str(int(started) + 1), *rest]))
    elsewhere = " ".join([number, started, "0" * 36, "pid:[1]"])
    assert not processes.runs(elsewhere)
    assert not processes.is_here(elsewhere)
    for nonsense in ("", "x", "-1 2 3", number, "9" * 30):
        assert not processes.runs(nonsense)


HOLDS = """
import sys, time
from pathlib import Path
from fedethics.deployment.locking import locked, stop_signal
told = stop_signal()
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    told.wait()
"""


def _holding(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_holder_of_a_home_is_stopped_and_nobody_else(tmp_path):
    mine, copy = tmp_path / "mine" / "lock", tmp_path / "copy" / "lock"
    mine.parent.mkdir()
    process = _holding(mine)
    shutil.copytree(mine.parent, copy.parent)
    # A copied home has the words of the lock, and not the lock.
    assert holder(copy) is None
    assert not end_holder(copy, timeout_s=5)
    assert process.poll() is None
    assert holder(mine) == process.pid
    assert end_holder(mine, timeout_s=30)
    assert process.wait(timeout=30) == 0
    assert holder(mine) is None


@pytest.mark.parametrize("change", ["another start", "another system", "a number alone", "nothing"])
def test_a_lock_whose_words_fit_no_process_here_stops_nobody(change, tmp_path):
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    number, started, *rest = processes.mark(victim.pid).split(" ")
    words = {
        "another start": f"{number} {int(started) - 1} {' '.join(rest)}",
        "another system": f"{number} {started} {'0' * 36} pid:[1]",
        "a number alone": number,
        "nothing": "",
    }[change]
    (tmp_path / "superlink").mkdir()
    path = tmp_path / "superlink" / "lock"
    with locked(path):
        path.write_text(words)
        with pytest.raises(RunError, match="Nothing was stopped"):
            end_holder(path, timeout_s=1)
    assert victim.poll() is None
    victim.kill()
    victim.wait()
