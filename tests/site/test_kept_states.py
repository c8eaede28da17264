"""States of frozen layers are kept for training records only where they are visited twice."""

import dataclasses
from types import SimpleNamespace

import pytest

from fedethics.charter.document import load
from fedethics.policy.model import Compute
from fedethics.site import records
from fedethics.site.workbench import Workbench
from tests.privacy.charters import HEART


class Model:
    """A learner that says what it was asked for."""

    compute = Compute()

    def __init__(self, visits, *, compares=False):
        self.visits, self.compares = visits, compares
        self.states_key = f"a model with {visits} visits, {compares}"

    def tokens(self, texts):
        return "ids", texts

    def activations(self, texts, *, records):
        return "states", texts


@pytest.mark.parametrize(("visits", "kept"), [(0.5, "ids"), (1.99, "ids"), (2.0, "states")])
def test_training_records_are_kept_from_two_visits_on_and_held_out_ones_always(visits, kept):
    train, held_out = SimpleNamespace(texts=("a",)), SimpleNamespace(texts=("b",))
    bench = Workbench(SimpleNamespace(train=train, held_out=held_out), Model(visits))
    assert bench.activations(train) == (kept, ("a",))
    assert bench.activations(held_out) == ("states", ("b",))


def test_what_a_loss_compares_with_is_computed_however_seldom_a_record_is_visited():
    train = SimpleNamespace(texts=("a",))
    bench = Workbench(SimpleNamespace(train=train, held_out=None), Model(0.5, compares=True))
    assert bench.activations(train) == ("states", ("a",))


def test_visits_follow_from_the_charter_alone():
    heart = load(HEART)
    training = dataclasses.replace(heart.training, rounds=3, local_steps=5)
    privacy = dataclasses.replace(
        heart.privacy, training=dataclasses.replace(heart.privacy.training, sampling_rate=0.2)
    )
    charter = dataclasses.replace(heart, training=training, privacy=privacy)
    assert charter.visits == pytest.approx(3.0)


def test_of_a_file_the_newest_state_is_kept_only_under_any_charter(tmp_path, monkeypatch):
    """A person who was deleted from the file is not in memory any more."""
    kept = (records._Newest(), records._Newest())
    read = []
    monkeypatch.setattr(records, "_BY_CHARTER", kept[0])
    monkeypatch.setattr(records, "_BY_TERMS", kept[1])
    monkeypatch.setattr(
        records, "read_records", lambda file, *_, **__: read.append(file) or file.path.read_text()
    )
    monkeypatch.setattr(records, "split", lambda found, _terms: found)
    one, other = load(HEART), load(HEART)
    salted = dataclasses.replace(other, data=dataclasses.replace(other.data, split_salt="else/1"))
    path, second = tmp_path / "d.csv", tmp_path / "e.csv"
    path.write_text("ana, bo")
    second.write_text("cy")
    for charter in (one, salted, one, salted):
        assert records.site_records(path, charter) == "ana, bo"
    assert records.site_records(second, one) == "cy" and len(read) == 3
    path.write_text("bo")
    assert records.site_records(path, one) == "bo"
    assert [{found for _, _, found in each._kept.values()} for each in kept] == [{"bo", "cy"}] * 2
