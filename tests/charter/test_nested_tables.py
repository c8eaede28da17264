"""`privacy.evaluation.tables`: what it does to layout, cost, length and hash of a charter."""

import dataclasses
from pathlib import Path

import pytest

from fedethics.aggregates.noise import Account
from fedethics.charter import document
from fedethics.charter_sums import layout_of
from fedethics.errors import CharterError
from fedethics.privacy.plan import make_plan

CONFIGS = Path(__file__).parents[2] / "configs"


def with_tables(charter, **changes):
    evaluation = dataclasses.replace(charter.privacy.evaluation, **changes)
    return dataclasses.replace(
        charter, privacy=dataclasses.replace(charter.privacy, evaluation=evaluation)
    )


@pytest.fixture(scope="module")
def crossed():
    heart = document.load(CONFIGS / "heart.charter.toml")
    return with_tables(heart, tables=None, bins=64)


def asking(charter, *features):
    gap = next(one for one in charter.ethics.objectives if one.feature)
    objectives = tuple(dataclasses.replace(gap, feature=feature) for feature in features)
    ethics = dataclasses.replace(charter.ethics, objectives=objectives)
    return dataclasses.replace(charter, ethics=ethics)


def test_a_charter_without_the_key_keeps_its_bytes_and_its_tables(crossed):
    assert b'"tables"' not in document.encode(crossed)
    layout = layout_of(crossed)
    assert (layout.count_blocks, layout.score_blocks) == (((0, 1),), 1)
    assert layout_of(with_tables(crossed, tables="crossed")) == layout


@pytest.mark.parametrize(
    ("features", "blocks"),
    [
        (("sex",), (("sex",), ("age_band",))),
        (("sex", "age_band*sex"), (("sex", "age_band"),)),
        ((), (("sex",), ("age_band",))),
    ],
)
def test_features_are_counted_alone_and_intersections_that_are_asked_for(crossed, features, blocks):
    nested = asking(with_tables(crossed, tables="nested"), *features)
    assert layout_of(nested).counted_by == blocks


def test_every_block_is_one_release_that_the_account_pays(crossed):
    nested = with_tables(crossed, tables="nested")
    layout, plan = layout_of(nested), make_plan(nested)
    assert (len(layout.count_blocks), layout.score_blocks) == (2, 2)
    paid = plan.fairness.charge(Account.EVALUATION)
    counts, scores = paid[:2]
    # Two blocks of one kind cost what one costs that is released twice.
    once = plan.fairness.counts.event
    assert (counts.releases, scores.releases) == (2, 2) and counts == once
    epsilon = nested.privacy.evaluation.epsilon
    assert 0.98 * epsilon < plan.evaluation.epsilon <= epsilon
    # More releases at the same epsilon: more noise on each entry.
    assert plan.fairness.counts.std > make_plan(crossed).fairness.counts.std
    expected = (2 + 3) * 4 + 2 * 2 * 8 + 2 * 64
    assert layout.tables_length == expected


def test_bins_that_do_not_nest_are_refused_by_name(tmp_path):
    text = (CONFIGS / "credit.charter.toml").read_text(encoding="utf-8")
    path = tmp_path / "wrong.charter.toml"
    for bins in (96, 100):
        changed = text.replace("bins = 256 ", f"bins = {bins} ")
        assert changed != text
        path.write_text(changed, encoding="utf-8")
        with pytest.raises(CharterError, match=f"bins {bins}: .*nested.*64, 128, 256"):
            document.load(path)


def test_a_charter_without_finest_at_keeps_its_bytes_and_one_with_it_its_cuts(tmp_path):
    plain = document.load(CONFIGS / "heart.charter.toml")
    assert b"finest-at" not in document.encode(plain)
    assert layout_of(plain).fine_edges[1] == 1 / layout_of(plain).bins
    finest = with_tables(plain, tables="nested", bins=256, threshold=0.3, finest_at=0.95)
    again = document.parse(document.encode(finest))
    assert again == finest and document.hash_of(again) != document.hash_of(plain)
    edges = layout_of(again).fine_edges
    assert 0.3 in edges and sum(edge > 0.95 for edge in edges) in (127, 128)
    # As many entries, blocks and releases as with bins of equal width: the same noise.
    even = with_tables(finest, threshold=0.25, finest_at=None)
    assert make_plan(finest).fairness.histogram == make_plan(even).fairness.histogram


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("threshold = 0.3", "threshold 0.3 is not an edge of 64 bins.*set finest-at"),
        ("threshold = 0.3\nfinest-at = 1.0", r"finest-at: must be at most 0.999"),
        ("finest-at = 0.5\ntables = 'nested'\nbins = 100", "there are 64, 128"),
    ],
)
def test_cuts_that_cannot_be_are_refused_by_name(tmp_path, line, told):
    text = (CONFIGS / "compas.charter.toml").read_text(encoding="utf-8")
    kept = [one for one in text.splitlines() if not one.startswith(("threshold =", "bins ="))]
    place = kept.index("[privacy.evaluation]") + 1
    kept[place:place] = line.splitlines()
    path = tmp_path / "wrong.charter.toml"
    path.write_text("\n".join(kept), encoding="utf-8")
    with pytest.raises(CharterError, match=told):
        document.load(path)
