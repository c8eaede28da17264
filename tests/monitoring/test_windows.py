"""A record is in one window by its own day; what is missing or late is counted, not guessed."""

from __future__ import annotations

import csv
import dataclasses
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fedethics.aggregates.monitoring import (
    MONITORING,
    WindowLayout,
    window_event,
    window_number,
    window_run,
)
from fedethics.aggregates.monitoring.site import window_counts
from fedethics.charter import document
from fedethics.charter.monitoring_terms import MonitoringBars, MonitoringTerms
from fedethics.data.file_terms import DataFile
from fedethics.data.window import read_window
from fedethics.errors import CharterError, DataError, PolicyRefusal, RecordsRefusal
from fedethics.identity import Identity
from fedethics.monitoring import drafting
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.ledger import Ledger
from fedethics.privacy.ledger.entries import Cap
from fedethics.privacy.plan import make_plan
from fedethics.site.watched import earlier_files, watched_records, window_facts

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
HEART = document.load(CONFIGS / "heart.charter.toml")
ROW = {
    "id": "1", "age": "63", "sex": "Male", "cp": "asymptomatic", "trestbps": "145", "chol": "233",
    "fbs": "TRUE", "restecg": "normal", "thalch": "150", "exang": "FALSE", "oldpeak": "2.3",
    "slope": "flat", "ca": "0", "thal": "normal", "num": "0",
}  # fmt: skip
HEAD = list(ROW)


def watching(**changes):
    given = {
        "release": "a" * 64, "time": "seen", "first_day": "2026-01-01", "days": 30, "windows": 12,
        "epsilon": 1.0, "minimum_records": 2, "missing": ("chol",),
        "bars": MonitoringBars(score_psi=0.25, missing=0.1),
    } | changes  # fmt: skip
    adapter = dataclasses.replace(HEART.adapter, from_="b" * 64)
    return dataclasses.replace(HEART, monitoring=MonitoringTerms(**given), adapter=adapter)


def written(tmp_path, rows, head=(*HEAD, "seen")):
    path = tmp_path / "new.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)
    return DataFile.of(path)


def row(number, day, **cells):
    made = ROW | {"id": str(number)} | cells
    return [made[name] for name in HEAD] + [day]


def read(file, charter, number=1):
    begins, ends = charter.monitoring.window(number)
    return read_window(
        file, charter.data, task=charter.model.task, time="seen", begins=begins, ends=ends,
        missing=charter.monitoring.missing,
    )  # fmt: skip


def test_each_record_is_in_the_window_of_its_day_and_in_no_other(tmp_path):
    days = ["2025-12-31", "2026-01-01", "2026-01-30 23:59", "2026-01-31", "2026-03-01"]
    file = written(tmp_path, [row(number, day) for number, day in enumerate(days)])
    found = [read(file, watching(), number) for number in (1, 2)]
    assert [one.rows for one in found] == [2, 2]
    first, second = (set(one.labelled.row_hashes) for one in found)
    assert not first & second
    assert found[0].fingerprint != found[1].fingerprint


def test_rows_that_come_later_change_no_other_window(tmp_path):
    rows = [row(number, "2026-01-05") for number in range(4)]
    before = read(written(tmp_path, rows), watching())
    after = read(written(tmp_path, [*rows, row(9, "2026-02-05")]), watching())
    assert before.fingerprint == after.fingerprint


def test_late_labels_left_out_rows_and_empty_cells_are_counted(tmp_path):
    file = written(tmp_path, [
        row(1, "2026-01-05"), row(2, "2026-01-05", num=""), row(3, "2026-01-05", num="1"),
        row(4, "2026-01-05", chol=""), row(5, "2026-01-05", sex=""),
    ])  # fmt: skip
    charter = watching()
    found, layout = read(file, charter), WindowLayout.of(charter)
    assert (found.rows, found.rows_without_label) == (5, 1)
    counts = window_counts(
        found, layout,
        labelled=np.full(len(found.labelled), 0.9), unlabelled=np.array([0.2]),
    )  # fmt: skip
    parts = {name: counts[place].tolist() for name, place in layout.places.items()}
    assert parts["rows"] == [5] and parts["unlabelled"] == [1] and parts["missing"] == [1]
    assert sum(parts["unlabelled-scores"]) == 1
    assert parts["left-out"] == [5 - len(found.labelled) - 1]


def test_one_record_more_moves_one_entry_of_each_part_by_one(tmp_path):
    rows = [row(number, "2026-01-05", num=str(number % 2)) for number in range(6)]
    charter = watching()
    layout, scores = WindowLayout.of(charter), np.linspace(0.1, 0.9, 6)
    whole = read(written(tmp_path, rows), charter)
    all_of = window_counts(whole, layout, labelled=scores, unlabelled=np.zeros(0))
    for gone in range(6):
        less = read(written(tmp_path, rows[:gone] + rows[gone + 1 :]), charter)
        left = np.delete(scores, gone)
        moved = all_of - window_counts(less, layout, labelled=left, unlabelled=np.zeros(0))
        assert moved.min() == 0 and moved.max() == 1
        assert moved.sum() <= layout.releases


