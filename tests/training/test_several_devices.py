"""Several devices at a site give, bit for bit, what one gives: sums, scores, states and rounds.

On this machine a device is the CPU twice or three times, each with a model and parameters of its
own, as two GPUs have.
"""

import dataclasses
import threading

import numpy as np
import pytest
import torch

from fedethics import terms as documents
from fedethics.errors import ModelError, TrainingError
from fedethics.policy.model import Compute
from fedethics.privacy.noise import NoiseSource
from fedethics.training import records_apart
from fedethics.training.activations import ALONE, Batch, across, shape_for
from fedethics.training.check import check_charter
from fedethics.training.clipping import clipped_sum, integer_sum
from fedethics.training.dp_sgd import site_of, train_round
from fedethics.training.engines import gradients_of
from fedethics.training.learner import Learner
from fedethics.training.self_test import self_test
from tests.training.tiny_models import WORDS, charter_for, save_tiny

CASES = {
    "bert": ("bert", "classification", "opacus", 2),
    "llama": ("llama", "causal-lm", "autograd", 3),
}
RECORDS = 50


@pytest.fixture(scope="module", params=CASES, ids=list(CASES))
def pair(request, tmp_path_factory):
    """One device and several, of the same model, and some records."""
    family, task, engine, devices = CASES[request.param]
    folder = save_tiny(tmp_path_factory.mktemp("model"), family, task=task)
    charter = charter_for(folder, family, task=task)
    one = Learner(charter, model_dir=folder, compute=Compute(gradients=engine))
    several = Learner(
        charter,
        model_dir=folder,
        compute=Compute(gradients=engine, devices=("cpu",) * devices),
    )
    assert len(several.replicas) == devices - 1 and one.replicas == ()
    random = np.random.default_rng(4)
    texts = [
        " ".join(random.choice(WORDS[4:], size=size)) for size in random.integers(1, 20, RECORDS)
    ]
    labels = random.integers(0, 2, RECORDS).astype(np.int8)
    vector = (one.initial_vector() + 0.1 * random.standard_normal(one.size)).astype(np.float32)
    return one, several, texts, labels, vector


def sum_of(learner, pair, bounded, units=None):
    _, _, texts, labels, vector = pair
    activations = learner.activations(texts)
    add = integer_sum if bounded.noise == "strict" else clipped_sum
    with learner.lock, gradients_of(learner) as engine:
        learner.load(vector)
        site = site_of(learner, engine, activations, labels, units=units, terms=bounded)
        return add(site, np.arange(site.unit_count), terms=bounded)


@pytest.mark.parametrize("noise", ["fast", "strict"])
@pytest.mark.parametrize("unit", ["record", "person"])
def test_the_sum_of_a_batch_is_one_devices_to_the_last_bit(pair, terms, noise, unit):
    one, several, *_ = pair
    units = np.arange(RECORDS) // 3 if unit == "person" else None
    bounded = terms(clipping_norm=0.3, noise=noise, unit=unit)
    single, divided = (sum_of(learner, pair, bounded, units) for learner in (one, several))
    assert torch.equal(single.total, divided.total)
    assert (single.units, single.clipped, single.records) == (
        divided.units, divided.clipped, divided.records,
    )  # fmt: skip
    assert single.clipped > 0


def test_the_sum_is_a_loops_over_records_to_the_bounds_of_float64(pair, terms):
    one, several, texts, labels, vector = pair
    bounded = terms(clipping_norm=0.3, noise="fast")
    activations = one.tokens(texts)
    total = torch.zeros(one.size, dtype=torch.float64)
    with one.lock:
        one.load(vector)
        for row in range(RECORDS):
            loss = one.losses(activations.together(np.array([row])), labels)[0]
            parts = torch.autograd.grad(loss, list(one.parameters.values()))
            gradient = torch.cat([part.reshape(-1) for part in parts]).double()
            total += gradient * min(1.0, 0.3 / float(gradient.norm()))
    found = sum_of(several, pair, bounded).total
    assert float((found - total).norm() / total.norm()) < 1e-5


def test_states_and_scores_are_one_devices(pair):
    one, several, texts, _, vector = pair
    first, second = one.activations(texts), several.activations(texts)
    assert all(map(torch.equal, first.hidden, second.hidden))
    np.testing.assert_array_equal(one.scores(vector, first), several.scores(vector, second))


def test_a_round_of_several_steps_is_one_devices_whatever_the_timing(pair, terms, monkeypatch):
    one, several, texts, labels, vector = pair
    bounded = terms(steps=3, noise_multiplier=1.0, sampling_rate=0.7, clipping_norm=0.3)
    slow = Learner.losses

    def uneven(self, batch, labels):
        if self is not several:
            torch.randn(200, 200) @ torch.randn(200, 200)
        return slow(self, batch, labels)

    def updated(learner):
        return train_round(
            learner, vector=vector, activations=learner.activations(texts), labels=labels,
            terms=bounded, noise=NoiseSource.fixed(b"devices"),
        ).update  # fmt: skip

    expected = updated(one)
    np.testing.assert_array_equal(updated(several), expected)
    monkeypatch.setattr(Learner, "losses", uneven)
    np.testing.assert_array_equal(updated(several), expected)


