"""Both tasks on every family: gradients, scores and the cache against the plain Hugging Face model.

What is compared with is loaded by plain transformers and peft from what `save_adapter` wrote, reads
one record at a time, and has neither cache nor padding.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
)

from fedethics.errors import ModelError, TrainingError
from fedethics.training import network
from fedethics.training.engines import ENGINES
from fedethics.training.factors import trained_coordinates
from fedethics.training.learner import Learner
from fedethics.training.shapes import shapes_of, trained_parameters
from tests.training.conftest import in_company
from tests.training.tiny_models import (
    CONFIGS,
    CUT,
    DECODERS,
    REFUSED,
    charter_for,
    save_tiny,
)

# Of these, one task is enough: what heads and answers are made of is the same for all decoders.
LATER = ("gemma2", "gemma3_text", "phi3", "smollm3", "olmo2")
CASES = [
    *[(family, "classification", "") for family in CONFIGS if family not in LATER],
    *[(family, "causal-lm", "tokens") for family in DECODERS],
    *[("llama", "causal-lm", answer) for answer in ("one token each", "one token and two")],
    ("gpt2", "causal-lm", "one token each"),
]
STORED = {
    **dict.fromkeys(("gemma2", "gemma3_text", "phi3", "olmo2", "qwen2", "roberta"), torch.bfloat16),
    **dict.fromkeys(("smollm3", "deberta-v2", "gpt2"), torch.float16),
}
IDS = [" ".join(filter(None, case)) for case in CASES]


class Case:
    """A learner at a vector where no gradient vanishes, and the plain model at the same one."""

    def __init__(self, folder, family, task, answer, texts, labels):
        self.texts, self.labels, self.task, self.family = texts, labels, task, family
        self.folder = folder
        # Half of the families in 16 bits, which the plain model below reads into float32.
        dtype = STORED.get(family, torch.float32)
        save_tiny(folder, family, task=task, dtype=dtype)
        several = answer == "tokens"
        self.charter = charter_for(
            folder, family, task=task, answer="{label} end" if several else "{label}",
            negative="no" if answer == "one token each" else "no a",
        )  # fmt: skip
        self.learner = Learner(self.charter, model_dir=folder)
        shift = 0.1 * np.random.default_rng(3).standard_normal(self.learner.size)
        self.vector = (self.learner.initial_vector() + shift).astype(np.float32)
        self.learner.save_adapter(self.vector, folder / "adapter")
        kind, more = (
            (AutoModelForCausalLM, {})
            if task == "causal-lm"
            else (AutoModelForSequenceClassification, {"num_labels": 2})
        )
        base = kind.from_pretrained(folder, dtype=torch.float32, **more)
        self.plain = PeftModel.from_pretrained(base, folder / "adapter", is_trainable=True).eval()
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))

    def loss(self, row, label):
        if self.task == "classification":
            tokens = self.tokenizer(
                [self.texts[row]], truncation=True, max_length=20, return_tensors="pt"
            )
            target = torch.tensor([int(label)])
            return torch.nn.functional.cross_entropy(self.plain(**tokens).logits, target)
        prompt, answer = self.words(row, label)
        ids = torch.tensor([prompt + answer])
        logits = self.plain(input_ids=ids).logits[0, len(prompt) - 1 : -1]
        return torch.nn.functional.cross_entropy(logits, ids[0, len(prompt) :])

    def words(self, row, label):
        """Prompt and answer as tokens, long texts cut so that all fit into 20."""
        names = (self.charter.data.label.negative_name, self.charter.data.label.positive_name)
        read = [self.charter.model.answer.replace("{label}", name) for name in names]
        answers = [self.tokenizer.encode(one, add_special_tokens=False) for one in read]
        room = 20 - 3 - (max(map(len, answers)) - 1)
        text = self.tokenizer.encode(self.texts[row], add_special_tokens=False)[:room]
        ends = [self.tokenizer.encode(end, add_special_tokens=False) for end in ("a b", "c")]
        return ends[0] + text + ends[1], answers[label]

    def expected(self):
        named = dict(self.plain.named_parameters())
        found = []
        for row, label in enumerate(self.labels):
            wanted = [named[name] for name in self.learner.parameters]
            parts = torch.autograd.grad(self.loss(row, label), wanted)
            found.append(torch.cat([part.reshape(-1) for part in parts]))
        return torch.stack(found)

    def gradients(self, activations, size, engine, *, checkpointing=False):
        self.learner._network.checkpointing = checkpointing
        found = torch.empty(len(self.texts), self.learner.size)
        self.learner.load(self.vector)
        with ENGINES[engine](self.learner) as gradients:
            for batch in in_company(activations, np.arange(len(self.texts)), size):
                found[torch.from_numpy(batch.rows)] = gradients(batch, self.labels)[0]
        return found


@pytest.fixture(scope="module", params=CASES, ids=IDS)
def case(request, tmp_path_factory, texts, labels):
    folder = tmp_path_factory.mktemp("family")
    return Case(folder, *request.param, texts, labels)


@pytest.mark.parametrize("engine", ENGINES)
def test_gradients_equal_a_loop_over_records_of_the_plain_model(case, engine):
    """With and without checkpointing, from weights in 32 and in 16 bits."""
    expected = case.expected()
    assert expected.abs().amax(dim=1).min() > 1e-4
    activations = case.learner.activations(case.texts)
    for size, checkpointing in ((5, False), (12, True)):
        found = case.gradients(activations, size, engine, checkpointing=checkpointing)
        torch.testing.assert_close(found, expected, rtol=2e-4, atol=5e-6)


def test_the_cache_changes_neither_gradients_nor_scores(case):
    cached, ids = case.learner.activations(case.texts), case.learner.tokens(case.texts)
    assert case.learner.cached == (case.family in CUT)
    assert cached.hidden[0].is_floating_point() == case.learner.cached
    assert not ids.hidden[0].is_floating_point()
    torch.testing.assert_close(
        case.gradients(cached, 5, "opacus"), case.gradients(ids, 5, "opacus"), rtol=2e-4, atol=5e-6
    )
    np.testing.assert_allclose(
        case.learner.scores(case.vector, cached), case.learner.scores(case.vector, ids), atol=1e-5
    )


def test_scores_are_those_of_the_plain_model(case):
    with torch.no_grad():
        if case.task == "classification":
            both = [-torch.stack([case.loss(row, y) for y in (0, 1)]) for row in range(12)]
        else:  # the probability of the whole answer, as a share of both answers'
            both = [
                -torch.stack([case.loss(row, y) * len(case.words(row, y)[1]) for y in (0, 1)])
                for row in range(12)
            ]
        expected = torch.stack(both).softmax(dim=1)[:, 1].numpy()
    assert np.ptp(expected) > 1e-3
    found = case.learner.scores(case.vector, case.learner.activations(case.texts))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_its_shapes_alone_tell_how_many_parameters_are_trained(case):
    assert shapes_of(case.charter, model_dir=case.folder).trained == case.learner.size
    trained = {mark: int(trained_coordinates(case.learner, mark).sum()) for mark in ("A", "B")}
    wanted = {
        "both": case.learner.size, "ffa": trained["A"], "fedsvd": trained["A"],
        "alternating": max(trained.values()),
    }  # fmt: skip
    for form, count in wanted.items():
        adapter = dataclasses.replace(case.charter.adapter, form=form)
        charter = dataclasses.replace(case.charter, adapter=adapter)
        assert trained_parameters(charter, model_dir=case.folder) == count


def test_the_page_has_a_row_for_each_family_and_says_what_is_true_of_it():
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    rows = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[1].startswith("`"):
            rows |= {name.strip("` "): cells[2:] for name in cells[1].split(",")}
    assert {*CONFIGS, *REFUSED} <= rows.keys()
    for family in (*CONFIGS, *REFUSED):
        frozen, state = rows[family]
        assert (frozen == "computed once") == (family in CUT), family
        assert state.startswith("refused" if family in REFUSED else "works"), family


def test_the_model_itself_refuses_to_compute_a_loss(case):
    with pytest.raises(Exception, match="computes inside itself is refused"):
        case.learner.model(input_ids=torch.ones(1, 4).long(), labels=torch.ones(1, 4).long())


@pytest.mark.parametrize("task", ["classification", "causal-lm"])
def test_weights_in_16_bits_give_the_bits_of_the_same_weights_in_32(task, tmp_path, texts, labels):
    half, whole = (save_tiny(tmp_path / name, "qwen2", task=task, dtype=torch.bfloat16) for name in
                   ("half", "whole"))  # fmt: skip
    weights = load_file(whole / "model.safetensors")
    save_file(
        {name: value.float() for name, value in weights.items()},
        whole / "model.safetensors", metadata={"format": "pt"},
    )  # fmt: skip
    learners = [
        Learner(charter_for(folder, "qwen2", task=task), model_dir=folder)
        for folder in (half, whole)
    ]
    found = []
    for learner in learners:
        vector = learner.initial_vector() + np.float32(0.1)
        learner.load(vector)
        batch = learner.activations(texts).together(np.arange(12))
        with ENGINES["autograd"](learner) as engine:
            found.append((*engine(batch, labels), learner.scores(vector, learner.tokens(texts))))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    kept, made = (sum(p.element_size() * p.numel() for p in one.model.parameters())
                  for one in learners)  # fmt: skip
    assert kept < 0.6 * made
    assert {p.dtype for p in learners[0].parameters.values()} == {torch.float32}
    # Their names differ by the file's hash alone.
    assert learners[0].size == learners[1].size


def test_a_norm_in_a_head_stays_as_it_was_and_is_released_with_the_head(tmp_path):
    """None is a linear layer, so no engine has its gradient; the layers around it are trained."""
    save_tiny(tmp_path, "modernbert")
    learner = Learner(charter_for(tmp_path, "modernbert"), model_dir=tmp_path)
    trained = {name for name in learner.parameters if ".modules_to_save." in name}
    assert {name.split(".modules_to_save.default.")[1] for name in trained} == {
        "dense.weight", "weight", "bias",
    }  # fmt: skip
    learner.save_adapter(learner.initial_vector() + np.float32(0.5), tmp_path / "adapter")
    held = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    (norm,) = (value for name, value in held.items() if name.endswith("head.norm.weight"))
    assert torch.equal(norm, torch.ones(32))


def test_a_head_of_another_kind_of_layer_is_refused_and_named(tmp_path, monkeypatch):
    """Only norms are left as they were; else a head would be trained in part, in silence."""
    save_tiny(tmp_path, "modernbert")
    monkeypatch.setattr(network, "_norms_of_heads", lambda _model: ())
    with pytest.raises(TrainingError, match=r"norm\.weight is trained, but by a LayerNorm"):
        Learner(charter_for(tmp_path, "modernbert"), model_dir=tmp_path)


def test_layers_that_also_read_a_table_of_positions_are_refused(tmp_path, texts, labels):
    save_tiny(tmp_path, "deberta-v2")
    charter = charter_for(tmp_path, "deberta-v2", targets=("query_proj",))
    learner = Learner(charter, model_dir=tmp_path)
    batch = learner.activations(texts).together(np.arange(12))
    for engine in ENGINES.values():
        with pytest.raises(TrainingError, match="not supported"), engine(learner) as gradients:
            gradients(batch, labels)


def test_answers_that_begin_alike_are_refused(tmp_path):
    save_tiny(tmp_path, "llama", task="causal-lm")
    charter = charter_for(tmp_path, "llama", task="causal-lm", answer="{label}")
    label = dataclasses.replace(charter.data.label, positive_name="no")
    charter = dataclasses.replace(charter, data=dataclasses.replace(charter.data, label=label))
    with pytest.raises(ModelError, match="begin alike"):
        Learner(charter, model_dir=tmp_path)


def test_a_prompt_that_leaves_no_room_for_texts_is_refused(tmp_path):
    save_tiny(tmp_path, "llama", task="causal-lm")
    charter = charter_for(tmp_path, "llama", task="causal-lm")
    model = dataclasses.replace(charter.model, max_tokens=8, prompt="a b c d e f {text} g h")
    with pytest.raises(ModelError, match="no room for a text"):
        Learner(dataclasses.replace(charter, model=model), model_dir=tmp_path)


def test_an_encoder_cannot_be_asked_for_answers(tmp_path):
    save_tiny(tmp_path, "electra")
    charter = charter_for(tmp_path, "electra", task="causal-lm")
    with pytest.raises(ModelError, match="causal-lm"):
        Learner(charter, model_dir=tmp_path)
