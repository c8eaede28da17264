"""The gate passes only what is shown, fails what is shown false, and says when it cannot tell."""

from __future__ import annotations

import dataclasses
import json

import pytest
from typer.testing import CliRunner

from fedethics import canonical
from fedethics.cli.release import app
from fedethics.errors import CharterError, ReleaseError
from fedethics.release import durable, gate
from fedethics.release.rules.rule import Rule, overall


def _rule(report, name):
    (found,) = [rule for rule in report.rules if rule.name == name]
    return found


def _others_pass(report, *names):
    return all(
        rule.verdict == "pass"
        for rule in report.rules
        if rule.topic != "people" and rule.name not in names
    )


def test_a_fair_model_on_many_records_passes(stage, lay):
    report = gate.examine(lay(stage, stage.evidence(records=20_000, skill=3.2)))
    assert report.verdict == "pass"
    assert report.exit_code == 0


def test_262_records_are_too_few_to_conclude(stage, heart, lay):
    report = gate.examine(lay(stage, heart))
    assert report.verdict == "cannot conclude"
    assert report.exit_code == 4
    assert _others_pass(report, "empirical privacy audit")
    undecided = [rule for rule in report.rules if rule.verdict == "cannot conclude"]
    assert all("records" in rule.sentence for rule in undecided)


def test_a_model_that_misses_women_fails_on_many_records(stage, lay):
    found = stage.evidence(records=20_000, skill=3.2, unfair=2.0)
    report = gate.examine(lay(stage, found))
    assert report.exit_code == 3
    rule = _rule(report, "equal_opportunity_difference by sex")
    assert rule.verdict == "fail"
    assert rule.figure.low > rule.figure.bar == 0.15


def test_an_objective_that_cannot_be_measured_is_refused_by_name(stage, heart, lay):
    odd = dataclasses.replace(stage.charter.ethics.objectives[0], metric="log_loss", bar=0.5)
    ethics = dataclasses.replace(stage.charter.ethics, objectives=(odd,))
    with pytest.raises(CharterError, match="log_loss"):
        gate.examine(lay(stage.with_charter(ethics=ethics), heart))


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["pass", "pass"], "pass"),
        (["pass", "cannot conclude"], "cannot conclude"),
        (["cannot conclude", "fail", "pass"], "fail"),
        ([], "cannot conclude"),
    ],
)
def test_one_failure_fails_and_one_doubt_withholds(verdicts, expected):
    rules = [
        Rule(name="r", topic="privacy", verdict=verdict, sentence="s", evidence="e")
        for verdict in verdicts
    ]
    assert overall(rules) == expected


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 4),
        ({"test_mode": True}, 3),
    ],
    ids=["cannot-conclude", "fail"],
)
def test_the_command_exits_with_the_verdict(stage, heart, lay, changes, code):
    run = lay(stage, dataclasses.replace(heart, **changes))
    # A gate.json that claims otherwise is not believed.
    (run / "gate.json").write_text('{"verdict":"pass"}')
    result = CliRunner().invoke(app, ["gate", str(run)])
    assert result.exit_code == code
    assert gate.examine(run).verdict in result.output


def test_a_pass_that_nobody_approved_exits_8(stage, lay):
    run = lay(stage, stage.evidence(records=20_000, skill=3.2))
    result = CliRunner().invoke(app, ["gate", str(run), "--json"])
    assert result.exit_code == 8
    told = json.loads(result.output)
    assert told.pop("state") == "awaiting approval"
    assert canonical.encode(told) == gate.encode(gate.examine(run))


def test_gate_json_reads_back_as_it_was_written(stage, heart, lay):
    run = lay(stage, heart)
    report = gate.examine(run)
    gate.write(report, run)
    assert gate.recorded(run) == report


def test_equal_evidence_gives_equal_bytes(stage, heart, lay):
    first = gate.encode(gate.examine(lay(stage, heart)))
    assert gate.encode(gate.examine(lay(stage, heart))) == first


def test_a_run_without_evidence_is_named(stage, heart, lay):
    run = lay(stage, heart)
    (run / "evidence.json").unlink()
    with pytest.raises(ReleaseError, match=r"evidence\.json cannot be read"):
        gate.examine(run)


def test_evidence_of_another_layout_is_refused(stage, heart, lay):
    found = dataclasses.replace(heart, counts=heart.counts[:-1])
    with pytest.raises(ReleaseError, match="23 integers"):
        gate.examine(lay(stage, found))


def test_a_draft_charter_cannot_have_been_run(stage, heart, lay):
    draft = stage.with_charter(roster=(), coordinator_key="")
    with pytest.raises(CharterError, match="no roster"):
        gate.examine(lay(draft, heart))


def test_half_written_evidence_is_refused(stage, heart, lay):
    run = lay(stage, heart)
    data = (run / "evidence.json").read_bytes()
    (run / "evidence.json").write_bytes(data[: len(data) // 2])
    with pytest.raises(ReleaseError, match="not canonical"):
        gate.examine(run)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "gate.json"
    durable.write(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ReleaseError, match="No space left"):
        durable.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
