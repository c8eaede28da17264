"""`--set KEY=VALUE` changes one run's charter, through the charter's own reader, and is kept."""

from __future__ import annotations

import json

import pytest

from fedethics.charter import document
from fedethics.errors import CharterError, RunError
from fedethics.simulation.command import staged
from fedethics.simulation.scenario import load, settings_of
from fedethics.simulation.staging import SET
from tests.drafting.test_frames import draft, pandas_frames


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    return draft(pandas_frames(), tmp_path_factory.mktemp("draft"))[0]


def run(scenario, out, *pairs, resume=None):
    return staged(
        scenario, out=out, run_id="r", resume=resume, data=out, settings=settings_of(pairs)
    )


def test_a_run_has_the_set_charter_and_says_what_was_set(scenario, tmp_path):
    before = scenario.with_name("charter.toml").read_bytes()
    pairs = ("training.rounds=2", "privacy.training.epsilon=1.5", "charter.name=other")
    _, stage = run(scenario, tmp_path, *pairs)
    plain = load(scenario)[1]
    assert (stage.charter.training.rounds, plain.training.rounds) == (2, 5)
    assert stage.charter.privacy.training.epsilon == 1.5 and stage.charter.name == "other"
    assert stage.charter.data == plain.data
    for home in stage.homes.values():
        assert document.load(home / "charter.json").training.rounds == 2
    assert json.loads((stage.coordinator / SET).read_bytes()) == {
        "training.rounds": 2, "privacy.training.epsilon": 1.5, "charter.name": "other",
    }  # fmt: skip
    assert scenario.with_name("charter.toml").read_bytes() == before


def test_without_a_setting_the_run_is_as_it_was(scenario, tmp_path):
    _, stage = run(scenario, tmp_path)
    assert stage.charter.training == load(scenario)[1].training
    assert not (stage.coordinator / SET).exists()


@pytest.mark.parametrize(
    ("pair", "error", "said"),
    [
        ("training.rounds=0", CharterError, "training.rounds: must be at least 1"),
        ("training.rounds=many", CharterError, "expected a whole number"),
        ("training.round=3", CharterError, "training.round: unknown key"),
        ("charter.name.first=3", CharterError, "no table of one charter"),
        ("data.columns.kind=text", CharterError, "no table of one charter"),
        ("training.rounds", RunError, "is no KEY=VALUE"),
        ("=3", RunError, "is no KEY=VALUE"),
    ],
)
def test_what_no_charter_could_say_is_one_error_and_nothing_starts(
    pair, error, said, scenario, tmp_path
):
    with pytest.raises(error, match=said):
        run(scenario, tmp_path, pair)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_continued_keeps_its_charter(scenario, tmp_path):
    with pytest.raises(RunError, match="keeps its charter"):
        run(scenario, tmp_path, "training.rounds=9", resume=tmp_path / "r")
    with pytest.raises(RunError, match="stands twice"):
        settings_of(["a=1", "a=2"])
