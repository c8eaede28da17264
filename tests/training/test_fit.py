"""What `model fit` reckons, against arithmetic and against the memory that a process takes."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
import torch
from transformers import LlamaConfig

from fedethics.cli.main import load
from fedethics.errors import ModelError
from fedethics.training.fit import Question, needs
from tests.training import tiny_models
from tests.training.tiny_models import save_tiny

WIDE = LlamaConfig(
    vocab_size=8192, hidden_size=256, num_hidden_layers=3, num_attention_heads=8,
    num_key_value_heads=4, intermediate_size=1024, max_position_embeddings=512, pad_token_id=0,
    bos_token_id=None, eos_token_id=None, tie_word_embeddings=False,
)  # fmt: skip
ASKED = Question(max_tokens=256, answer_tokens=64, top_layers=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("wide")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tiny_models.CONFIGS, "llama", WIDE)
        return save_tiny(path, "llama", task="causal-lm", dtype=torch.bfloat16)


def by_rows(folder, question):
    return {need.rows: need for need in needs(folder, question)[1]}


def test_weights_and_states_are_what_arithmetic_says(folder):
    linear = 3 * (2 * 256 * 256 + 2 * 256 * 128 + 3 * 256 * 1024)
    words, norms = 2 * 8192 * 256, 7 * 256
    # In float32 for its turn: the output embeddings, the largest of the layers in 16 bits.
    turn = 4 * 8192 * 256
    frozen_a = 2 * 2 * 8 * 256 * 4  # "ffa" freezes the factor A
    plain = by_rows(folder, ASKED)[1]
    assert plain.weights == 2 * (linear + words) + 4 * norms + turn + frozen_a
    four = by_rows(folder, dataclasses.replace(ASKED, quantisation="nf4", records=10))[1]
    bits = 4 + 8 / 64 + 32 / (64 * 256)
    assert four.weights == int(linear * bits / 8 + 2 * words + 4 * norms + frozen_a) + turn
    assert (plain.states, four.states) == (0, 10 * 256 * 256 * 4)
    assert plain.total == plain.weights + plain.vector + plain.gradients + plain.activations


def test_the_first_of_several_devices_holds_what_the_others_send_and_no_more(folder):
    alone, first = by_rows(folder, ASKED), by_rows(folder, dataclasses.replace(ASKED, devices=4))
    for rows, need in alone.items():
        # Two parts of one batch; then five batches that wait.
        assert first[rows].gradients == need.gradients * 7 // 2
        assert dataclasses.replace(first[rows], gradients=need.gradients) == need


def test_more_rows_need_more_and_checkpointing_less(folder):
    plain = by_rows(folder, ASKED)
    kept = by_rows(folder, dataclasses.replace(ASKED, checkpointing=True))
    assert plain[1].activations < plain[8].activations < plain[16].activations
    assert kept[8].activations < 0.8 * plain[8].activations
    assert plain[8].gradients == 8 * plain[1].gradients


def test_an_answer_longer_than_its_record_is_refused(folder):
    with pytest.raises(ModelError, match="not from 1 to the 256"):
        needs(folder, dataclasses.replace(ASKED, answer_tokens=257))


def test_an_encoder_has_no_answer_and_is_refused(tmp_path):
    save_tiny(tmp_path, "electra")
    with pytest.raises(ModelError, match=r"do not fit|no shapes"):
        needs(tmp_path, dataclasses.replace(ASKED, targets=("q_proj",)))


def test_the_command_says_what_fits_and_what_to_change(folder, capsys):
    def asked(*words):
        try:
            code = (
                load("model").main(["fit", str(folder), *words, "--json"], standalone_mode=False)
                or 0
            )
        except click.exceptions.Exit as ended:
            code = ended.exit_code
        return code, json.loads(capsys.readouterr().out)

    shape = ("--max-tokens", "256", "--top-layers", "2")
    code, roomy = asked("--gpu", "24", *shape)
    assert code == 0
    assert roomy["rows"] == 32 and roomy["advice"] == []
    code, tight = asked("--gpu", "1.02", *shape)
    assert code == 5
    assert tight["rows"] == 0 and "nf4" in " ".join(tight["advice"])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark is Linux's")
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_reckoned_peak_is_that_of_a_process(folder, checkpointing):
    question = dataclasses.replace(ASKED, checkpointing=checkpointing)
    need = by_rows(folder, question)[8]
    asked = ["8", "256", "64", str(checkpointing)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.fit_child", str(folder), *asked],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
        # What is freed goes back to the system at once, so that gaps are not counted.
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"},
    )  # fmt: skip
    measured = int(done.stdout.split()[-1])
    # The step's own part; weights and vector were there before.
    reckoned = need.activations + need.gradients
    assert 0.75 < measured / reckoned < 1.35, (measured / 2**20, reckoned / 2**20)
