"""Every command that a message suggests can be copied into a shell as it stands, and is understood.

They are enumerated from the source: what `suggested(...)` is called with is parsed by the real
command line, with odd values in the place of what is only known at run time, and no text names a
command with options or values in any other way.
"""

from __future__ import annotations

import ast
import itertools
import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from fedethics.cli.main import app
from fedethics.commands import command, suggested
from tests.enrolment.a_day import ROOT

ROOMS = ("fedethics", "server", "clients", "simulations")
CLI = typer.main.get_command(app)
ODD = 'it\'s $(here) `and` "there" * \\ é'
GROUPS = {name: set(getattr(CLI.commands[name], "commands", {})) for name in CLI.commands}


def _sources():
    for room in ROOMS:
        yield from sorted((ROOT / room).rglob("*.py"))


def _choices(group=CLI):
    """Return the first of the choices of each option that has some, by the option."""
    found = {}
    for one in getattr(group, "commands", {}).values():
        found |= _choices(one)
        for option in one.params:
            if isinstance(option.type, click.Choice):
                found |= dict.fromkeys(option.opts, str(option.type.choices[0]))
    return found


CHOICES = _choices()


def _calls():
    """Yield each call of `suggested` in the source: where it stands, and its words."""
    for path in _sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "suggested":
                words = []
                for number, one in enumerate(node.args):
                    given = CHOICES.get(words[-1]) if words else None
                    odd = given or Path(f"/{ODD}{number}")
                    words.append(one.value if isinstance(one, ast.Constant) else odd)
                yield pytest.param(path, node, words, id=f"{path.stem}-{node.lineno}")


def _parsed(words):
    """Parse a command line with every rule of the real one, and run nothing."""
    context = click.Context(CLI, info_name="fedethics")
    group, rest = CLI, list(words)
    while isinstance(group, click.Group):
        name, found, rest = group.resolve_command(context, rest)
        context = click.Context(found, info_name=name, parent=context)
        group = found
    made = group.make_context(group.name, list(rest))
    return {name: value for name, value in made.params.items() if value not in (None, ())}


def _added(path, node):
    """Return what the text adds after the call: ` --declared-records NUMBER`."""
    source = ast.get_source_segment(path.read_text(encoding="utf-8"), node) or ""
    text = path.read_text(encoding="utf-8")
    after = text[text.index(source) + len(source) :]
    more = re.match(r'\s*\+\s*"( --[^"]*)"', after)
    return shlex.split(more.group(1).replace("NUMBER", "9")) if more else []


def test_there_are_commands_to_look_at():
    assert len(list(_calls())) > 15


@pytest.mark.parametrize(("path", "node", "words"), list(_calls()))
def test_a_suggested_command_has_all_that_it_needs_and_keeps_odd_values_whole(path, node, words):
    line = suggested(*words)
    read = shlex.split(line)
    assert read == ["fedethics", *map(str, words)]
    found = _parsed([*read[1:], *_added(path, node)])
    odd = {str(word) for word in words if isinstance(word, Path)}
    given_back = {
        str(one)
        for value in found.values()
        for one in (value if isinstance(value, list | tuple) else [value])
    }
    assert odd <= given_back


def test_no_text_names_a_command_with_values_but_by_that_function():
    """A text may name a command alone, `fedethics budget plan`, and that one must exist."""
    named = re.compile(r"fedethics ([a-z-]+)(?: ([a-z-]+))?([^\n`\"]*)")
    wrong = []
    for path in _sources():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        prose = _docstrings(tree)
        for node in ast.walk(tree):
            if not isinstance(node, ast.JoinedStr) and id(node) in prose:
                continue
            if isinstance(node, ast.JoinedStr):
                text = "".join(
                    one.value if isinstance(one, ast.Constant) else "{}" for one in node.values
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
            else:
                continue
            for group, sub, rest in named.findall(text):
                if group not in GROUPS or "template" in path.name or path.name == "founding.py":
                    continue
                exists = not GROUPS[group] or sub in {"", *GROUPS[group]}
                with_values = rest.lstrip().startswith(("-", "{", "/")) or "{}" in rest
                if not exists or (with_values and isinstance(node, ast.JoinedStr)):
                    wrong.append((path.name, node.lineno, text))
    assert wrong == []


def _docstrings(tree):
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, kinds)
        and node.body
        and isinstance(node.body[0], ast.Expr)
        and isinstance(node.body[0].value, ast.Constant)
    }


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=12), max_size=4))
def test_any_words_come_back_from_a_shell_as_they_were(words):
    printable = [word for word in words if word.isprintable()]
    assert shlex.split(command("x", *printable)) == ["x", *printable]


NASTY = [
    "two words",
    "it's",
    '"',
    "$HOME",
    "`id`",
    "a;b",
    "*",
    "~",
    "-rf",
    "--home",
    "",
    "a\nb",
    "\x1b[2J",
]


@pytest.mark.parametrize("word", NASTY)
def test_bash_itself_gives_the_words_back_and_nothing_moves_the_cursor(word):
    line = command("printf", "%s", Path(word) if word else word)
    assert line.isprintable()
    said = subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout.decode()
    assert said in (word, f"./{word}")
    assert not said.startswith("-")


@pytest.mark.parametrize("name", ["two words", "it's", "-x", "$(id)"])
def test_the_next_step_of_a_command_runs_as_it_was_printed(name, tmp_path, fedethics, monkeypatch):
    """From `site init` on, each printed step is given to the command line by way of a shell."""
    monkeypatch.chdir(tmp_path)
    home = tmp_path / name
    said = fedethics("site", "init", "--home", home, "--site", "alpha").out
    line = next(one for one in said.splitlines() if "site request" in one)
    words = shlex.split(line.replace("NUMBER", "100"))
    assert words[0] == "fedethics"
    assert fedethics(*words[1:]).exit_code == 0
    assert (tmp_path / "alpha.request").exists()


@pytest.mark.parametrize("name", ["two words", "it's"])
def test_what_a_refusal_tells_to_run_mends_it(name, tmp_path, fedethics):
    home = tmp_path / name
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    refused = fedethics("site", "init", "--home", home, "--site", "alpha")
    line = refused.err.partition("Run: ")[2].strip()
    subprocess.run(["bash", "-c", line], check=True)
    assert fedethics("site", "init", "--home", home, "--site", "alpha").exit_code == 0


def test_the_parser_of_this_test_notices_what_is_missing():
    for words, left_out in itertools.product(
        [("site", "request", "--home", "h", "-o", "f")], [("--home", "h"), ("-o", "f")]
    ):
        short = [word for word in words if word not in left_out]
        with pytest.raises(click.UsageError):
            _parsed([*short, "--declared-records", "9"])
