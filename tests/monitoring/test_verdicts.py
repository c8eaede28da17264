"""What a window says follows from its counts; alarm, history, plan and commands say the same."""

from __future__ import annotations

import dataclasses
import json
import os

import numpy as np
import pytest
from click.testing import CliRunner

from fedethics.aggregates.monitoring import MONITORING, WindowLayout
from fedethics.charter import document
from fedethics.charter.model import Member
from fedethics.charter.monitoring_terms import MonitoringBars
from fedethics.cli.main import load
from fedethics.deployment.settings import FederationHome
from fedethics.fairness.drift import Scored
from fedethics.identity import Identity
from fedethics.monitoring import alarm, evidence, history, planning, verdict
from fedethics.monitoring.baseline import Baseline
from fedethics.monitoring.closing import publish
from fedethics.monitoring.drafting import draft_text
from fedethics.monitoring.evidence import WindowEvidence
from fedethics.privacy.plan import make_plan
from fedethics.release.evidence import OpenedSum
from tests.monitoring.test_windows import watching

COORDINATOR = Identity.generate()
SITES = {name: Identity.generate() for name in ("one", "two", "three")}
BARS = MonitoringBars(score_psi=0.25, label_rate=0.1, missing=0.2, objectives=False)


def charter_of(**changes):
    roster = tuple(
        Member(site=name, public_key=key.public_key, declared_records=4000)
        for name, key in SITES.items()
    )
    made = dataclasses.replace(
        watching(**{"bars": BARS} | changes),
        roster=roster, coordinator_key=COORDINATOR.public_key,
    )  # fmt: skip
    return document.parse(document.encode(made))


def counted(layout, *, positives=0.4, records=6000, missing=0):
    """Return a window's counts without noise: scores spread evenly, groups too."""
    counts, tables = np.zeros(layout.length, dtype=np.int64), layout.tables
    bins = len(layout.edges) - 1
    for row, part in ((0, 1 - positives), (1, positives)):
        begins = tables.counts_length + row * bins
        counts[begins : begins + bins] = round(records * part / bins)
    place = 0
    for axes in tables.count_blocks:
        cells = tables.cells(axes)
        for _ in range(cells):
            for target, part in ((0, 1 - positives), (1, positives)):
                inside = place + 2 * target
                counts[inside : inside + 2] = round(records * part / cells / 2)
            place += 4
    counts[layout.places["rows"]] = records
    counts[layout.places["missing"]] = missing
    return counts


def baseline_of(layout):
    bins, records = len(layout.edges) - 1, 3000
    rows = np.array([[0.6 * records / bins] * bins, [0.4 * records / bins] * bins])
    totals = np.array([[0.6 * records], [0.4 * records]])
    return Baseline(
        scores=Scored(counts=rows, variance=50.0), labels=Scored(counts=totals, variance=200.0)
    )


def made(charter, counts, number=1):
    key = "c" * 64
    opened = OpenedSum(
        round=1, kind="monitoring", session=key, cohort=tuple(SITES), survivors=tuple(SITES),
        dropped=(), sum_sha256=evidence.sum_sha256(counts.tolist()),
    )  # fmt: skip
    return WindowEvidence(
        run_id=f"demo-w{number:04d}", window=number, finished="2026-02-01T00:00:00+00:00",
        charter_hash=document.hash_of(charter), release_manifest_sha256="a" * 64,
        model_sha256="b" * 64, variance=MONITORING.of(make_plan(charter).sums).noise.sum_variance,
        opened=opened, counts=tuple(counts.tolist()),
    )  # fmt: skip


def judged(charter, number=1, **changes):
    layout = WindowLayout.of(charter)
    found = made(charter, counted(layout, **changes), number)
    return verdict.judge_window(charter, baseline_of(layout), found)


def test_a_window_like_the_release_holds_and_one_with_other_labels_drifted():
    charter = charter_of()
    same, other = judged(charter), judged(charter, positives=0.7)
    assert same.verdict == "holds" and same.last_day == "2026-01-30"
    assert other.verdict == "drifted"
    assert [one.name for one in other.figures if one.verdict == "drifted"] == ["label-rate"]
    assert "label-rate 0.300" in other.sentence


def test_a_small_window_cannot_conclude_and_empty_cells_are_an_alarm():
    charter = charter_of()
    assert judged(charter, records=200).verdict == "cannot conclude"
    holes = judged(charter, missing=3000)
    assert [one.name for one in holes.figures if one.verdict == "drifted"] == ["missing chol"]


def test_later_windows_need_clearer_drift():
    charter = charter_of()
    first, last = judged(charter), judged(charter, number=12)
    assert last.confidence > first.confidence
    width = [one.figures[3].high for one in (first, last)]
    assert width[0] < width[1]


