"""Adapters and models without a true gradient for each record are refused by name."""

import copy

import pytest
import torch
from peft import IA3Config, LoraConfig, PromptTuningConfig, TaskType, VeraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification

from fedethics.errors import TrainingError
from fedethics.training.guards import refuse_unsupported
from tests.training.tiny_models import CONFIGS

KIND = {"task_type": TaskType.SEQ_CLS}
LORA = {"r": 2, "target_modules": ["query", "value"], **KIND}


def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForSequenceClassification.from_config(CONFIGS["bert"])


def test_plain_lora_is_not_refused():
    refuse_unsupported(get_peft_model(model(), LoraConfig(**LORA)))


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (LoraConfig(use_dora=True, **LORA), "DoRA"),
        (LoraConfig(lora_dropout=0.1, **LORA), "dropout draws from a generator"),
        (IA3Config(target_modules=["key"], feedforward_modules=[], **KIND), "IA3"),
        (VeraConfig(r=2, target_modules=["query"], **KIND), "VeRA"),
        (PromptTuningConfig(num_virtual_tokens=2, **KIND), "prompt tuning"),
        (LoraConfig(**{**LORA, "target_modules": ["word_embeddings"]}), "not a Linear"),
        (LoraConfig(**LORA, bias="all"), "LayerNorm"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_method_without_gradients_for_each_record_is_named(config, why):
    with pytest.raises(TrainingError, match=why):
        refuse_unsupported(get_peft_model(model(), config))


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_is_refused_in_either_form(reentrant):
    lora = get_peft_model(model(), LoraConfig(**LORA))
    lora.gradient_checkpointing_enable({"use_reentrant": reentrant})
    with pytest.raises(TrainingError, match=("" if reentrant else "non-") + "reentrant gradient"):
        refuse_unsupported(lora)


def test_quantised_weights_batch_norms_and_tied_trained_weights_are_refused():
    lora = get_peft_model(model(), LoraConfig(**LORA))
    layer = lora.base_model.model.bert.encoder.layer[0]
    layer.intermediate.dense.weight = torch.nn.Parameter(
        torch.zeros(64, 32, dtype=torch.uint8), requires_grad=False
    )
    layer.extra = torch.nn.BatchNorm1d(4)
    query, value = (
        getattr(layer.attention.self, name).lora_A.default for name in ("query", "value")
    )
    value.weight = query.weight
    with pytest.raises(TrainingError) as refused:
        refuse_unsupported(lora)
    for why in ("quantised weights", "BatchNorm1d", "tied weights"):
        assert why in str(refused.value)


def test_half_precision_parameters_are_not_trained():
    lora = get_peft_model(model(), LoraConfig(**LORA))
    lora.base_model.model.bert.encoder.layer[0].attention.self.query.lora_B.to(torch.bfloat16)
    with pytest.raises(TrainingError, match="only float32"):
        refuse_unsupported(lora)


def test_positions_that_stretch_with_the_longest_text_are_refused():
    config = copy.deepcopy(CONFIGS["llama"])
    config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    lora = LoraConfig(r=2, target_modules=["q_proj"], **KIND)
    stretched = AutoModelForSequenceClassification.from_config(config)
    with pytest.raises(TrainingError, match="dynamic rotary positions"):
        refuse_unsupported(get_peft_model(stretched, lora))
