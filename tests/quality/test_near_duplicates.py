"""Near duplicates are those that a loop over all pairs finds; benchmark items are recognised."""

from itertools import product

import numpy as np
import pytest

from fedethics.benchmarks.benchmark import Facts, Item
from fedethics.errors import DataError
from fedethics.quality.benchmark_overlap import overlap
from fedethics.quality.near_duplicates import RUN, near_duplicates, require_memory, words

VOCABULARY = [f"w{n}" for n in range(400)]


def runs(text):
    said = words(text)
    return {tuple(said[i : i + RUN]) for i in range(max(1, len(said) - RUN + 1))}


def jaccard(one, other):
    return len(runs(one) & runs(other)) / len(runs(one) | runs(other))


def notes(count, seed):
    """Texts of 60 words; half of them are an earlier one with up to three words replaced."""
    rng = np.random.default_rng(seed)
    made = []
    for n in range(count):
        if n % 2 and made:
            said = made[rng.integers(len(made))].split()
            for place in rng.integers(60, size=rng.integers(4)):
                said[place] = str(rng.choice(VOCABULARY))
        else:
            said = [str(word) for word in rng.choice(VOCABULARY, size=60)]
        made.append(" ".join(said))
    return made


def test_what_is_found_is_what_a_loop_over_all_pairs_finds():
    texts = notes(160, seed=4)
    train, held_out = texts[:100], texts[100:]
    repeats, expected = set(), []
    for place, text in enumerate(texts):
        for other in range(place):
            across = place >= len(train) > other
            if (across or other not in repeats) and jaccard(text, texts[other]) >= 0.8:
                repeats.add(place)
                expected.append((place, other, across))
                break
    found = near_duplicates(train, held_out, threshold=0.8)
    assert [place for place, _, _ in expected] == [one.record for one in found]
    assert len(found) > 40 and any(one.across for one in found)
    for one in found:
        assert one.similarity == pytest.approx(jaccard(texts[one.record], texts[one.other]))
        assert one.across == (one.record >= len(train) > one.other)


def test_with_all_that_was_found_left_out_no_pair_is_left():
    texts = notes(120, seed=5)
    found = {one.record for one in near_duplicates(texts[:80], texts[80:])}
    left = [text for place, text in enumerate(texts) if place not in found]
    assert all(
        jaccard(left[i], left[j]) < 0.8 for i, j in product(range(len(left)), repeat=2) if i < j
    )


def test_case_and_punctuation_do_not_hide_a_copy_and_empty_texts_are_none():
    (one,) = near_duplicates(["The man, aged 60, fell.", ""], ["the MAN aged 60 fell", "", "..."])
    assert (one.record, one.other, one.similarity, one.across) == (2, 0, 1.0, True)


def test_texts_that_need_more_memory_than_allowed_are_refused_with_what_they_need():
    with pytest.raises(DataError, match=r"needs about .* MiB, more than the 1 MiB allowed"):
        require_memory(["word " * 20] * 1000, mebibytes=1)


def item(name, prompt, *choices):
    return Item(facts=Facts(id=name, slices=(), unit=name), prompt=prompt, choices=choices)


ITEMS = (
    item("long", "I saw a grandson and their grandfather last week outside the Walmart.", " no"),
    item("short", "", "Women can never drive well", "Men can never drive well"),
    item("tiny", "", "too short"),
)


@pytest.mark.parametrize(
    ("text", "hit"),
    [
        ("note: i saw a Grandson and their grandfather, last week; then left", 1),
        ("I saw a grandson and then their grandfather last week outside", 0),
        ("He said women can never drive well, of course", 1),
        ("women can never drive", 0),
        ("too short", 0),
    ],
)
def test_a_record_with_eight_words_of_an_item_or_all_of_a_short_one_overlaps(text, hit):
    found = overlap(["something else of some other person here today", text], "made-up", ITEMS)
    assert found.records == ((1,) if hit else ())
    assert (found.items, found.of) == (hit, 2)
