"""Numbers that a charter or a policy may name are those for which the arithmetic stays true."""

from __future__ import annotations

import dataclasses
import math
import typing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedethics import terms
from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.charter.privacy_terms import LARGEST_NORM, SMALLEST_NORM
from fedethics.errors import AccountingError, CharterError, TrainingError
from fedethics.policy.model import Policy
from fedethics.privacy.plan import make_plan
from fedethics.training.local_terms import Adaptive, LocalTerms
from tests.privacy.charters import HEART, UNAUDITED, with_terms

# In the units of a column or a metric; nothing is divided by them.
MEASURED = {"data.columns.minimum", "data.columns.maximum", "data.sensitive.edges",
            "ethics.objectives.bar"}  # fmt: skip


def numbers(cls, path=""):
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        hint, where = hints[field.name], f"{path}.{field.name}".lstrip(".")
        if typing.get_origin(hint) is tuple:
            hint = typing.get_args(hint)[0]
        if dataclasses.is_dataclass(hint):
            yield from numbers(hint, where)
        elif hint is float:
            yield where, field


@pytest.mark.parametrize("cls", [Charter, Policy])
def test_every_number_has_a_smallest_and_a_largest_value(cls):
    found = dict(numbers(cls))
    assert len(found) >= 5
    for where, field in found.items():
        bounds = field.metadata
        low = bounds["above"] is not None or bounds["at_least"] is not None
        high = bounds["below"] is not None or bounds["at_most"] is not None
        assert (low and high) or where in MEASURED, where


def local(**changes):
    usual = {"steps": 1, "sampling_rate": 0.5, "clipping_norm": 1.0, "noise_multiplier": 1.0,
             "expected_batch": 4.0, "optimizer": "sgd", "learning_rate": 0.1}  # fmt: skip
    return LocalTerms(**(usual | changes))


TINY = [0.0, 5e-324, 7e-16, 1e-14, SMALLEST_NORM * (1 - 1e-9), -1.0, math.nan]
HUGE = [LARGEST_NORM * (1 + 1e-9), 1e30, 1e308]


@pytest.mark.parametrize("norm", TINY + HUGE)
def test_a_norm_at_which_clipping_would_not_clip_is_refused_by_charter_and_by_training(norm):
    with pytest.raises(TrainingError):
        local(clipping_norm=norm)
    if math.isnan(norm):
        return
    charter = with_terms(document.load(HEART), training={"clipping_norm": norm})
    with pytest.raises(CharterError, match="clipping-norm"):
        document.parse(document.encode(charter))


@given(
    norm=st.floats(SMALLEST_NORM, LARGEST_NORM),
    length=st.floats(1e-30, 1e30),
)
@settings(max_examples=300)
def test_the_factor_that_clips_any_gradient_to_a_legal_norm_is_a_number_of_full_precision(
    norm, length
):
    local(clipping_norm=norm)
    factor = np.float32(min(1.0, norm * (1 - 1e-6) / length))
    assert factor >= np.finfo(np.float32).tiny
    assert float(factor) * length <= norm or length <= norm


@given(
    start=st.floats(SMALLEST_NORM, LARGEST_NORM),
    draws=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=80),
    rate=st.floats(1e-6, 2),
)
@settings(max_examples=200)
def test_an_adaptive_norm_never_walks_out_of_the_legal_norms(start, draws, rate):
    adaptive = Adaptive(quantile=0.5, rate=rate, share=0.05)
    norm = start
    for draw in draws:
        norm = adaptive.next_norm(norm, short=0, units=3, expected=2.0, draw=draw)
        assert SMALLEST_NORM <= norm <= LARGEST_NORM
        local(clipping_norm=norm, adaptive=adaptive)


def test_a_norm_that_only_ever_halves_ends_at_the_smallest():
    adaptive, norm = Adaptive(quantile=0.01, rate=2.0, share=0.05), 1.0
    for _ in range(200):
        norm = adaptive.next_norm(norm, short=4, units=4, expected=4.0, draw=1e5)
    assert norm == SMALLEST_NORM


EXTREMES = [
    ("privacy.delta", 1e-12),
    ("privacy.delta", 1e-13),
    ("privacy.delta", 5e-324),
    ("privacy.training.epsilon", 1e-3),
    ("privacy.training.epsilon", 1e-300),
    ("privacy.training.epsilon", 1e3),
    ("privacy.training.epsilon", 1e300),
    ("privacy.training.sampling-rate", 1e-6),
    ("privacy.training.sampling-rate", 1e-18),
    ("privacy.training.sampling-rate", 1.0),
    ("privacy.evaluation.epsilon", 1e-300),
    ("privacy.evaluation.epsilon", 1e3),
    ("privacy.evaluation.counts-ratio", 0.01),
    ("privacy.evaluation.counts-ratio", 1e-200),
    ("secagg.clip", 1e300),
    ("secagg.scale", 1e300),
    ("secagg.scale", 1e-300),
    ("training.learning-rate", 1e300),
    ("training.server-learning-rate", 5e-324),
    ("adapter.alpha", 1e300),
]


@pytest.mark.parametrize(("key", "value"), EXTREMES)
def test_an_extreme_number_is_refused_by_name_or_keeps_the_promise(key, value):
    charter = with_terms(document.load(HEART), audit=UNAUDITED)
    table = terms.document(charter)
    *parents, last = key.split(".")
    inner = table
    for parent in parents:
        inner = inner[parent]
    inner[last] = value
    problems: list[str] = []
    read = terms.read(Charter, table, path="", problems=problems)
    if problems:
        assert any(line.startswith(key) for line in problems)
        return
    try:
        plan = make_plan(read)
    except AccountingError:
        return  # no noise is enough, and it says so
    assert plan.training.epsilon <= read.privacy.training.epsilon
    assert plan.evaluation.epsilon <= read.privacy.evaluation.epsilon
    assert 0 < plan.update.noise_multiplier < math.inf