def test_a_person_counts_with_as_many_rows_of_a_window_as_the_charter_says(tmp_path):
    data = dataclasses.replace(HEART.data, person="id", max_rows_per_person=2)
    charter = dataclasses.replace(watching(), data=data)
    rows = [row(7, "2026-01-05", age=str(40 + number)) for number in range(5)]
    found = read(written(tmp_path, rows), charter)
    assert (found.rows, found.units, found.unit) == (2, 1, "person")


@pytest.mark.parametrize(
    ("rows", "head", "why"),
    [
        ([row(1, "yesterday")], (*HEAD, "seen"), "line 2, column seen: no day"),
        ([row(1, "2026-01-05")], (*HEAD, "then"), "no column seen"),
        ([row(1, "2026-01-05", num="sick")], (*HEAD, "seen"), "line 2, column num"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_without_its_values(tmp_path, rows, head, why):
    with pytest.raises(DataError, match=why) as refused:
        read(written(tmp_path, rows, head), watching())
    assert "yesterday" not in str(refused.value) and "sick" not in str(refused.value)


def test_a_window_is_read_once_it_is_over_by_one_run_and_with_enough_records(tmp_path):
    charter = watching(wait_days=5)
    file = written(tmp_path, [row(number, "2026-01-05") for number in range(2)])

    def ask(run="heart-w0001", today=date(2026, 2, 5), **others):
        return watched_records(file, charter, run=run, today=today, **others)

    assert ask().rows == 2
    with pytest.raises(PolicyRefusal, match=r"may be read from 2026-02-05; .* says 2026-02-04"):
        ask(today=date(2026, 2, 4))
    with pytest.raises(PolicyRefusal, match="was read in run other-w0001"):
        ask(read_in=["other-w0001", "other-w0002"])
    assert ask(read_in=["heart-w0001"]).rows == 2
    for run in ("heart", "heart-w0000", "heart-w0013"):
        with pytest.raises(PolicyRefusal, match="names no window"):
            ask(run)
    with pytest.raises(RecordsRefusal, match="has no usable record"):
        ask("heart-w0002", date(2027, 1, 1))
    many = watching(minimum_records=3)
    with pytest.raises(RecordsRefusal, match=r"2 usable records, below .* 3") as refusal:
        watched_records(file, many, run="a-w0001", today=date(2027, 1, 1))
    assert not refusal.value.lasting
    with pytest.raises(RecordsRefusal, match="monitored"):
        watched_records(None, charter, run="a-w0001", today=date(2027, 1, 1))


def test_the_name_of_a_run_tells_its_window():
    assert window_number(window_run("heart-2026", 37)) == 37
    assert window_number("heart-2026") is None


def test_a_charter_that_watches_opens_one_sum_within_its_own_budget():
    charter = document.parse(document.encode(watching()))
    plan = make_plan(charter)
    assert list(plan.sums) == ["monitoring"]
    assert plan.training.events == () and 0.9 < plan.evaluation.epsilon <= 1.0


def test_a_person_pays_for_all_windows_and_a_record_for_one():
    data = dataclasses.replace(HEART.data, person="id", max_rows_per_person=1)
    privacy = dataclasses.replace(HEART.privacy, unit="person")
    of_person = dataclasses.replace(watching(), data=data, privacy=privacy)
    event = MONITORING.of(make_plan(of_person).sums).noise.event
    assert epsilon((event,) * 12, delta=privacy.delta) <= 1.0
    assert epsilon((event,) * 14, delta=privacy.delta) > 1.0


def test_other_charters_keep_their_bytes():
    assert b"monitoring" not in document.encode(HEART)


TEXT = document.encode(watching())


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b'"epsilon":1.0,"false-alarm"', b'"false-alarm"', "monitoring.epsilon: missing"),
        (b'"first-day":"2026-01-01"', b'"first-day":"2026-02-30"', "is no day"),
        (b'"missing":["chol"]', b'"missing":["shoes"]', "no column of data.columns"),
        (b'"from":"' + b"b" * 64 + b'",', b"", "adapter.from names no release"),
    ],
)
def test_terms_that_cannot_be_followed_are_refused_by_name(old, new, why):
    assert TEXT.count(old) == 1
    with pytest.raises(CharterError, match=why):
        document.parse(TEXT.replace(old, new))


