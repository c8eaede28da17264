"""Commands start fast: each imports what it needs, and the help imports no command at all."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer

from fedethics.cli.main import COMMANDS, app, load

# Each takes from half a second to several.
HEAVY = {
    "torch",
    "transformers",
    "flwr",
    "scipy",
    "matplotlib",
    "dp_accounting",
    "opacus",
    "pandas",
}


def loaded_by(*words):
    script = (
        "import json, sys\n"
        f"sys.argv = ['fedethics', *{list(map(str, words))!r}]\n"
        "from fedethics.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('\\n' + json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "words",
    [
        ("--help",), ("ledger", "show", "/none"), ("ledger", "verify", "/none"),
        ("site", "status", "--home", "/none"), ("charter", "check", "configs/heart.charter.toml"),
        ("policy", "check", "configs/policy.hospital.toml"), ("key", "show", "/none"),
    ],
    ids=lambda words: " ".join(words[:2]),
)  # fmt: skip
def test_a_light_command_loads_no_heavy_package(words):
    assert not HEAVY & {name.partition(".")[0] for name in loaded_by(*words)}


# What the most frequent commands of a site have no use for; half a second together.
ELSEWHERE = (
    "fedethics.coordinator", "fedethics.enrolment.joining", "fedethics.secagg.coordinator",
    "fedethics.secagg.masking", "fedethics.secagg.site", "fedethics.simulation",
    "fedethics.site.preflight.checks", "fedethics.training",
)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "elsewhere"),
    [
        (("ledger", "show", "/none"), (*ELSEWHERE, "fedethics.policy", "fedethics.site")),
        (("site", "status", "--home", "/none"), ELSEWHERE),
    ],
    ids=["ledger show", "site status"],
)
def test_a_frequent_command_loads_no_room_that_it_does_not_use(words, elsewhere):
    loaded = loaded_by(*words)
    assert "fedethics.privacy.ledger.book" in loaded
    within = [name for name in loaded for room in elsewhere if f"{name}.".startswith(f"{room}.")]
    assert within == []


def test_the_help_loads_no_command():
    modules = {f"fedethics.cli.{command.module}" for command in COMMANDS.values()}
    assert not modules & set(loaded_by("--help"))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_says_of_each_command_what_its_own_help_begins_with(name):
    told = " ".join((load(name).help or "").split())
    assert COMMANDS[name].summary and told.startswith(COMMANDS[name].summary)


def test_every_command_is_there():
    assert list(typer.main.get_command(app).commands) == list(COMMANDS)