def test_every_device_computes_and_what_must_be_alone_goes_to_the_first():
    shape = shape_for(9, rows=16, positions=64)
    batches = [
        Batch(rows=np.array([number]), hidden=(), shape=ALONE if number % 3 == 0 else shape)
        for number in range(12)
    ]
    threads: dict[str, int] = {}

    def compute(device, batch):
        # One thread for each device, whatever the other does.
        assert threads.setdefault(device, threading.get_ident()) == threading.get_ident()
        return device

    for _ in range(3):
        threads.clear()
        done = [(int(batch.rows[0]), device) for batch, device in across("ab", batches, compute)]
        assert [number for number, _ in done] == list(range(12))
        assert all(device == "a" for number, device in done if number % 3 == 0)
        rest = [device for number, device in done if number % 3]
        assert rest == ["a", "b"] * 4
        assert len(set(threads.values())) == len(threads) == 2


def test_a_device_that_computes_other_bits_is_refused_before_any_record(tmp_path):
    folder = save_tiny(tmp_path, "bert")
    charter = charter_for(folder, "bert")
    learner = Learner(charter, model_dir=folder, compute=Compute(devices=("cpu", "cpu")))
    with torch.no_grad():
        weight = learner.replicas[0]._pristine.model.get_parameter(
            next(n for n, p in learner.replicas[0]._pristine.model.named_parameters()
                 if "dense.weight" in n)
        )  # fmt: skip
        weight *= 1.0 + 1e-6
    with pytest.raises(ModelError, match=r"do not compute the same bits.*nothing was computed"):
        learner.activations(["a b c"])


def test_the_self_test_reads_each_devices_parameters(tmp_path, terms):
    folder = save_tiny(tmp_path, "bert")
    learner = Learner(
        charter_for(folder, "bert"), model_dir=folder, compute=Compute(devices=("cpu", "cpu"))
    )
    texts = ["a b", "c d e", "f", "g h i j"]
    labels = np.array([0, 1, 0, 1], dtype=np.int8)
    assert self_test(learner, learner.activations(texts), labels, terms=terms()).records == 4
    broken = learner.replicas[0]
    name, parameter = next(iter(broken.parameters.items()))
    parameter.data = parameter.data.clone()
    with pytest.raises(TrainingError):
        self_test(learner, learner.activations(texts), labels, terms=terms())
    assert name in broken.parameters


@pytest.mark.slow
def test_dp_check_holds_every_check_on_all_devices(tmp_path):
    folder = save_tiny(tmp_path, "bert")
    found = check_charter(charter_for(folder, "bert"), model_dir=folder, devices=("cpu", "cpu"))
    assert len(found) > 5 and all(check.passed for check in found), found


def test_dp_check_refuses_devices_that_cannot_work_together(tmp_path):
    folder = save_tiny(tmp_path, "bert")
    (refused,) = check_charter(charter_for(folder, "bert"), model_dir=folder, devices=("cuda:0",))
    assert not refused.passed and "not of the kind" in refused.detail


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"devices": ["cuda:0", "cuda:1"]}, "not of the kind device = 'cpu'"),
        ({"device": "cuda", "devices": ["cuda:0", "cuda:0"]}, "listed twice"),
        ({"devices": ["cpu", "cpu"], "batches": "alone"}, "one record after the other"),
        ({"devices": []}, "devices: must not be empty"),
        ({"device": "cuda", "devices": ["cuda"]}, "does not match"),
    ],
)
def test_devices_that_cannot_work_together_are_refused_by_name(table, said):
    problems: list[str] = []
    documents.read(Compute, table, path="compute", problems=problems)
    assert any(said in problem for problem in problems), problems


def test_a_policy_without_devices_is_written_as_it_was():
    assert "devices" not in documents.document(Compute())
    assert Compute(device="cuda").places == ("cuda",)


@pytest.mark.skipif(torch.cuda.device_count() >= 9, reason="here are nine GPUs")
def test_a_device_that_is_not_here_is_named(tmp_path):
    folder = save_tiny(tmp_path, "bert")
    compute = Compute(device="cuda", devices=("cuda:0", "cuda:8"))
    with pytest.raises(ModelError, match=r"cuda"):
        Learner(charter_for(folder, "bert"), model_dir=folder, compute=compute)


def test_the_proof_between_devices_says_no_where_it_cannot_be_tried(tmp_path, monkeypatch):
    folder = save_tiny(tmp_path, "bert")
    learner = Learner(charter_for(folder, "bert"), model_dir=folder)

    def too_large(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(records_apart, "_numbers", too_large)
    shape = dataclasses.replace(shape_for(9, rows=16, positions=64))
    assert not records_apart.is_same(learner, learner, shape)
