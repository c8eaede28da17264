"""Task "choice" answered by a record's own options: against plain peft, transformers and a loop."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

from fedethics.charter import document
from fedethics.charter.data_terms import Column, LabelColumn
from fedethics.data.content import Question
from fedethics.data.reading import read_records
from fedethics.errors import CharterError, DataError
from fedethics.learning_tasks import find_task
from fedethics.policy.model import Compute
from fedethics.scoring.new_records import read_new
from fedethics.training.check_bench import Bench
from fedethics.training.engines import ENGINES, gradients_of
from fedethics.training.learner import Learner
from fedethics.training.self_test import self_test
from tests.learning_tasks.tiny_chat import chat_charter, save_chat_model

torch.set_num_threads(1)
OPTIONS = ("one", "two", "three")
QUESTIONS = (
    Question("Which metal rusts?", ("iron", "gold and nothing else", "zinc")),
    Question("Who? <|im_end|> Say", ("he", "she <|im_end|>", "")),
    Question("", ("no", "yes", "yes yes")),
    Question("a long tale of woe and more " * 5, ("yes", "no", "e")),
)
LABELS = np.array([0, 1, 2, 1], dtype=np.int16)
ROWS = np.arange(len(QUESTIONS))
PROMPT, ANSWER, MOST = "<|im_start|>user\n{text}?\n", " {label}<|im_end|>", 72


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_chat_model(tmp_path_factory.mktemp("options"))


def charter_of(folder, loss="answers", **label):
    draft = chat_charter(
        folder, form="text", task="choice", prompt=PROMPT, answer=ANSWER, max_tokens=MOST, loss=loss
    )
    own = {"classes": ("A", "B", "C"), "options": OPTIONS, "answer_with": "options", **label}
    columns = (
        *draft.data.columns,
        Column(name="asked", kind="text", phrase="{value}", max_chars=500),
        *(Column(name=one, kind="text", max_chars=50, on_empty="say") for one in OPTIONS),
    )
    data = dataclasses.replace(
        draft.data, content=None, columns=columns, label=LabelColumn(column="right", **own)
    )
    return dataclasses.replace(draft, data=data)


@pytest.fixture(scope="module", params=["answers", "answer"])
def case(request, folder, tmp_path_factory):
    """A learner, a vector where no gradient vanishes, and plain peft at the same vector."""
    learner = Learner(charter_of(folder, request.param), model_dir=folder)
    shift = 0.1 * np.random.default_rng(3).standard_normal(learner.size)
    vector = (learner.initial_vector() + shift).astype(np.float32)
    where = tmp_path_factory.mktemp("adapter")
    learner.save_adapter(vector, where)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    plain = PeftModel.from_pretrained(base, where, is_trainable=True).eval()
    return request.param, learner, vector, plain


def sequences(question, tokenizer):
    """The prompt's tokens and each option's, as plain transformers reads them."""

    def text_of(words):
        return tokenizer(words, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    before, after = (tokenizer(one)["input_ids"] for one in PROMPT.split("{text}"))
    end = tokenizer("<|im_end|>")["input_ids"]
    for kept in range(len(question.prompt), -1, -1):
        asked = before + text_of(question.prompt[:kept]) + after
        found = [text_of(f" {one}") + end if one else [] for one in question.options]
        if len(asked) + max(map(len, found)) <= MOST:
            return asked, found
    raise AssertionError("does not fit")


def means(plain, folder, question):
    """Each option's mean log-probability a token, by one plain forward pass each."""
    asked, found = sequences(question, AutoTokenizer.from_pretrained(folder))
    each = []
    for ids in found:
        if not ids:
            each.append(torch.tensor(-torch.inf))
            continue
        logits = plain(input_ids=torch.tensor([asked + ids])).logits[0, len(asked) - 1 : -1]
        each.append(logits.log_softmax(dim=1).gather(1, torch.tensor(ids)[:, None]).mean())
    return torch.stack(each)


def test_shares_are_those_of_the_plain_model(case, folder):
    _, learner, vector, plain = case
    with torch.no_grad():
        expected = [means(plain, folder, one).double().softmax(dim=0) for one in QUESTIONS]
    found = learner.scores(vector, learner.activations(QUESTIONS))
    np.testing.assert_allclose(found, torch.stack(expected).numpy(), atol=1e-5)
    assert found[1, 2] == 0.0 and found.std() > 0.01


@pytest.mark.parametrize("engine", ENGINES)
def test_losses_and_gradients_are_those_of_a_loop_over_the_plain_model(case, folder, engine):
    loss, learner, vector, plain = case
    named = dict(plain.named_parameters())
    losses, expected = [], []
    for question, label in zip(QUESTIONS, LABELS.tolist(), strict=True):
        each = means(plain, folder, question)
        target = torch.tensor([label])
        own = cross_entropy(each[None], target) if loss == "answers" else -each[label]
        parts = torch.autograd.grad(own, [named[name] for name in learner.parameters])
        losses.append(float(own.detach()))
        expected.append(torch.cat([part.reshape(-1) for part in parts]))
    activations = learner.activations(QUESTIONS)
    with learner.lock:
        learner.load(vector)
        with ENGINES[engine](learner) as gradients:
            found = gradients(activations.together(ROWS), LABELS)[0]
        with torch.no_grad():
            own = learner.losses(activations.together(ROWS), LABELS)
    np.testing.assert_allclose(own.numpy(), losses, rtol=1e-4)
    torch.testing.assert_close(found, torch.stack(expected), rtol=5e-4, atol=5e-6)


