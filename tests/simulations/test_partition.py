import collections
import dataclasses
import json

import numpy as np
import pytest

from fedethics.errors import RunError
from fedethics.simulation.partition import Partitioner, Taker, deal, prepare, read_csv, write_csv
from simulations.datasets.dataset import ALL, SOURCE

ROWS = [{"id": str(n), "label": str(int(n % 4 == 0)), "city": "ABC"[n % 3]} for n in range(4000)]
SITES = [Taker(name=f"site-{n}") for n in range(5)]
BY_HASH = Partitioner(kind="by-hash", key="k")
SKEWED = Partitioner(kind="dirichlet", column="label", alpha=0.5, key="k")
CITIES = Partitioner(kind="by-column", column="city", key="k")
HOLDERS = [Taker(name="first", holds=("A", "C")), Taker(name="second", holds=("B",))]


def ids(dealt):
    return {name: {row["id"] for row in rows} for name, rows in dealt.items()}


@pytest.mark.parametrize(
    ("partition", "takers"), [(BY_HASH, SITES), (SKEWED, SITES), (CITIES, HOLDERS)]
)
def test_every_record_has_one_site_and_adding_one_moves_no_other(partition, takers):
    whole, fewer = (ids(deal(rows, partition, takers)) for rows in (ROWS, ROWS[100:]))
    assert sorted(n for site in whole.values() for n in site) == sorted(r["id"] for r in ROWS)
    assert all(fewer[name] <= whole[name] for name in whole)


def test_sites_by_hash_are_alike():
    dealt = deal(ROWS, BY_HASH, SITES)
    for rows in dealt.values():
        assert len(rows) == pytest.approx(800, abs=5 * np.sqrt(640))
        assert np.mean([row["label"] == "1" for row in rows]) == pytest.approx(0.25, abs=0.08)


def test_a_small_alpha_makes_sites_unlike_and_a_large_one_alike():
    def spread(alpha):
        dealt = deal(ROWS, dataclasses.replace(SKEWED, alpha=alpha), SITES)
        return np.std([np.mean([row["label"] == "1" for row in rows]) for rows in dealt.values()])

    assert spread(0.5) > 0.1 > 0.03 > spread(1000.0)


def test_the_shares_of_each_value_follow_the_dirichlet_distribution():
    # Mean and variance of a share of Dirichlet(alpha, ..., alpha) over n sites: 1/n and
    # (n - 1) / (n^2 (n alpha + 1)); many values, each with its own draw.
    rows = [{"id": str(n), "value": str(n % 300)} for n in range(30_000)]
    partition = Partitioner(kind="dirichlet", column="value", alpha=1.0, key="k")
    dealt = deal(rows, partition, SITES)
    counts = [collections.Counter(row["value"] for row in dealt[site.name]) for site in SITES]
    shares = np.array([[count[str(value)] / 100 for count in counts] for value in range(300)])
    n, alpha = len(SITES), 1.0
    variance = (n - 1) / (n**2 * (n * alpha + 1))
    sampling = (1 / n - variance - 1 / n**2) / 100
    assert shares.mean(axis=0) == pytest.approx([1 / n] * n, abs=0.05)
    assert shares.var() == pytest.approx(variance + sampling, rel=0.15)


def test_keep_uses_about_its_share_whoever_else_is_there():
    some = dataclasses.replace(BY_HASH, keep=0.25)
    kept = set().union(*ids(deal(ROWS, some, SITES)).values())
    assert len(kept) == pytest.approx(1000, abs=5 * np.sqrt(750))
    assert set().union(*ids(deal(ROWS[:500], some, SITES)).values()) <= kept


def test_another_key_is_another_partition():
    other = dataclasses.replace(BY_HASH, key="other")
    assert ids(deal(ROWS, BY_HASH, SITES)) != ids(deal(ROWS, other, SITES))


@pytest.mark.parametrize(
    ("partition", "takers", "said"),
    [
        (dataclasses.replace(SKEWED, column="town"), SITES, "no column 'town'"),
        (CITIES, HOLDERS[:1], "no site holds a value of city"),
        (CITIES, [*HOLDERS, Taker(name="third", holds=("A",))], "held by two sites"),
        (CITIES, [*HOLDERS, Taker(name="third", holds=("D",))], "no record is left for third"),
    ],
)
def test_a_partition_that_cannot_be_is_refused_with_its_reason(partition, takers, said):
    with pytest.raises(RunError, match=said):
        deal(ROWS, partition, takers)


@pytest.mark.parametrize(
    ("kind", "column"), [("by-hash", "label"), ("dirichlet", ""), ("by-column", "")]
)
def test_a_column_goes_with_the_kinds_that_use_one(kind, column):
    assert Partitioner(kind=kind, column=column, key="k").problems()


@pytest.fixture
def data_dir(tmp_path):
    (tmp_path / ALL).write_bytes(write_csv(ROWS, tuple(ROWS[0])))
    (tmp_path / SOURCE).write_text(json.dumps({"files": {}}))
    return tmp_path


def test_files_are_dealt_once_for_the_same_terms_and_anew_for_others(data_dir):
    first = prepare(BY_HASH, SITES, dataset="d", data_dir=data_dir)
    expected = deal(ROWS, BY_HASH, SITES)
    for site in SITES:
        assert read_csv((first / f"{site.name}.csv").read_bytes()) == expected[site.name]
    changed = (first / "site-0.csv").stat().st_mtime_ns
    assert prepare(BY_HASH, SITES, dataset="d", data_dir=data_dir) == first
    assert (first / "site-0.csv").stat().st_mtime_ns == changed
    other = dataclasses.replace(BY_HASH, keep=0.5)
    assert prepare(other, SITES, dataset="d", data_dir=data_dir) != first
    (data_dir / SOURCE).write_text(json.dumps({"files": {"all.csv": "another"}}))
    assert prepare(BY_HASH, SITES, dataset="d", data_dir=data_dir) != first


def test_a_data_set_that_is_not_there_is_named_with_how_to_get_it(tmp_path):
    with pytest.raises(RunError, match=r"simulations\.datasets fetch compas"):
        prepare(BY_HASH, SITES, dataset="compas", data_dir=tmp_path / "absent")
