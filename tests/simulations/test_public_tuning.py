"""`fedethics tune --public`: the best candidate on public records becomes lines of the charter."""

from __future__ import annotations

import csv
import dataclasses
import json
import tomllib
from pathlib import Path

import pytest

from fedethics.charter import document
from fedethics.charter.tuning_terms import Candidate
from fedethics.errors import RunError
from fedethics.policy.model import read_policy
from fedethics.release.rules.rule import Measurement, Rule
from fedethics.simulation import public_tuning
from fedethics.simulation.public_tuning import Asked, best_of, candidates_of, tune, write_charter
from fedethics.simulation.trials_page import Finished, Trial
from tests.drafting.test_frames import draft, pandas_frames

RATES = ("training.learning-rate=[0.5, 2.0]",)


@pytest.fixture(scope="module")
def charter(tmp_path_factory):
    """A drafted charter whose schema reads the public file below."""
    return draft(pandas_frames(), tmp_path_factory.mktemp("draft"))[0].with_name("charter.toml")


def public_csv(path: Path) -> Path:
    frames = pandas_frames().values()
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(next(iter(frames))))
        writer.writeheader()
        for frame in frames:
            writer.writerows(frame.astype(object).fillna("").to_dict("records"))
    return path


def asked(charter: Path, public: Path, **changes) -> Asked:
    given = {
        "named": "the registry's open extract",
        "candidates": candidates_of(document.load(charter), RATES),
        "seeds": (7,),
    }
    return Asked(charter=charter, public=public, **(given | changes))


def measured(candidate: Candidate, value: float | None, *, seed: int = 7, **changes) -> Finished:
    trial = Trial(number=1, point=candidate.settings, seed=seed, base={})
    figure = Measurement(value=value, bar=0.6, direction="at-least")
    rule = Rule(
        name="roc_auc_score", topic="people", verdict="pass", sentence="s", evidence="e",
        figure=figure,
    )  # fmt: skip
    return Finished(trial=trial, verdict="pass", rules=(rule,))


def test_each_candidate_is_a_federation_over_all_public_records(charter, tmp_path, monkeypatch):
    ran = []

    def run(stage, resumed):
        assert not resumed
        ran.append(stage)

    def finished(trial, _):
        value = 0.6 + trial.point["training.learning-rate"] / 10
        return measured(Candidate(set_=(f"training.learning-rate={value}",)), value)

    monkeypatch.setattr(public_tuning, "run_trial", run)
    monkeypatch.setattr(public_tuning, "finished", finished)
    public = public_csv(tmp_path / "open.csv")
    tune(asked(charter, public), out=tmp_path / "search", data=tmp_path)
    assert [stage.charter.training.learning_rate for stage in ran] == [0.5, 2.0]
    own = document.load(charter)
    assert {s.charter.privacy.training.epsilon for s in ran} == {own.privacy.training.epsilon}
    rows = [len((tmp_path / "search" / "public" / f"public-{n}.csv").read_text().splitlines()) - 1
            for n in (1, 2, 3)]  # fmt: skip
    assert sum(rows) == 300 and min(rows) > 60
    assert (tmp_path / "search" / "trials.html").exists()
    policies = {read_policy(home / "policy.toml").policy for s in ran for home in s.homes.values()}
    assert len(policies) == 1 and policies.pop().caps.epsilon_per_run >= 60


def test_json_lines_are_dealt_line_by_line_and_a_person_stays_at_one_site(tmp_path):
    from fedethics.simulation.public_records import _lines

    lines = [json.dumps({"who": f"p{n % 40}", "n": n}) for n in range(200)]
    parts = _lines("\n".join(lines).encode(), "who", 3)
    people = [{json.loads(line)["who"] for line in content.splitlines()} for content, _ in parts]
    assert sum(count for _, count in parts) == 200
    assert people[0] | people[1] | people[2] == {f"p{n}" for n in range(40)}
    assert not (people[0] & people[1] or people[1] & people[2] or people[0] & people[2])


def test_the_best_mean_wins_and_the_first_of_equal_ones():
    low, high, equal = (Candidate(set_=(f"training.learning-rate={n}",)) for n in (1.0, 2.0, 3.0))
    found = [
        measured(low, 0.9, seed=1), measured(low, 0.5, seed=2),
        measured(high, 0.75, seed=1), measured(high, 0.75, seed=2),
        measured(equal, 0.75, seed=1), measured(equal, 0.75, seed=2),
    ]  # fmt: skip
    winner = best_of(found, (low, high, equal), select="")
    assert winner.candidate == high and winner.metric == "roc_auc_score" and winner.figure == 0.75
    with pytest.raises(RunError, match="no trial has an estimate of 'accuracy_score'"):
        best_of(found, (low, high), select="accuracy_score")


def test_the_charter_says_what_won_and_on_which_records(charter, tmp_path):
    what = asked(charter, tmp_path / "open.csv")
    found = [measured(one, 0.7 + n / 10) for n, one in enumerate(what.candidates)]
    written = write_charter(what, best_of(found, what.candidates, select=""), tmp_path)
    tuned = document.load(tmp_path / "tuned.charter.toml")
    assert tuned.training.learning_rate == 2.0
    assert tuned.tuning.settings_from == "public"
    assert tuned.tuning.source == "the registry's open extract"
    assert {path.name for path in written} == {
        "tuned.charter.toml", "tuned.patch", "tuned-lines.toml"
    }  # fmt: skip
    lines = tomllib.loads((tmp_path / "tuned-lines.toml").read_text())
    assert lines["training"] == {"learning-rate": 2.0}
    assert "+learning-rate = 2" in (tmp_path / "tuned.patch").read_text()


@pytest.mark.parametrize(
    ("tried", "why"),
    [
        ((), r"nothing to try: give --try"),
        (("training.learning-rate=2",), "needs a list of values"),
        (("privacy.delta=[1e-3]",), "no trial may set 'privacy.delta'"),
    ],
)
def test_what_no_trial_may_set_is_refused_before_it_begins(charter, tried, why):
    with pytest.raises(RunError, match=why):
        candidates_of(document.load(charter), tried)


def test_a_file_of_another_kind_is_refused(charter, tmp_path):
    with pytest.raises(RunError, match=r"read from \.csv or \.jsonl"):
        tune(asked(charter, tmp_path / "open.xlsx"), out=tmp_path / "search", data=tmp_path)
    assert not (tmp_path / "search").exists()


def test_sums_of_a_charter_are_allowed_or_left_out_in_every_trial(charter, tmp_path):
    counted = document.load_set(charter, {"census": {"minimum": 5}, "norms": {"epsilon": 0.1}})
    (tmp_path / "counted.json").write_bytes(document.encode(counted))
    search = asked(charter, tmp_path / "open.csv")
    search = dataclasses.replace(search, charter=tmp_path / "counted.json")
    trial = Trial(number=1, point={}, seed=7, base={})
    made = public_tuning._draft(search, trial)
    assert (made.census, made.norms, made.tuning) == (None, None, None)
    # Another sum than those, as a stand-in for the next kind.
    public_tuning._write_policy(counted, tmp_path)
    allowed = read_policy(tmp_path / "policy.toml").policy.allow.releases
    assert {"census", "norms"} <= set(allowed)


def test_a_negative_figure_is_shown_with_its_sign():
    one, two = (Candidate(set_=(f"training.learning-rate={n}",)) for n in (1, 2))
    found = [measured(one, -0.25), measured(two, -0.75)]
    best = best_of(found, (one, two), select="roc_auc_score")
    assert (best.candidate, best.figure) == (one, -0.25)
