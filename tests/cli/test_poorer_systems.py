"""Every command on a system without locks and owners, and on a terminal that knows few characters.

The commands are found by walking the command line itself, so one that is added later is tried too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest
import typer

from fedethics.charter import document
from fedethics.charter.document import hash_of, load
from fedethics.cli.main import app
from fedethics.identity import Identity
from fedethics.policy.template import policy_text
from fedethics.privacy.ledger import Cap, DataSet, Ledger
from fedethics.privacy.plan import make_plan
from tests.privacy.charters import HEART

POSIX_ONLY = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog")
HOMES = ("site", "federation")
# These start a process with PyTorch before they look at what they were given.
WITH_TORCH = (("dp-check",), ("site", "rehearse"))
SCRIPT = Path(__file__).with_name("each_command.py")
# Written as escapes: in UTF-8, in no ASCII, not in Latin-1, and bytes that are no text at all.
NAMES = ("S\u00e4uglinge", "\u60a3\u8005", "a\U0001f600b", os.fsdecode(b"raw\xff\xfe"))


def leaves(
    command: click.Command | None = None, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield each command with its words."""
    command = command or typer.main.get_command(app)
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        yield words, command
        return
    for name, inner in subcommands.items():
        yield from leaves(inner, (*words, name))


def filled(words: Sequence[str], command: click.Command, value: str) -> list[str]:
    """Return the command with `value` for everything that it must be given."""
    given = list(words)
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            given.append(value)
        elif parameter.required:
            numeric = parameter.type.name in ("integer", "float", "integer range", "float range")
            given += [parameter.opts[0], "1" if numeric else value]
    return given


def run(
    commands: Sequence[Sequence[str]], *, without: Sequence[str] = (), encoding: str = "utf-8"
) -> list[dict[str, object]]:
    return run_in([encoding], commands, without=without)[0]


def run_in(
    encodings: Sequence[str], commands: Sequence[Sequence[str]], *, without: Sequence[str] = ()
) -> list[list[dict[str, object]]]:
    """Run the commands in one process, in one terminal after another; its start is what costs."""
    asked = {
        "without": list(without),
        "encodings": list(encodings),
        "commands": [*map(list, commands)],
    }
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"COLUMNS": "120", "NO_COLOR": "1", "PYTHONUTF8": "1"},
        timeout=500,
    )
    return list(json.loads(done.stdout))


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    """Make what officers and auditors work with."""
    folder = tmp_path_factory.mktemp("papers")
    charter, identity = load(HEART), Identity.generate()
    (folder / "charter.toml").write_bytes(HEART.read_bytes())
    (folder / "charter.json").write_bytes(document.encode(charter))
    (folder / "policy.toml").write_text(policy_text())
    (folder / "policy.toml").chmod(0o644)
    identity.save(folder / "own.key")
    plan = make_plan(charter)
    ledger = Ledger.open(folder / "ledger.db", identity=identity, create=True)
    ledger.reserve(
        data_set=DataSet(fingerprint="aa" * 32, label="train"),
        round_number=1,
        kind="update",
        events=[plan.update.event],
        run="run-1",
        charter_hash=hash_of(charter),
        cap=Cap(epsilon=6.0, delta=1e-4),
    )
    (folder / "public-key").write_text(identity.public_key)
    return folder


def officers(papers: Path) -> list[list[str]]:
    key = (papers / "public-key").read_text()
    at = str(papers)
    return [
        ["doctor", "--json"],
        ["charter", "check", f"{at}/charter.toml"],
        ["charter", "show", f"{at}/charter.toml"],
        ["charter", "show", f"{at}/charter.json", "--json"],
        ["policy", "check", f"{at}/policy.toml"],
        ["key", "show", f"{at}/own.key"],
        ["ledger", "show", at],
        ["ledger", "verify", at, "--public-key", key],
        ["ledger", "export", at],
        ["budget", "plan", f"{at}/charter.toml"],
    ]


def test_every_command_says_how_it_is_used_where_there_are_no_locks():
    found = [[*words, "--help"] for words, _ in leaves()]
    assert len(found) > 30
    for words, told in zip(found, run(found, without=POSIX_ONLY), strict=True):
        assert told["raised"] == "", words
        if words[0] in HOMES:
            assert told["code"] == 7
            assert "not supported on this system" in str(told["err"])
        else:
            assert (told["code"], "Usage" in str(told["out"])) == (0, True), words


