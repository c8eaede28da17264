"""Task "preference": DPO's loss and gradient, held to two plain forward passes and to a loop."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch.nn.functional import logsigmoid
from transformers import AutoModelForCausalLM, AutoTokenizer

from fedethics.charter import document
from fedethics.data.content import Completion, Preference
from fedethics.errors import CharterError, DataError, FairnessError, TrainingError
from fedethics.fairness import Layout, SensitiveFeature, Tables, overall, tabulate
from fedethics.learning_tasks.preference.measured import PAIRS
from fedethics.policy.model import Compute
from fedethics.training.activations import ALONE
from fedethics.training.clipping import clipped_sum
from fedethics.training.dp_sgd import site_of
from fedethics.training.engines import ENGINES, gradients_of
from fedethics.training.learner import Learner
from fedethics.training.locate import ADAPTER_FILE
from fedethics.training.self_test import self_test
from tests.learning_tasks.tiny_chat import HEART, chat_charter
from tests.training.conftest import terms  # noqa: F401  fixture

torch.set_num_threads(1)
BETA = 0.3
PAIRS_OF_ANSWERS = (
    Preference("Who may enter?", "anyone", "nobody, and least of all them"),
    Preference("One word?", "yes", "no"),
    Preference("Say why, at some length.", "because it is so, and was so before", "no"),
    Preference("x", "a\n\nb", "yes yes"),
)
ROWS = np.arange(len(PAIRS_OF_ANSWERS))
TARGETS = np.zeros(len(ROWS), dtype=np.int16)


def build(folder, *, compute=None, start=None, change=lambda charter: charter, **words):
    model = {"task": "preference", "beta": BETA, **words}
    charter = change(chat_charter(folder, form="preference", **model))
    more = {"compute": compute} if compute else {}
    return Learner(charter, model_dir=folder, start_dir=start, **more)


@pytest.fixture(scope="module")
def learner(folder):
    return build(folder)


def shifted(learner, seed):
    random = np.random.default_rng(seed)
    moved = learner.initial_vector() + 0.1 * random.standard_normal(learner.size)
    return moved.astype(np.float32)


@pytest.fixture(scope="module")
def vector(learner):
    return shifted(learner, 3)


def plain_model(learner, vector, folder, where):
    learner.save_adapter(vector, where)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return PeftModel.from_pretrained(base, where, is_trainable=True).eval()


def log_probability(model, tokenizer, prompt, answer):
    """Return the answer's summed log-probability, its end mark included, by plain Hugging Face."""
    asked = [{"role": "user", "content": prompt}]
    answered = [*asked, {"role": "assistant", "content": answer}]
    before = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    whole = tokenizer.apply_chat_template(answered, tokenize=False)
    start = len(tokenizer(before)["input_ids"])
    ids = torch.tensor([tokenizer(whole)["input_ids"]])
    logits = model(input_ids=ids).logits.log_softmax(-1)
    own = ids[0, start:]
    return logits[0, start - 1 : -1].gather(1, own[:, None]).sum()


def dpo(policy, reference, tokenizer, pair):
    """Return equation 7 of arXiv 2305.18290 for one pair."""

    def gain(answer):
        with torch.no_grad():
            before = log_probability(reference, tokenizer, pair.prompt, answer)
        return log_probability(policy, tokenizer, pair.prompt, answer) - before

    return -logsigmoid(BETA * (gain(pair.chosen) - gain(pair.rejected)))