def test_objectives_that_a_window_cannot_judge_are_named():
    charter = charter_of(bars=dataclasses.replace(BARS, objectives=True))
    found = judged(charter)
    named = {one.name for one in found.figures}
    assert {"roc_auc_score", "equal_opportunity_difference by sex"} <= named
    judged_here = [one for one in found.figures if one.name not in ("score-psi", "label-rate")]
    answered = [one for one in judged_here if one.verdict and not one.name.startswith("missing")]
    assert len(charter.ethics.objectives) == len(found.unwatched) + len(answered)


@pytest.fixture
def two_windows(tmp_path):
    """Return a folder of two published windows, the second with an alarm, and the charter."""
    charter = charter_of()
    layout = WindowLayout.of(charter)
    for number, positives in ((1, 0.4), (2, 0.8)):
        folder = tmp_path / f"demo-w{number:04d}"
        folder.mkdir()
        (folder / "charter.json").write_bytes(document.encode(charter))
        found = made(charter, counted(layout, positives=positives), number)
        publish(folder, charter, found, baseline_of(layout), COORDINATOR)
    return tmp_path, charter


def test_an_alarm_is_a_note_that_only_the_coordinators_key_makes(two_windows):
    folder, charter = two_windows
    note = alarm.load(folder / "demo-w0002")
    assert alarm.fault(note, charter) == "" and "label-rate" in note.sentence
    forged = dataclasses.replace(note, sentence="Nothing drifted.")
    assert "coordinator" in alarm.fault(forged, charter)
    assert not (folder / "demo-w0001" / alarm.ALARM).exists()


def test_the_history_is_read_from_the_folder_and_shown_without_scripts(two_windows):
    folder, _ = two_windows
    assert [one.verdict for one in history.read(folder)] == ["holds", "drifted"]
    page = (folder / history.PAGE).read_text(encoding="utf-8")
    assert page.count("<svg") >= 2 and "<script" not in page and "http" not in page


def test_evidence_without_the_sites_receipts_does_not_verify(two_windows):
    folder, _ = two_windows
    (first, second) = history.check(folder, baseline_of(WindowLayout.of(charter_of())))
    assert first.problems == second.problems == ("No receipt of one, three, two.",)
    said = json.loads((folder / "demo-w0001" / "verdict.json").read_bytes())
    said["verdict"] = "drifted"
    (folder / "demo-w0001" / "verdict.json").write_bytes(document.canonical.encode(said))
    (first, _) = history.check(folder, baseline_of(WindowLayout.of(charter_of())))
    assert any("does not follow" in one for one in first.problems)


def test_commands_answer_with_the_exit_code_of_the_newest_window(two_windows, tmp_path):
    folder, charter = two_windows
    runner = CliRunner()
    shown = runner.invoke(load("monitor"), ["history", str(folder), "--json"])
    assert shown.exit_code == 12
    assert [one["verdict"] for one in json.loads(shown.stdout)["windows"]] == ["holds", "drifted"]
    assert runner.invoke(load("monitor"), ["verify", str(folder)]).exit_code == 6
    draft = tmp_path / "draft.toml"
    draft.write_text(draft_text(charter), encoding="utf-8")
    bare = dataclasses.replace(charter, roster=(), coordinator_key="")
    assert document.load(draft) == bare
    planned = runner.invoke(load("budget"), ["plan", str(draft), "--json"])
    assert json.loads(planned.stdout)["epsilon-of-one-window"] <= 1.0


def test_a_plan_says_what_windows_cost_and_from_which_drift_they_tell():
    charter = charter_of()
    small = planning.plan(charter, records=600, held_out=3000)
    large = planning.plan(charter, records=60_000, held_out=30_000, cap=3.0)
    assert small.one <= 1.0 and small.all_windows == small.one
    assert 1 < large.linked < 12
    for less, more in zip(small.first, large.first, strict=True):
        assert more.bar < more.shows < less.shows
    assert all(one.can_hold for one in large.first)
    assert not any(one.can_hold for one in planning.plan(charter, records=50, held_out=50).first)


def test_status_of_a_federation_that_watches_is_that_of_its_newest_window(tmp_path):
    (tmp_path / "federation.toml").write_text('[job]\nid = "demo"\n')
    opened = FederationHome.open(tmp_path)
    assert opened.newest_window() == opened
    for number, written in ((1, 50), (2, 40)):
        (tmp_path / "jobs" / f"demo-w{number:04d}").mkdir(parents=True)
        os.utime(tmp_path / "jobs" / f"demo-w{number:04d}", (written, written))
    assert opened.newest_window().job_dir.name == "demo-w0001"
