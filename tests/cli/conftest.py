"""Run the command line in this process, as `main` would."""

import json
import sys
from dataclasses import dataclass

import pytest

from fedethics.cli.main import main


@dataclass
class Outcome:
    exit_code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def fedethics(capsys, monkeypatch):
    def run(*arguments) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["fedethics", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as caught:
            main()
        printed = capsys.readouterr()
        return Outcome(int(caught.value.code or 0), printed.out, printed.err)

    return run