def test_an_account_counts_the_earlier_windows_that_it_is_given(tmp_path):
    file = written(tmp_path, [row(number, "2026-01-05") for number in range(3)])
    of_record = read(file, watching())
    data = dataclasses.replace(HEART.data, person="id", max_rows_per_person=1)
    of_person = read(file, dataclasses.replace(watching(), data=data))
    own, other = of_person.fingerprint, "f" * 64
    linked = window_facts(of_person, "a-w0002", earlier=[own, other]).held_out
    assert linked.follows == (other,) and linked.unit == "person"
    assert window_facts(of_record, "a-w0002").held_out.follows == ()


def homes(tmp_path, *charters):
    """Return a home that had these charters; the last one is in force."""
    (tmp_path / "charters").mkdir(exist_ok=True)
    for one in charters:
        kept = tmp_path / "charters" / f"{document.hash_of(one)}.json"
        kept.write_bytes(document.encode(one))
    (tmp_path / "charter.json").write_bytes(document.encode(charters[-1]))
    return SimpleNamespace(charter_path=tmp_path / "charter.json")


def versioned(version, **changes):
    found = watching(**changes)
    return dataclasses.replace(found, charter=dataclasses.replace(found.charter, version=version))


def test_a_later_version_reads_a_window_with_new_labels_on_the_same_account(tmp_path):
    first, second = versioned(1, epsilon=0.9), versioned(2, epsilon=0.9)
    home = homes(tmp_path, first, second)
    ledger = Ledger.open(tmp_path / "l.db", identity=Identity.generate(), create=True)
    cap, refused = Cap(epsilon=1.0, delta=1e-4), []
    for charter, label in ((first, ""), (second, "0")):
        file = written(tmp_path, [row(number, "2026-01-05", num=label) for number in range(6)])
        run, events = f"watch{charter.charter.version}-w0001", (window_event(charter),)
        earlier = earlier_files(home, charter, run, ledger.charges())
        account = window_facts(read(file, charter), run, earlier=earlier).held_out
        refused.append(list(ledger.overruns(account, run=run, events=events, cap=cap)))
        if not refused[-1]:
            ledger.reserve(
                data_set=account, run=run, round_number=1, kind="monitoring", events=events,
                charter_hash=document.hash_of(charter), cap=cap, whole_run=events,
            )  # fmt: skip
    assert refused[0] == [] and refused[1] != []


def charge(charter, run, file, kind="monitoring"):
    return SimpleNamespace(
        kind=kind, run=run, charter_hash=document.hash_of(charter),
        data_set=SimpleNamespace(file=file),
    )  # fmt: skip


def test_windows_of_other_days_are_other_records_and_unknown_days_are_the_same(tmp_path):
    now, shifted = versioned(3), versioned(1, first_day="2026-01-16")
    other_days, gone = versioned(2, time="came"), versioned(9)
    home = homes(tmp_path, shifted, other_days, now)
    charges = [
        charge(now, "a-w0001", "own"),
        charge(now, "a-w0002", "next"),
        charge(shifted, "b-w0001", "half of it"),
        charge(shifted, "b-w0002", "later"),
        charge(other_days, "c-w0007", "another column of days"),
        charge(gone, "d-w0005", "a charter that is not kept"),
        charge(now, "a", "training", kind="fairness"),
    ]
    found = earlier_files(home, now, "a-w0001", charges)
    assert found == {"own", "half of it", "another column of days", "a charter that is not kept"}
    data = dataclasses.replace(now.data, person="id", max_rows_per_person=1)
    of_person = dataclasses.replace(now, data=data)
    everything = {one.data_set.file for one in charges[:-1]}
    assert earlier_files(home, of_person, "a-w0001", charges) == everything


SEARCH = {
    "settings-from": "tuning", "rounds": 2, "share": 0.3, "select": "roc_auc_score",
    "candidates": [{"set": [f"training.learning-rate={rate}"]} for rate in (0.25, 0.5)],
}  # fmt: skip


def test_a_release_from_a_search_is_watched_without_what_only_its_run_counted(monkeypatch):
    agreed = document.load_set(
        CONFIGS / "heart.charter.toml",
        {"tuning": SEARCH, "census": {"minimum": 5}, "norms": {"epsilon": 0.1}},
    )
    opened = SimpleNamespace(charter=agreed, evidence=SimpleNamespace(model_hash="b" * 64))
    monkeypatch.setattr(drafting, "require_released", lambda _: opened)
    monkeypatch.setattr(drafting.durable, "file_sha256", lambda _: "a" * 64)
    bars = {"score-psi": 0.25, "objectives": False}
    table = {
        "time": "seen", "first-day": "2026-01-01", "days": 30, "windows": 3, "epsilon": 1.0,
        "bars": bars,
    }  # fmt: skip
    watches = drafting.watch_charter(Path("release"), table)
    assert (watches.tuning, watches.census, watches.norms) == (None, None, None)
    assert list(make_plan(watches).sums) == ["monitoring"]
    with pytest.raises(CharterError, match="monitoring: a search"):
        document.parse(document.encode(dataclasses.replace(watches, tuning=agreed.tuning)))