def test_every_command_that_needs_a_home_says_in_one_line_that_this_system_has_none(tmp_path):
    found = [
        filled(words, command, str(tmp_path / "absent"))
        for words, command in leaves()
        if words[0] in HOMES
    ]
    assert len(found) > 14
    for words, told in zip(found, run(found, without=("fcntl",)), strict=True):
        assert (told["code"], told["raised"], told["out"]) == (7, "", ""), words
        assert str(told["err"]).count("\n") == 1
        assert "use Linux or macOS" in str(told["err"])
    assert list(tmp_path.iterdir()) == []


def test_officers_and_auditors_get_the_same_answers_without_what_windows_lacks(papers):
    here = run(officers(papers))
    there = run(officers(papers), without=POSIX_ONLY)
    for words, one, other in zip(officers(papers), here, there, strict=True):
        assert one["raised"] == other["raised"] == "", words
        assert one["code"] == 0, (words, one)
        assert one == other, words


def test_no_command_ends_in_a_traceback_for_what_the_terminal_cannot_show(tmp_path):
    found = [
        filled(words, command, str(tmp_path / "-".join(NAMES)))
        for words, command in leaves()
        if words not in WITH_TORCH
    ]
    encodings = ("ascii", "cp1252", "utf-8")
    for encoding, answers in zip(encodings, run_in(encodings, found), strict=True):
        for words, told in zip(found, answers, strict=True):
            assert told["raised"] == "", (words, encoding)
            assert isinstance(told["code"], int), (words, encoding)


def test_what_cannot_be_shown_is_spelled_and_json_stays_the_same_document(papers, tmp_path):
    folder = tmp_path / "S\u00e4uglinge \U0001f600"
    folder.mkdir()
    text = (
        (papers / "charter.toml")
        .read_text()
        .replace('purpose = "', 'purpose = "F\u00fcr \U0001f600: ', 1)
    )
    (folder / "charter.toml").write_text(text, encoding="utf-8")
    (folder / "policy.toml").write_text(policy_text())
    (folder / "policy.toml").chmod(0o644)
    commands = [
        ["policy", "check", str(folder / "policy.toml")],
        ["policy", "check", str(folder / "none.toml")],
        ["charter", "show", str(folder / "charter.toml"), "--json"],
        ["policy", "check", str(folder / "policy.toml"), "--json"],
    ]
    plain, wide = run(commands, encoding="ascii"), run(commands)
    assert [told["code"] for told in plain] == [told["code"] for told in wide]
    # A table's title is wrapped at a blank.
    assert "S\\xe4uglinge\\U0001f600" in "".join(str(plain[0]["out"]).split())
    assert "S\\xe4uglinge \\U0001f600" in str(plain[1]["err"])
    for one, other in zip(plain[2:], wide[2:], strict=True):
        assert other["code"] == 0, other
        assert json.loads(str(one["out"])) == json.loads(str(other["out"]))
        assert str(one["out"]).isascii()


def _started(words: Sequence[str], **where: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-P", "-m", "fedethics.cli.main", *words]
    return subprocess.run(command, timeout=200, **where)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("words", [["doctor"], ["doctor", "--json"], ["charter", "show", "none"]])
def test_a_reader_that_went_away_is_no_traceback_and_no_success(words):
    reading, writing = os.pipe()
    os.close(reading)
    done = _started(words, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    said = done.stderr.decode()
    assert "Traceback" not in said and "Exception ignored" not in said and "BrokenPipe" not in said
    assert done.returncode == (2 if "none" in words else 1)


@pytest.mark.parametrize("closed", ["<&- >&-", "2>&-", ">&- 2>&-"])
def test_a_command_without_a_terminal_still_works(closed):
    command = f"exec '{sys.executable}' -P -m fedethics.cli.main doctor {closed}"
    done = subprocess.run(command, shell=True, capture_output=True, timeout=200)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_terminal_of_ascii_shows_a_charter_with_other_letters(root):
    """The case from the field, as the shell starts it."""
    poor = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = _started(["policy", "check", "S\u00e4uglinge.toml"], env=poor, capture_output=True)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert done.stderr.isascii()
