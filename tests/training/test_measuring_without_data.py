"""A measurement on a data set that was not fetched ends in one line that says how to get it."""

import subprocess
import sys

import pytest

from fedethics.errors import EXIT_BAD_INPUT
from tools.bench import adapter_forms, training
from tools.bench.data_sets import fetched


@pytest.mark.parametrize("name", ["heart", "adult"])
def test_a_set_that_was_not_fetched_is_named_with_how_to_get_it(tmp_path, capsys, name):
    with pytest.raises(SystemExit) as ended:
        fetched(name, "all.csv", root=tmp_path)
    assert ended.value.code == EXIT_BAD_INPUT
    assert f"simulations.datasets fetch {name}" in capsys.readouterr().err
    (tmp_path / name).mkdir()
    (tmp_path / name / "all.csv").write_text("")
    assert fetched(name, "all.csv", root=tmp_path) == tmp_path / name / "all.csv"


@pytest.mark.parametrize("module", [training, adapter_forms])
def test_every_measurement_on_real_data_asks_first(monkeypatch, module):
    def nothing(name, file):
        raise SystemExit(EXIT_BAD_INPUT)

    monkeypatch.setattr(module, "fetched", nothing)
    measure = module.texts if module is training else lambda _: module._heart()
    with pytest.raises(SystemExit):
        measure(1)


def test_the_command_ends_without_a_traceback(tmp_path):
    script = (
        "import sys; from pathlib import Path; from tools.bench import data_sets, training; "
        f"data_sets.fetched.__kwdefaults__['root'] = Path({str(tmp_path)!r}); "
        "sys.argv = ['x', '--only', 'texts']; training.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == EXIT_BAD_INPUT
    assert "Traceback" not in done.stderr and "simulations.datasets fetch" in done.stderr
