"""Made-up records are worded as a site's are, repeat, and fit every column that a charter has."""

import dataclasses

import numpy as np

from fedethics.charter.data_terms import Column
from fedethics.charter.document import load
from fedethics.training.check_bench import sample_records


def test_made_up_records_are_worded_by_the_charter_and_differ_in_length(root):
    terms = load(root / "configs" / "heart.charter.toml").data
    texts, labels = sample_records(terms, 12)
    assert (texts, labels.tolist()) == (sample_records(terms, 12)[0], [0, 1] * 6)
    assert len(set(texts)) == 12
    assert all("years old" in text for text in texts)
    assert "cholesterol" in texts[0]
    assert "cholesterol" not in texts[1]


def test_free_text_stays_within_what_the_charter_reads(root):
    terms = load(root / "configs" / "heart.charter.toml").data
    note = Column(name="note", kind="text", phrase="{value}", max_chars=20)
    texts, _ = sample_records(dataclasses.replace(terms, columns=(note,)), 30)
    lengths = [len(text) for text in texts]
    assert max(lengths) <= 20
    assert np.ptp(lengths) > 0
