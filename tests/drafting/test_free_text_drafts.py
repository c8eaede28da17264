"""Chat data, completions, instructions, preferences and texts become federations as tables do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedethics.charter.document import load, unfilled
from fedethics.data.reading import read_records
from fedethics.data.records import row_hash
from fedethics.drafting.source import file_rows
from fedethics.errors import DataError
from tests.drafting.test_new import new, staged
from tests.learning_tasks.tiny_chat import save_chat_model

__all__ = ["new"]
ROOT = Path(__file__).resolve().parents[2]
FORMS = {
    "messages": lambda said, reply: {
        "messages": [{"role": "user", "content": said}, {"role": "assistant", "content": reply}]
    },
    "messages of another program": lambda said, reply: {
        "conversation": [{"from": "user", "value": said}, {"from": "assistant", "value": reply}]
    },
    "prompt-completion": lambda said, reply: {"prompt": said, "completion": reply},
    "instruction": lambda said, reply: {"instruction": said, "output": reply},
    "preference": lambda said, reply: {"prompt": said, "chosen": reply, "rejected": "What?"},
    "text": lambda said, reply: {"text": f"{said} {reply}"},
}
TASK_OF = {"preference": "preference", "text": "text"}


def records(form, site, count=60):
    for number in range(count):
        said = FORMS[form](f"Greet person {number} of {site}. ", f" Dear {number},")
        yield said | {"gender": ("woman", "man")[number % 2], "ward": number % 5}


def written(folder, form, sites=("north", "south", "west")):
    for site in sites:
        lines = "".join(f"{json.dumps(one)}\n" for one in records(form, site))
        (folder / f"{site}.jsonl").write_text(lines)
    return [word for site in sites for word in ("--data", f"{site}.jsonl")]


@pytest.mark.parametrize("form", FORMS)
def test_the_fields_say_the_task_and_every_record_is_kept_as_it_was_written(form, new, tmp_path):
    code, out, err = new(*written(tmp_path, form), "--name", "own", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["task"] == TASK_OF.get(form, "sft") and told["sensitive"] == ["gender"]
    assert told["not-read"] == {"ward": "the model reads the content alone"}
    scenario, stage = staged(tmp_path / "own", tmp_path / "run")
    charter = stage.charter
    assert charter.model.task == told["task"] and charter.data.content.form == form.split()[0]
    assert charter.privacy.training.trust_mode == "distributed"
    for site in scenario.sites:
        drafted = tmp_path / "own" / "sites" / site.data
        read = read_records(drafted, charter.data, task=charter.model.task)
        assert len(read) == 60
        # A record has the identity that it has in the file it came from.
        own = file_rows(tmp_path / site.data, [], charter.data.content)
        assert sorted(read.row_hashes) == sorted(map(row_hash, own))


def test_one_file_of_chats_is_divided_by_a_column(new, tmp_path):
    lines = [
        one | {"clinic": f"clinic {n % 3}"} for n, one in enumerate(records("messages", "x", 120))
    ]
    (tmp_path / "own.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    code, _, err = new("--data", "own.jsonl", "--sites", "clinic")
    assert (code, err) == (0, "")
    scenario, _ = staged(tmp_path / "own", tmp_path / "run")
    assert [site.name for site in scenario.sites] == ["clinic-0", "clinic-1", "clinic-2"]


def test_a_template_of_ones_own_stands_in_the_charter(new, tmp_path):
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
    (tmp_path / "chat.jinja").write_text(template)
    words = written(tmp_path, "messages")
    assert new(*words, "--name", "own", "--chat-template", "chat.jinja")[0] == 0
    _, stage = staged(tmp_path / "own", tmp_path / "run")
    assert stage.charter.model.chat_template == template


@pytest.mark.parametrize(
    ("line", "words", "said"),
    [
        ({"gender": "x", "a": "b"}, [], "no field says what is learnt"),
        ({"prompt": "a", "completion": "b", "gender": "x"}, ["--task", "preference"],
         "task 'preference' reads preference. The file has"),
        ({"prompt": "a", "completion": "", "gender": "x"}, [], "record 1: field completion: empty"),
        ({"messages": [{"role": "doctor", "content": "secret"}], "gender": "x"}, [],
         "a role that is none of system, user, assistant"),
        ({"text": "secret", "gender": "x"}, ["--chat-template", "none"], "does not read it"),
        ({"prompt": "a", "completion": "b", "gender": "x"}, ["--chat-template", "none"],
         "--chat-template none cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_text_to_learn_from_is_one_error(line, words, said, new, tmp_path):
    (tmp_path / "own.jsonl").write_text(f"{json.dumps(line)}\n" * 40)
    code, out, err = new("--data", "own.jsonl", *words)
    assert code == DataError.exit_code and out == ""
    assert said in err and "secret" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["own.jsonl"]


@pytest.mark.parametrize("form", ["messages", "text"])
def test_texts_without_a_column_of_groups_need_a_reason_before_anyone_can_sign(form, new, tmp_path):
    lines = ({**one, "gender": None} for one in records(form, "x", 120))
    kept = ({key: value for key, value in one.items() if key != "gender"} for one in lines)
    (tmp_path / "own.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in kept))
    code, out, err = new("--data", "own.jsonl", "--name", "own", "--split", "3", "--json")
    assert (code, err) == (0, "") and json.loads(out)["sensitive"] == []
    charter = load(tmp_path / "own" / "charter.toml")
    assert charter.data.sensitive == () and charter.ethics.without_groups.startswith("DECIDE: ")
    assert "ethics.without-groups" in " ".join(unfilled(charter))
    assert not any(objective.feature for objective in charter.ethics.objectives)
    assert "Nothing will be measured by group" in (tmp_path / "own" / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("form", "groups"), [("messages", False), ("preference", True)])
def test_a_draft_of_chats_on_a_model_of_ones_own_runs_to_its_report(form, groups, new, tmp_path):
    words = written(tmp_path, form)
    for path in [] if groups else tmp_path.glob("*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        kept = ({key: value for key, value in one.items() if key != "gender"} for one in lines)
        path.write_text("".join(f"{json.dumps(one)}\n" for one in kept))
    model = tmp_path / "tiny"
    model.mkdir()
    save_chat_model(model)
    assert new(*words, "--name", "own", "--model", model)[0] == 0
    done = subprocess.run(
        [sys.executable, "-P", "-m", "fedethics.cli.main", "simulate", "own", "--run-id", "r",
         "--set", "training.rounds=1"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "runs" / "r" / "report.html").read_text()
    assert ("Nothing was measured by group" in page) == (not groups)
