"""Templates that render an answer otherwise once more was said: each answer in its own view."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from fedethics.data.content import Conversation, Turn
from fedethics.errors import DataError, TrainingError
from fedethics.policy.model import Compute
from fedethics.training.activations import NEXT_VIEW, Batch, split_views
from fedethics.training.engines import ENGINES, gradients_of
from fedethics.training.learner import Learner
from tests.learning_tasks.tiny_chat import CHATML, chat_charter, save_chat_model

torch.set_num_threads(1)
OPEN = "<|im_start|>{{ m['role'] }}\n"
# What was thought before an earlier answer is left out, as reasoning models do.
FORGETS = (
    "{% for m in messages %}" + OPEN + "{% if m['role'] == 'assistant' and not loop.last %}"
    "{{ m['content'].split('</think>')[-1] }}{% else %}{{ m['content'] }}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# The end mark of the whole stands behind the last turn only.
ENDS_ONCE = (
    "{% for m in messages %}" + OPEN + "{{ m['content'] }}{% if loop.last and m['role'] == "
    "'assistant' %}<|im_end|>{% endif %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}"
    "<|im_start|>assistant\n{% endif %}"
)
# Earlier answers are left out.
DROPS = (
    "{% for m in messages %}{% if loop.last or m['role'] != 'assistant' %}" + OPEN +
    "{{ m['content'] }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)  # fmt: skip
# Asks with words that its own answers do not begin with.
ASKS_OTHERWISE = CHATML.replace(
    "{% if add_generation_prompt %}<|im_start|>assistant\n",
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>",
)
TALK = Conversation(
    (
        Turn("user", "one?"), Turn("assistant", "<think>a</think>yes"),
        Turn("user", "two?"), Turn("assistant", "<think>b</think>no, three"),
        Turn("user", "and?"), Turn("assistant", "<think>c</think>yes"),
    )
)  # fmt: skip
SINGLE = Conversation((Turn("user", "hi"), Turn("assistant", "yes no")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_chat_model(tmp_path_factory.mktemp("chat"))


def build(folder, template=FORGETS, *, compute=None, **words):
    charter = chat_charter(folder, chat_template=template, **({"max_tokens": 400} | words))
    return Learner(charter, model_dir=folder, compute=compute or Compute())


@pytest.fixture(scope="module")
def learner(folder):
    return build(folder)


@pytest.fixture(scope="module")
def vector(learner):
    random = np.random.default_rng(3)
    moved = learner.initial_vector() + 0.1 * random.standard_normal(learner.size)
    return moved.astype(np.float32)


def views_of(learner, record):
    """Return what is read of each view, and what is learnt of it, as text."""
    entries, decode = learner.tokens([record]), learner._reader.tokenizer.decode
    (ids,), (wanted,) = entries.hidden, entries.wanted
    parts = zip(split_views(ids, wanted), split_views(wanted, wanted), strict=True)
    return [(decode(read.tolist()), decode(own[own >= 0].tolist())) for read, own in parts]


@pytest.mark.parametrize(
    ("template", "learnt"),
    [
        (FORGETS, [turn.text + "<|im_end|>\n" for turn in TALK.turns if turn.role == "assistant"]),
        (DROPS, [turn.text + "<|im_end|>\n" for turn in TALK.turns if turn.role == "assistant"]),
        (ENDS_ONCE, [turn.text + "<|im_end|>\n" for turn in TALK.turns[1::2]]),
    ],
)
def test_each_answer_is_learnt_in_the_view_in_which_it_was_given(folder, template, learnt):
    found = views_of(build(folder, template), TALK)
    assert [own for _, own in found] == learnt
    # The second answer is read after the first as the template shows it then.
    assert ("<think>a" in found[1][0]) == (template is ENDS_ONCE)


def test_a_conversation_that_the_whole_tells_is_one_view_as_before(folder, learner):
    assert len(views_of(build(folder, CHATML), TALK)) == 1
    assert len(views_of(learner, SINGLE)) == 1


def loss_by_hand(learner, record):
    """The mean over all tokens that are learnt in any view, each view by itself, no cache."""
    entries = learner.tokens([record])
    (ids,), (wanted,) = entries.hidden, entries.wanted
    total, count = torch.zeros(()), 0
    for read, own in zip(split_views(ids, wanted), split_views(wanted, wanted), strict=True):
        alone = Batch(rows=np.array([0]), hidden=(read,), wanted=(own.clamp(min=-1),))
        tokens = int((own >= 0).sum())
        total = total + learner.losses(alone, np.zeros(1, int)).sum() * tokens
        count += tokens
    return total / count


@pytest.mark.parametrize("name", list(ENGINES))
def test_a_record_is_one_mean_over_all_its_answers_and_one_gradient(folder, vector, name):
    each = build(folder, compute=Compute(gradients=name))
    records = [SINGLE, TALK, SINGLE]
    activations = each.activations(records)
    targets = np.zeros(3, dtype=np.int16)
    with each.lock, gradients_of(each) as engine:
        each.load(vector)
        found = {
            int(row): (gradient, float(loss))
            for batch, (gradients, losses) in engine.each(activations, np.arange(3), targets)
            for row, gradient, loss in zip(batch.rows, gradients, losses, strict=True)
        }
    plain = build(folder)
    with plain.lock:
        plain.load(vector)
        for row, record in enumerate(records):
            loss = loss_by_hand(plain, record)
            parts = torch.autograd.grad(loss, list(plain.parameters.values()))
            expected = torch.cat([part.reshape(-1) for part in parts])
            torch.testing.assert_close(found[row][0], expected, rtol=1e-4, atol=1e-6)
            assert found[row][1] == pytest.approx(float(loss.detach()), rel=1e-5)


def test_its_numbers_are_the_same_bits_whoever_is_beside_it(learner, vector):
    alone = learner.scores(vector, learner.activations([TALK]))
    beside = learner.scores(vector, learner.activations([SINGLE, TALK, *[SINGLE] * 20, TALK]))
    assert (beside[[1, -1]] == alone[0]).all() and 0 < alone[0, 0] < 1


def test_states_of_the_frozen_layers_are_those_of_each_view(learner, vector):
    kept, ids = learner.activations([TALK]), learner.tokens([TALK])
    assert kept.hidden[0].is_floating_point() and not ids.hidden[0].is_floating_point()
    found = [learner.scores(vector, each) for each in (kept, ids)]
    assert (found[0] == found[1]).all()


def test_a_record_of_several_views_is_never_put_beside_others(learner):
    entries = learner.tokens([TALK, SINGLE])
    assert (entries.wanted[0] == NEXT_VIEW).sum() == 2
    with pytest.raises(TrainingError, match="several views was put beside others"):
        learner.losses(entries.together(np.arange(2)), np.zeros(2, dtype=np.int16))


def test_all_views_together_must_fit_and_the_oldest_turns_can_go(folder):
    assert build(folder, max_tokens=150).tokens([TALK]).left_out == 1
    cut = build(folder, max_tokens=150, truncation="oldest-turns")
    assert [own for _, own in views_of(cut, TALK)] == ["<think>c</think>yes<|im_end|>\n"] or (
        len(views_of(cut, TALK)) == 2
    )


@pytest.mark.parametrize("talk", [TALK, SINGLE])
def test_a_template_that_asks_otherwise_than_it_answers_is_refused_by_name(folder, talk):
    quiet = dataclasses.replace(
        talk, turns=tuple(Turn(turn.role, turn.text.split(">")[-1]) for turn in talk.turns)
    )
    with pytest.raises(DataError, match="turn 2: the chat template renders what comes before"):
        build(folder, ASKS_OTHERWISE).tokens([quiet])