def test_a_records_numbers_are_the_same_bits_whoever_is_beside_it(case):
    _, learner, vector, _ = case
    activations = learner.activations(QUESTIONS)
    whole = learner.scores(vector, activations)
    with learner.lock, gradients_of(learner) as gradients:
        learner.load(vector)

        def of(rows):
            return {
                int(row): gradient
                for batch, (found, _) in gradients.each(activations, rows, LABELS)
                for row, gradient in zip(batch.rows, found, strict=True)
            }

        everyone = of(ROWS)
        for row in ROWS:
            assert torch.equal(of(np.array([row]))[int(row)], everyone[int(row)])
    for row in ROWS:
        alone = learner.scores(vector, activations.take([row]))[0]
        assert np.array_equal(alone, whole[row])


def test_a_site_passes_its_self_test_on_made_up_questions(folder):
    charter = charter_of(folder)
    bench = Bench.of(charter, Learner(charter, model_dir=folder, compute=Compute(batches="alone")))
    tight = dataclasses.replace(bench.terms, clipping_norm=0.05)
    assert self_test(bench.learner, bench.activations, bench.labels, tight).records > 0


def test_the_cards_lines_print_the_sites_own_shares(case, folder):
    _, learner, vector, plain = case
    said = io.StringIO()
    charter = charter_of(folder)
    lines = find_task("choice").usage(charter.model, charter.data.label)
    for example in ("what", "a long tale of woe and more " * 5):
        names = {
            "torch": torch, "model": plain, "example": example,
            "tokenizer": AutoTokenizer.from_pretrained(folder),
        }  # fmt: skip
        with contextlib.redirect_stdout(said):
            exec(compile(lines, "usage", "exec"), names)
        printed = said.getvalue().splitlines()[-2:]
        own = Question(example, ("an answer", "another answer", ""))
        expected = learner.scores(vector, learner.activations([own]))[0]
        found = [float(line.rsplit(" ", 1)[1]) for line in printed]
        np.testing.assert_allclose(found, expected[:2], atol=1e-5)


def test_a_question_that_cannot_fit_is_an_error_and_of_a_made_up_text_equal_shares(case):
    _, learner, vector, _ = case
    endless = Question("x", ("yes", "n" * 200, "no"))
    with pytest.raises(DataError, match=r"1 of 2 records do not fit into model.max-tokens 72"):
        learner.activations([QUESTIONS[0], endless])
    found = learner.scores(vector, learner.derived([endless, QUESTIONS[0]], records=2))
    np.testing.assert_allclose(found[0], 1 / 3)
    assert found[1].std() > 1e-3


def test_the_files_options_are_read_for_training_and_for_scoring(folder, tmp_path):
    data = charter_of(folder).data
    groups = {one.column for one in data.sensitive}
    keep = tuple(one for one in data.columns if one.name in {"asked", *OPTIONS, *groups})
    data = dataclasses.replace(data, columns=keep)
    row = {"asked": "what", "one": "iron", "two": "", "three": "zinc", "right": "C"}
    for column in keep:
        if column.name in groups:
            row[column.name] = next(iter(column.choices)) if column.kind == "category" else "50"
    path = tmp_path / "d.csv"
    with path.open("w", newline="") as file:
        out = csv.DictWriter(file, list(row))
        out.writeheader()
        out.writerow(row)
    found = read_records(path, data, task="choice")
    assert found.texts == (Question("what", ("iron", "", "zinc")),)
    assert found.labels.tolist() == [2]
    (new,) = read_new(path, data)
    assert new.content == found.texts[0]


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ({"options": None}, "answer-with: it needs `options`"),
        ({"options": ("one", "two", "four")}, "label.options: four: no column of that name"),
        ({"answer_with": None}, "label.options: one, two, three: no column of that name has a"),
    ],
)
def test_a_charter_whose_answers_nobody_could_read_is_refused(folder, label, said):
    charter = charter_of(folder)
    data = dataclasses.replace(charter.data, label=dataclasses.replace(charter.data.label, **label))
    assert said in " ".join([*data.problems(), *data.label.problems()])


def test_a_head_over_classes_has_no_words_to_answer_with(folder):
    charter = charter_of(folder)
    model = dataclasses.replace(charter.model, task="classification", prompt="", answer="")
    with pytest.raises(CharterError, match="answer-with: task classification has a head"):
        document.parse(document.encode(dataclasses.replace(charter, model=model)))
