"""The opened sum equals the integer sum of the survivors' vectors, whoever drops and when."""

import numpy as np
import pytest

from fedethics.errors import SecaggAbort, SecaggReject
from fedethics.secagg.masking import CHUNK_BYTES
from tests.secagg.federation import Federation, random_vectors, run_round, spec_of

STAGES = ("share", "masked", "confirm", "reveal")


def integer_sum(vectors, names):
    return np.sum([vectors[name] for name in names], axis=0)


@pytest.mark.parametrize("mode", ["strict", "fast"])
@pytest.mark.parametrize("sites", [3, 4, 7])
def test_every_site_present_opens_the_exact_sum_everywhere(tmp_path, sites, mode):
    federation = Federation(tmp_path, sites, mode=mode)
    federation.join()
    spec = spec_of()
    vectors = random_vectors(federation.names, spec)
    opened, results = run_round(federation, federation.open(spec), vectors, spec)
    expected = integer_sum(vectors, federation.names)
    assert opened.total.dtype == np.int64
    assert np.array_equal(opened.total, expected)
    assert opened.survivors == tuple(federation.names) and opened.dropped == {}
    assert len(results) == sites
    for result in results.values():
        assert np.array_equal(result.total, expected)
        assert result.survivors == opened.survivors


@pytest.mark.parametrize(
    ("mode", "stage"),
    [("strict", stage) for stage in STAGES]
    + [("fast", stage) for stage in STAGES if stage != "confirm"],
)
@pytest.mark.parametrize("bits", [16, 32, 64])
def test_a_drop_at_any_stage_leaves_the_sum_of_the_survivors(tmp_path, stage, bits, mode):
    federation = Federation(tmp_path, 7, mode=mode)
    federation.join()
    spec = spec_of(bits=bits, bound=2 ** (bits - 1) // 8)
    vectors = random_vectors(federation.names, spec, seed=bits)
    gone = {"site-00", "site-04"}
    opened, _ = run_round(federation, federation.open(spec), vectors, spec, drops={stage: gone})
    in_the_sum = (
        set(federation.names) if stage in {"confirm", "reveal"} else set(federation.names) - gone
    )
    assert set(opened.survivors) == in_the_sum
    assert np.array_equal(opened.total, integer_sum(vectors, opened.survivors))
    assert opened.dropped == dict.fromkeys(gone, stage)


def test_drops_at_every_stage_at_once_still_open_the_exact_sum(tmp_path):
    federation = Federation(tmp_path, 13, colluders=0)
    federation.join()
    spec = spec_of(length=17)
    vectors = random_vectors(federation.names, spec)
    drops = {stage: [federation.names[3 * k]] for k, stage in enumerate(STAGES)}
    opened, _ = run_round(federation, federation.open(spec), vectors, spec, drops=drops)
    assert opened.dropped == {names[0]: stage for stage, names in drops.items()}
    assert np.array_equal(opened.total, integer_sum(vectors, opened.survivors))
    assert len(opened.survivors) == 11


@pytest.mark.parametrize("bits", [16, 32, 64])
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_lengths_around_chunk_borders_sum_exactly(tmp_path, bits, offset):
    federation = Federation(tmp_path, 4)
    federation.join()
    spec = spec_of(length=CHUNK_BYTES * 8 // bits + offset, bits=bits, bound=100)
    vectors = random_vectors(federation.names, spec)
    opened, _ = run_round(
        federation, federation.open(spec), vectors, spec, drops={"masked": ["site-01"]}
    )
    assert np.array_equal(opened.total, integer_sum(vectors, opened.survivors))


@pytest.mark.parametrize("bits", [16, 32, 64])
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_largest_vectors_that_fit_do_not_wrap(tmp_path, bits, sign, length):
    federation = Federation(tmp_path, 3)
    federation.join()
    spec = spec_of(length=length, bits=bits, bound=(2 ** (bits - 1) - 1) // 3)
    vectors = {name: np.full(length, sign * spec.bound) for name in federation.names}
    opened, _ = run_round(federation, federation.open(spec), vectors, spec)
    assert opened.total.tolist() == [3 * sign * spec.bound] * length


# Of every remainder that word size, length and mode go by; all others in the exhaustive tests.
_MANY = (11, 16, 22, 29, 37, 50)


@pytest.mark.parametrize(
    "sites",
    [
        *range(3, 11),
        *(
            pytest.param(n, marks=pytest.mark.slow if n in _MANY else pytest.mark.exhaustive)
            for n in range(11, 51)
        ),
    ],
)
def test_drops_at_every_stage_sum_exactly_for_any_number_of_sites(tmp_path, sites):
    """As many drops as the rule allows, spread over all stages; word size and length vary."""
    bits = (16, 32, 64)[sites % 3]
    border = CHUNK_BYTES * 8 // bits
    length = (1, 7, border - 1, border, border + 1)[sites % 5]
    federation = Federation(tmp_path, sites, mode="strict" if sites % 4 else "fast")
    federation.join()
    spec = spec_of(length=length, bits=bits, bound=(2 ** (bits - 1) - 1) // sites)
    vectors = random_vectors(federation.names, spec, seed=sites)
    gone = [name for k, name in enumerate(federation.names) if k % 3 == 1]
    spare = sites - federation.terms.smallest_sum(sites)
    stages = [stage for stage in STAGES if federation.terms.mode == "strict" or stage != "confirm"]
    drops = {stage: gone[k : spare : len(stages)] for k, stage in enumerate(stages)}
    opened, results = run_round(federation, federation.open(spec), vectors, spec, drops=drops)
    lost = {*drops["share"], *drops["masked"]}
    assert set(opened.survivors) == set(federation.names) - lost
    assert opened.dropped == {name: stage for stage, names in drops.items() for name in names}
    expected = integer_sum(vectors, opened.survivors)
    assert np.array_equal(opened.total, expected)
    assert all(np.array_equal(result.total, expected) for result in results.values())


def test_a_sum_that_could_wrap_is_never_opened(tmp_path):
    federation = Federation(tmp_path, 4)
    federation.join()
    with pytest.raises(SecaggAbort, match="could wrap"):
        federation.open(spec_of(bits=16, bound=2**13))


def test_too_many_drops_keep_the_sum_closed(tmp_path):
    federation = Federation(tmp_path, 7)
    federation.join()
    spec = spec_of()
    session = federation.open(spec)
    for name in federation.names[:4]:
        vector = np.zeros(spec.length, dtype=np.int64)
        session.add_share(federation.sites[name].share(session.open_message, vector, spec=spec))
    with pytest.raises(SecaggAbort, match="4 of 7"):
        session.forward()


def test_a_count_task_opens_only_with_the_whole_cohort(tmp_path):
    federation = Federation(tmp_path, 7)
    federation.join()
    spec = spec_of(whole=True, name="fairness")
    vectors = random_vectors(federation.names, spec)
    for stage in ("share", "masked"):
        with pytest.raises(SecaggAbort, match="whole cohort, missing site-03"):
            run_round(federation, federation.open(spec), vectors, spec, drops={stage: ["site-03"]})
    opened, _ = run_round(federation, federation.open(spec), vectors, spec)
    assert np.array_equal(opened.total, integer_sum(vectors, federation.names))


@pytest.mark.parametrize(
    ("vector", "reason"),
    [
        (np.array([0, 0, 0, 0, 1001]), "exceeds the bound"),
        (np.array([0, 0, 0, 0, -1001]), "exceeds the bound"),
        (np.array([0, 0, 0, 0, -(2**63)]), "exceeds the bound"),
        (np.array([0, 0, 0, 0]), "shape"),
        (np.zeros((5, 1), dtype=np.int64), "shape"),
        (np.zeros(5), "float64"),
    ],
)
def test_a_vector_that_does_not_fit_its_task_never_leaves(tmp_path, vector, reason):
    federation = Federation(tmp_path, 3)
    federation.join()
    spec = spec_of()
    session = federation.open(spec)
    with pytest.raises(SecaggReject, match=reason) as caught:
        federation.sites["site-00"].share(session.open_message, vector, spec=spec)
    assert "1001" not in str(caught.value)
    # Nothing was stored: a proper vector is still welcome.
    session.add_share(
        federation.sites["site-00"].share(
            session.open_message, np.zeros(5, dtype=np.int64), spec=spec
        )
    )


def test_a_new_process_takes_over_between_any_two_messages(tmp_path):
    federation = Federation(tmp_path, 4)

    class FreshSites(dict):
        def __getitem__(self, name):
            return federation.restarted(name)

    federation.sites = FreshSites.fromkeys(federation.names)
    federation.join()
    spec = spec_of()
    vectors = random_vectors(federation.names, spec)
    for round_number in range(3):
        opened, results = run_round(federation, federation.open(spec, round_number), vectors, spec)
        assert np.array_equal(opened.total, integer_sum(vectors, federation.names))
        assert len(results) == 4