def test_losses_and_gradients_are_those_of_two_plain_models(learner, vector, folder, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    policy = plain_model(learner, vector, folder, tmp_path)
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    named = dict(policy.named_parameters())
    activations = learner.activations(PAIRS_OF_ANSWERS)
    for engine in ENGINES.values():
        with learner.lock, engine(learner) as gradients:
            learner.load(vector)
            found, losses = gradients(activations.together(ROWS), TARGETS)
        for row, pair in enumerate(PAIRS_OF_ANSWERS):
            loss = dpo(policy, reference, tokenizer, pair)
            parts = torch.autograd.grad(loss, [named[name] for name in learner.parameters])
            told = torch.cat([part.reshape(-1) for part in parts])
            assert float(losses[row]) == pytest.approx(float(loss), rel=1e-4)
            torch.testing.assert_close(
                found[row], told, rtol=1e-3, atol=1e-4 * float(told.abs().max())
            )


def test_a_pair_is_one_record_clipped_once(learner, vector, terms):  # noqa: F811
    activations = learner.activations(PAIRS_OF_ANSWERS)
    with learner.lock, gradients_of(learner) as gradients:
        learner.load(vector)
        raw = torch.cat([found for _, (found, _) in gradients.each(activations, ROWS, TARGETS)])
        norm = 0.5 * float(raw.norm(dim=1).min())
        tight = terms(clipping_norm=norm)
        site = site_of(learner, gradients, activations, TARGETS, units=ROWS, terms=tight)
        for row in ROWS:
            one = clipped_sum(site, np.array([row]), terms=tight).total
            assert float(one.norm()) == pytest.approx(norm, rel=1e-5)
    assert self_test(learner, activations, TARGETS, terms(clipping_norm=0.05)).records > 0


@pytest.mark.parametrize("engine", list(ENGINES))
def test_a_pairs_numbers_are_the_same_bits_in_any_company(folder, vector, engine):
    each = build(folder, compute=Compute(gradients=engine))
    activations = each.activations(PAIRS_OF_ANSWERS)
    assert ALONE not in each.prove(activations)
    with each.lock, gradients_of(each) as gradients:
        each.load(vector)

        def of(rows):
            return {
                int(row): (gradient, float(loss))
                for batch, (found, losses) in gradients.each(activations, rows, TARGETS)
                for row, gradient, loss in zip(batch.rows, found, losses, strict=True)
            }

        everyone = of(ROWS)
        for row in ROWS:
            gradient, loss = of(np.array([row]))[int(row)]
            assert torch.equal(gradient, everyone[int(row)][0])
            assert loss == everyone[int(row)][1]
    both, single = each.scores(vector, activations), each.activations(PAIRS_OF_ANSWERS[2:3])
    assert each.scores(vector, single)[0] == both[2]


def test_pairs_without_what_the_start_makes_of_them_are_refused(learner, vector):
    tokens = learner.tokens(PAIRS_OF_ANSWERS)
    with learner.lock:
        learner.load(vector)
        with pytest.raises(TrainingError, match="what the start makes"):
            learner.losses(tokens.together(ROWS), TARGETS)


def test_at_the_start_no_answer_has_gained(learner):
    activations = learner.activations(PAIRS_OF_ANSWERS)
    scores = learner.scores(learner.initial_vector(), activations)
    assert scores.tolist() == [0.5] * len(ROWS)


def test_the_reference_is_the_released_adapter_that_training_starts_from(folder, tmp_path):
    first = build(folder)
    before = shifted(first, 5)
    first.save_adapter(before, tmp_path / "adapter")
    heart, used = document.load(HEART), first._charter
    model = dataclasses.replace(heart.model, sha256=used.model.sha256)
    sft = dataclasses.replace(heart, model=model, adapter=used.adapter)
    (tmp_path / "charter.json").write_bytes(document.encode(sft))
    agreed = hashlib.sha256((tmp_path / "adapter" / ADAPTER_FILE).read_bytes()).hexdigest()

    def started(charter):
        adapter = dataclasses.replace(charter.adapter, from_=agreed)
        return dataclasses.replace(charter, adapter=adapter)

    second = build(folder, start=tmp_path, change=started)
    at_start = second.scores(before, second.activations(PAIRS_OF_ANSWERS))
    assert at_start.tolist() == [0.5] * len(ROWS)
    assert first.states_key != second.states_key
    assert (first.scores(before, first.activations(PAIRS_OF_ANSWERS)) != 0.5).all()


def test_training_makes_the_chosen_answer_likelier(learner):
    activations = learner.activations(PAIRS_OF_ANSWERS)
    vector = learner.initial_vector()
    with learner.lock, gradients_of(learner) as gradients:
        for _ in range(20):
            learner.load(vector)
            found = [each for _, (each, _) in gradients.each(activations, ROWS, TARGETS)]
            vector = vector - 0.5 * torch.cat(found).mean(dim=0).numpy()
    assert (learner.scores(vector, activations) > 0.5).all()


def test_a_pair_that_does_not_fit_moves_nothing_and_is_not_preferred(folder, vector):
    short = build(folder, max_tokens=40)
    activations = short.activations([PAIRS_OF_ANSWERS[1], PAIRS_OF_ANSWERS[2]])
    scores = short.scores(vector, activations)
    assert scores[1] == 0.5 and scores[0] != 0.5
    with short.lock, gradients_of(short) as gradients:
        short.load(vector)
        found = dict(
            (int(batch.rows[0]), each)
            for batch, (each, _) in gradients.each(activations, np.array([1]), TARGETS)
        )
    assert not found[1].any()


def test_its_tables_count_a_pair_once_in_each_block():
    layout = Layout(
        features=(SensitiveFeature(name="sex", groups=("a", "b")),), bins=64, threshold=0.5,
        histogram_by=("sex",), measured=PAIRS,
    )  # fmt: skip
    random = np.random.default_rng(0)
    scores, groups = random.random(200), random.integers(0, 2, size=(200, 1))
    labels = np.zeros(200, dtype=np.int64)
    whole = tabulate(layout, groups=groups, labels=labels, scores=scores)
    for row in range(0, 200, 40):
        kept = np.arange(200) != row
        less = tabulate(layout, groups=groups[kept], labels=labels[kept], scores=scores[kept])
        changed = whole - less
        assert sorted(changed[changed != 0].tolist()) == [1, 1]
    tables = Tables.from_vector(
        whole, layout=layout, counts_variance=0.0, histogram_variance=0.0, sites=3
    )
    assert overall(tables, "preference_accuracy").value == pytest.approx((scores > 0.5).mean())
    mean = overall(tables, "mean_preference_probability").value
    assert mean == pytest.approx(scores.mean(), abs=1 / 128)
    with pytest.raises(FairnessError, match="does not follow"):
        overall(tables, "roc_auc_score")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"beta": None}, "beta: task preference needs it"),
        ({"truncation": "prompt-start"}, "truncation: task preference does not read it"),
        ({"prompt": "{prompt}"}, r"answer: task preference needs exactly one \{completion\}"),
    ],
)
def test_a_charter_that_leaves_something_open_is_refused(folder, words, said):
    model = {"task": "preference", "beta": BETA, **words}
    charter = chat_charter(folder, form="preference", **model)
    with pytest.raises(CharterError, match=said):
        document.parse(document.encode(charter))


def test_records_of_another_form_are_refused(learner):
    with pytest.raises(DataError, match="1 of 2 records are no pairs"):
        learner.tokens([PAIRS_OF_ANSWERS[0], Completion("a", "b")])
