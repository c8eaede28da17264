"""Records go out to the tools that annotators use, and labels come back to their records."""

from __future__ import annotations

import csv
import json
import tomllib
import xml.etree.ElementTree as ElementTree

import pytest

from fedethics.charter import document
from fedethics.cli import main
from fedethics.data.reading import read_records
from fedethics.drafting.charter_text import charter_text
from fedethics.drafting.proposal import Wish, propose
from fedethics.drafting.source import of_sites
from fedethics.errors import CharterError, DataError
from tests.drafting.test_new import patients, written

ANNOTATION = """
[annotation]
annotators = ["first", "second", "third"]
labels = ["0", "1"]
guideline = "1 if the note says < or \\"died\\"."
"""


def terms_text(more=""):
    rows = list(patients())
    sites = {f"s{n}": rows[n::3] for n in range(3)}
    wish = Wish(label="outcome", sensitive=("sex",), text=("notes",), name="own")
    draft = charter_text(propose(wish, of_sites(sites, called="x")), max_tokens=64)
    return draft + ANNOTATION + more


@pytest.fixture
def site(tmp_path, monkeypatch, capsys):
    """A site's unlabelled records and its charter; run `fedethics data` there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fedethics.memory.keep_private", lambda: None)
    rows = [{k: v for k, v in row.items() if k != "outcome"} for row in patients(30)]
    written(tmp_path / "raw.csv", rows)
    (tmp_path / "charter.toml").write_text(terms_text('adjudication = "majority"\n'))

    def run(*words):
        monkeypatch.setattr("sys.argv", ["fedethics", "data", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main.main()
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return run


# How people label in each tool, as its documentation describes the export.
def label_studio(tasks, labels):
    def annotation(person, label):
        choice = {"from_name": "label", "to_name": "text", "type": "choices", "id": "x",
                  "value": {"choices": [label]}}  # fmt: skip
        return {"id": 1, "completed_by": {"id": 1, "email": person}, "was_cancelled": False,
                "ground_truth": False, "result": [choice], "lead_time": 4.2}  # fmt: skip

    done = [
        {"id": n, "data": task["data"], "predictions": [],
         "annotations": [annotation(person, label) for person, label in labels[n].items()]}
        for n, task in enumerate(json.loads(tasks.read_text()))
    ]  # fmt: skip
    return {"export.json": json.dumps(done, indent=2)}


def argilla(tasks, labels):
    done = [
        record | {"status": "completed", "suggestions": {}, "vectors": {}, "responses": {
            "label": [{"value": label, "user_id": person} for person, label in labels[n].items()]}}
        for n, record in enumerate(map(json.loads, tasks.read_text().splitlines()))
    ]  # fmt: skip
    return {"export.json": json.dumps(done)}


def feedback(tasks, labels):
    done = [
        record | {"responses": [
            {"user_id": person, "status": "submitted", "values": {"label": {"value": label}}}
            for person, label in labels[n].items()
        ] + [{"user_id": "z", "status": "discarded", "values": {"label": {"value": "0"}}}]}
        for n, record in enumerate(map(json.loads, tasks.read_text().splitlines()))
    ]  # fmt: skip
    return {"export.jsonl": "\n".join(map(json.dumps, done))}


def doccano(tasks, labels):
    lines = [json.loads(line) for line in tasks.read_text().splitlines()]
    people = sorted({person for one in labels for person in one})
    return {
        f"{person}.jsonl": "".join(
            f"{json.dumps({'id': n, **line, 'label': [labels[n][person]], 'Comments': []})}\n"
            for n, line in enumerate(lines) if person in labels[n]
        )
        for person in people
    }  # fmt: skip


def prodigy(tasks, labels):
    lines = [json.loads(line) for line in tasks.read_text().splitlines()]
    done = [
        {"text": line["text"], "meta": {"record": line["record"]}, "_view_id": "choice",
         "options": [{"id": "0"}, {"id": "1"}], "accept": [label], "answer": "accept",
         "_annotator_id": person, "_session_id": f"own-{person}"}
        for n, line in enumerate(lines) for person, label in labels[n].items()
    ]  # fmt: skip
    return {"export.jsonl": "\n".join(map(json.dumps, done))}


TOOLS = {
    "label-studio": ("label-studio", "tasks.json", label_studio),
    "argilla": ("argilla", "records.jsonl", argilla),
    "argilla 1": ("argilla", "records.jsonl", feedback),
    "doccano": ("doccano", "tasks.jsonl", doccano),
    "prodigy": ("prodigy", "tasks.jsonl", prodigy),
}


def opinions(count=30):
    """Two people agree but for every fifth record, on which a third decides every tenth."""
    for number in range(count):
        label = number % 2
        given = {"ana": str(label), "bo": str(label if number % 5 else 1 - label)}
        yield given | ({"cy": str(label)} if number % 10 == 0 else {})


@pytest.mark.parametrize("tool", TOOLS)
def test_labels_come_back_to_their_records_and_are_decided(tool, site, tmp_path):
    name, tasks, label = TOOLS[tool]
    out_to = "doccano" if name == "prodigy" else name
    code, out, err = site(
        "export", "raw.csv", "-c", "charter.toml", "--to", out_to, "-o", "t", "--json"
    )
    assert (code, err) == (0, "") and json.loads(out)["tasks"] == 30
    assert all(one.stat().st_mode & 0o077 == 0 for one in (tmp_path / "t").iterdir())
    labels = list(opinions())
    exported = label(tmp_path / "t" / tasks, labels)
    for file, text in exported.items():
        (tmp_path / file).write_text(text)
    words = ("-c", "charter.toml", "--from", name, "--records", "raw.csv", "-o", "done.csv")
    code, out, err = site("import", *exported, *words, "--json")
    assert (code, err) == (0, "")
    # By a loop: ties of two people are left out.
    decided = {n: n % 2 for n in range(30) if n % 5 or n % 10 == 0}
    assert json.loads(out)["decided"] == {
        "unanimous": 24, "majority": 3, "not decided: a tie": 3
    }  # fmt: skip
    with (tmp_path / "done.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {int(row["patient_id"][1:]): int(row["outcome"]) for row in rows} == decided
    assert [row["first"] for row in rows] == [labels[n]["ana"] for n in decided]
    log = [json.loads(line) for line in (tmp_path / "done.decisions.jsonl").read_text().split("\n")
           if line]  # fmt: skip
    assert len(log) == 30 and sum(one["decided"] is None for one in log) == 3
    assert log[1]["labels"] == {"ana": "1", "bo": "1"} and log[1]["confidence"] == 1.0
    agreed = document.load(tmp_path / "charter.toml")
    assert len(read_records(tmp_path / "done.csv", agreed.data)) == 27


def test_the_configuration_is_made_from_the_charter(site, tmp_path):
    for name in ("label-studio", "argilla", "doccano"):
        assert site("export", "raw.csv", "-c", "charter.toml", "--to", name, "-o", name)[0] == 0
    root = ElementTree.parse(tmp_path / "label-studio" / "config.xml").getroot()
    assert [one.get("value") for one in root.iter("Choice")] == ["0", "1"]
    guideline = tomllib.loads(ANNOTATION)["annotation"]["guideline"]
    assert [one.get("value") for one in root.iter("Header")][1] == guideline
    settings = json.loads((tmp_path / "argilla" / "settings.json").read_text())
    options = settings["questions"][0]["settings"]["options"]
    assert [one["value"] for one in options] == ["0", "1"] and settings["guidelines"] == guideline
    labels = json.loads((tmp_path / "doccano" / "labels.json").read_text())
    assert [one["text"] for one in labels] == ["0", "1"]


def test_a_file_with_a_column_for_each_annotator_is_decided_too(site, tmp_path):
    rows = list(patients(30))
    for row, given in zip(rows, opinions(), strict=True):
        row.pop("outcome")
        row |= {"first": given["ana"], "second": given["bo"], "third": given.get("cy", "")}
    written(tmp_path / "columns.csv", rows)
    code, out, _ = site("import", "columns.csv", "-c", "charter.toml", "--from", "csv",
                        "-o", "done.csv", "--json")  # fmt: skip
    assert code == 0 and json.loads(out)["records"] == 27


def test_annotations_are_read_one_task_at_a_time_and_none_is_passed_over(tmp_path):
    import tracemalloc

    from fedethics.annotation.registry import TOOLS as KNOWN

    path = tmp_path / "large.jsonl"
    with path.open("w") as file:
        for number in range(8_000):
            line = {
                "text": f"note {number} " + "x" * 200,
                "label": ["1"],
                "record": f"{number:032}",
            }
            file.write(f"{json.dumps(line)}\n")
    # As an array, too, with its lines broken anywhere.
    whole = json.dumps([json.loads(line) for line in path.read_text().splitlines()], indent=1)
    (tmp_path / "array.json").write_text(whole)
    assert sum(1 for _ in KNOWN["doccano"].annotations(tmp_path / "array.json")) == 8_000
    tracemalloc.start()
    count = sum(1 for _ in KNOWN["doccano"].annotations(path))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 8_000 and most < 2e6 < path.stat().st_size


# More digits than Python reads as a number.
HUGE = "9" * 5_000


def task(**more):
    data = {"data": {"text": "x", "record": "r"}, "annotations": []}
    return json.dumps([data | more]).replace(f'"{HUGE}"', HUGE)


def by(person, label, **more):
    result = [{"from_name": "label", "type": "choices", "value": {"choices": [label]}}]
    return {"completed_by": person, "result": result} | more


@pytest.mark.parametrize(
    ("tool", "content", "said"),
    [
        ("label-studio", task(annotations=[by(1, "maybe")]), "a label that is not one of 0, 1"),
        ("label-studio", task(annotations=[by(1, "1"), by(1, "1")]), "labelled the record"),
        ("label-studio", task(annotations=[by(None, "1")]), "no completed_by"),
        ("label-studio", task(annotations=[by(1, "1")], data={"text": "other"}), "no record of"),
        ("label-studio", task(data={}), "task 1: an empty task"),
        ("label-studio", '[{"completions": []}]', "before version 1.0"),
        ("label-studio", '[{"text": "x", "annotator": 1, "label": "1"}]', 'the form "JSON-MIN"'),
        ("label-studio", task(annotations=[{"completed_by": 1, "result": [{"type": "labels"}]}]),
         "a result that is no choice"),
        ("label-studio", "[{", "are no JSON"),
        ("label-studio", task(id=HUGE), "are no JSON"),
        ("doccano", '{"text": "x", "label": [%s]}' % HUGE, "are no JSON"),  # noqa: UP031
        ("argilla", '{"annotation": "1", "text": "x"}', "before FeedbackDataset"),
        ("argilla", '{"fields": {"text": "x"}, "responses": {"other": []}}', 'a question "label"'),
        ("doccano", '{"text": "x", "annotations": [{"label": 1}]}', "before version 1.5"),
        ("doccano", '{"text": "x", "label": [[0, 1, "A"]]}', "marked spans"),
        ("doccano", '{"text": "x", "label": ["0", "1"]}', "2 labels by one annotator"),
        ("prodigy", '{"text": "x", "answer": "accept", "label": "1"}', 'interface "choice"'),
        ("prodigy", '{"text": "x", "answer": "accept", "accept": ["1"]}', "no _annotator_id"),
        ("brat", "", "tool 'brat' is none of"),
        ("doccano", "[1]", "no table of fields"),
        ("doccano", "", "no record was decided"),
    ],
)  # fmt: skip
def test_what_is_no_such_export_is_one_error_and_nothing_is_written(
    tool, content, said, site, tmp_path
):
    from fedethics.annotation.records import records
    from fedethics.annotation.task_key import TaskKey
    from fedethics.data.file_terms import DataFile

    key = TaskKey.beside(tmp_path / "raw.csv")
    key.keep()
    terms = document.load(tmp_path / "charter.toml")
    first = next(records(DataFile(tmp_path / "raw.csv"), terms, key.beside(tmp_path / "raw.csv")))
    (tmp_path / "export").write_text(content.replace('"r"', json.dumps(first.name)))
    before = sorted(tmp_path.iterdir())
    code, out, err = site("import", "export", "-c", "charter.toml", "--from", tool,
                          "--records", "raw.csv", "-o", "done.csv")  # fmt: skip
    assert code == DataError.exit_code and out == "" and said in err, err
    assert "Traceback" not in err and sorted(tmp_path.iterdir()) == before


def test_what_people_settled_stands_and_the_rest_may_stay_without_a_label(site, tmp_path):
    (tmp_path / "charter.toml").write_text(terms_text(
        'adjudication = "adjudicator"\nadjudicator = "dr-lee"\nunresolved = "keep"\n'))  # fmt: skip
    assert (
        site("export", "raw.csv", "-c", "charter.toml", "--to", "label-studio", "-o", "t")[0] == 0
    )
    labels = list(opinions())
    labels[0]["dr-lee"], labels[5]["dr-lee"] = "1", "0"
    done = json.loads(label_studio(tmp_path / "t" / "tasks.json", labels)["export.json"])
    done[1]["annotations"][0]["ground_truth"] = True
    done[2]["annotations"][0]["was_cancelled"] = True
    (tmp_path / "export.json").write_text(json.dumps(done))
    code, out, err = site("import", "export.json", "-c", "charter.toml", "--from", "label-studio",
                          "--records", "raw.csv", "-o", "done.csv", "--json")  # fmt: skip
    assert (code, err) == (0, "")
    assert json.loads(out)["decided"]["settled by a person"] == 3
    with (tmp_path / "done.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["outcome"] for row in rows[:6]] == ["1", "1", "0", "1", "0", "0"]
    assert len(rows) == 30 and [n for n, row in enumerate(rows) if not row["outcome"]] == [
        10, 15, 20, 25
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('adjudication = "adjudicator"\n', "adjudicator: name the person"),
        ('unresolved = "keep"\n', "unresolved: nothing is decided without adjudication"),
        ("per-record = 4\n", "per-record: 4 labels, and there are 3"),
    ],
)
def test_terms_that_nobody_could_follow_are_refused(more, said, tmp_path):
    (tmp_path / "charter.toml").write_text(terms_text(more))
    with pytest.raises(CharterError, match=said):
        document.load(tmp_path / "charter.toml")


def test_adjudication_fills_the_label_that_the_charter_has(tmp_path):
    text = terms_text('adjudication = "majority"\n').replace(
        'labels = ["0", "1"]', 'labels = ["no", "1"]'
    )
    (tmp_path / "charter.toml").write_text(text)
    with pytest.raises(CharterError, match="no is no value of data"):
        document.load(tmp_path / "charter.toml")


def exported(site, tmp_path, out="t"):
    code, _, err = site("export", "raw.csv", "-c", "charter.toml", "--to", "doccano", "-o", out)
    assert (code, err) == (0, "")
    return [json.loads(one) for one in (tmp_path / out / "tasks.jsonl").read_text().splitlines()]


def test_a_name_cannot_be_found_from_the_cells_without_the_key(site, tmp_path):
    from fedethics.data.records import row_hash

    once = [one["record"] for one in exported(site, tmp_path)]
    key = tmp_path / "raw.csv.task-key"
    assert key.stat().st_mode & 0o077 == 0
    with (tmp_path / "raw.csv").open(newline="") as file:
        known = [row_hash(row).hex() for row in csv.DictReader(file)]
    # Whoever knows every cell has a plain hash of them; no name holds one.
    assert not [name for name in once for one in known if one[:16] in name]
    assert [one["record"] for one in exported(site, tmp_path, "again")] == once
    kept = key.rename(tmp_path / "elsewhere")
    other = [one["record"] for one in exported(site, tmp_path, "other")]
    assert not set(other) & set(once) and key.read_text() != kept.read_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda key: key.unlink(), "raw.csv.task-key is missing"),
        (lambda key: key.write_text("ab" * 32), "raw.csv.task-key holds another key"),
        (lambda key: key.write_text("ab"), "raw.csv.task-key holds no key of tasks"),
    ],
)
def test_labels_named_under_a_missing_or_another_key_are_one_error(change, said, site, tmp_path):
    tasks = exported(site, tmp_path)
    lines = (json.dumps({**one, "label": ["1"]}) for one in tasks)
    (tmp_path / "ana.jsonl").write_text("\n".join(lines))
    change(tmp_path / "raw.csv.task-key")
    before = sorted(tmp_path.iterdir())
    code, out, err = site("import", "ana.jsonl", "-c", "charter.toml", "--from", "doccano",
                          "--records", "raw.csv", "-o", "done.csv")  # fmt: skip
    assert code == DataError.exit_code and out == "" and said in err, err
    assert "Traceback" not in err and sorted(tmp_path.iterdir()) == before
