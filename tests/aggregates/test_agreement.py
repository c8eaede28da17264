"""Agreement of annotators: what one record moves, what alpha over all sites is, what it costs."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

from fedethics import terms as term_reader
from fedethics.aggregates.agreement import AGREEMENT, columns_of, groups_of
from fedethics.aggregates.agreement.alpha import alpha_of, entries, matrix_of, reach_of
from fedethics.aggregates.agreement.gate import everyone_of
from fedethics.aggregates.agreement.site import coincidence_steps, steps_by_group
from fedethics.aggregates.schedule import sum_specs, sums_of
from fedethics.charter import document
from fedethics.charter.annotation_terms import AnnotationTerms
from fedethics.charter.document import load
from fedethics.charter.model import Member
from fedethics.data.agreement import coincidences
from fedethics.data.records import Records
from fedethics.errors import AccountingError
from fedethics.policy.template import policy_text
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.plan import make_plan
from tests.privacy.charters import HEART, with_terms

LEVELS = ("nominal", "ordinal", "interval")


def annotation(seats=3, choices=3, /, **changes):
    told = {
        "annotators": tuple(f"a{number}" for number in range(seats)),
        "labels": tuple(str(number) for number in range(choices)),
        "guideline": "Label what is said.",
    }
    return AnnotationTerms(**(told | changes))


def beside(table, terms):
    """Columns as a site reads them, from rows of labels; "" for none."""
    return {
        column.name: np.array([column.place(row[place]) for row in table], dtype=np.int16)
        for place, column in enumerate(columns_of(terms))
    }


def steps_of(table, terms):
    return coincidence_steps(beside(table, terms), terms)


def by_hand(row, terms):
    """The steps that one record adds, pair by pair of its labels."""
    given = [terms.labels.index(one) for one in row if one]
    found = np.zeros((len(terms.labels), len(terms.labels)))
    for c, k in itertools.permutations(given, 2):
        found[c, k] += terms.steps / (len(given) - 1)
    return found[np.triu_indices(len(terms.labels))]


@pytest.mark.parametrize("annotators", [2, 3, 4, 5])
def test_no_record_moves_the_sum_by_more_than_its_sensitivity_and_some_do(annotators):
    terms = annotation(annotators)
    moved = []
    for row in itertools.product(("", *terms.labels), repeat=annotators):
        found = steps_of([row], terms)
        assert found.tolist() == by_hand(row, terms).tolist()
        moved.append(np.abs(found).sum())
        # And not by more in one entry, which is what the accountant takes for the worst.
        assert np.abs(found).max(initial=0) <= moved[-1] <= terms.sensitivity
    assert max(moved) == terms.sensitivity


def test_a_record_with_fewer_than_two_labels_adds_nothing():
    terms = annotation()
    assert not steps_of([("1", "", ""), ("", "", ""), ("", "2", "")], terms).any()


def test_seven_annotators_are_still_counted_in_whole_steps():
    terms = annotation(7, 2)
    for labels in range(2, 8):
        row = tuple("01"[place % 2] if place < labels else "" for place in range(7))
        assert steps_of([row], terms).sum() * 1.0 == by_hand(row, terms).sum()


def places(rng, terms, records, *, right=0.8, missing=0.1):
    """Columns of labels that annotators draw: the true one, or any."""
    true = rng.integers(0, len(terms.labels), records)
    guess = rng.integers(0, len(terms.labels), (records, len(terms.annotators)))
    label = np.where(rng.random(guess.shape) < right, true[:, None], guess)
    label[rng.random(guess.shape) < missing] = -1
    return dict(zip(terms.annotators, label.T.astype(np.int16), strict=True))


def drawn(rng, terms, records):
    columns = places(rng, terms, records).values()
    return [
        tuple("" if one < 0 else terms.labels[one] for one in row)
        for row in zip(*columns, strict=True)
    ]


@pytest.mark.parametrize("level", LEVELS)
def test_without_noise_alpha_of_the_sum_is_that_of_all_sites_records_pooled(level):
    terms = annotation(4, 3, level=level)
    rng = np.random.default_rng(1)
    sites = [drawn(rng, terms, records) for records in (60, 11, 140)]
    opened = sum(steps_of(table, terms) for table in sites)
    pooled = coincidences(itertools.chain(*sites), level=level, order=terms.labels)
    found = alpha_of(opened, terms, variance=0.0)
    assert found.value == pytest.approx(pooled.alpha())
    assert found.low < found.value < found.high
    for (c, k), count in pooled.pairs.items():
        square = matrix_of(opened, terms)
        assert square[terms.labels.index(c), terms.labels.index(k)] == pytest.approx(count)


@pytest.mark.parametrize(
    ("level", "annotators", "missing", "scale"),
    [("nominal", 2, 0.0, 0.0), ("nominal", 2, 0.0, 10.0), ("nominal", 4, 0.2, 5.0),
     ("ordinal", 3, 0.1, 5.0), ("interval", 2, 0.0, 5.0)],
)  # fmt: skip
def test_the_interval_covers_the_truth_as_often_as_it_says(level, annotators, missing, scale):
    terms = annotation(annotators, level=level)
    rng = np.random.default_rng(7)
    std = scale * terms.sensitivity
    pool = places(rng, terms, 60_000, missing=missing)
    truth = alpha_of(coincidence_steps(pool, terms), terms, variance=0.0).value
    covered, runs = 0, 300
    for run in range(runs):
        records = slice(run * 200, (run + 1) * 200)
        part = {name: column[records] for name, column in pool.items()}
        opened = coincidence_steps(part, terms)
        noised = opened + np.rint(rng.normal(0, std, opened.size)).astype(np.int64)
        found = alpha_of(noised, terms, variance=std**2)
        covered += found.low <= truth <= found.high
    assert covered / runs >= 0.915  # 0.95 less 2.8 standard errors of 300 runs


def test_noise_that_hides_the_labels_leaves_no_estimate_and_every_value_possible():
    terms = annotation(2, 2)
    opened = steps_of(drawn(np.random.default_rng(3), terms, 40), terms)
    found = alpha_of(opened, terms, variance=(40.0 * terms.sensitivity) ** 2)
    assert math.isnan(found.figure) and (found.low, found.high) == (-1.0, 1.0) and found.note


def test_full_agreement_among_few_records_is_not_taken_for_certainty():
    terms = annotation(2, 2)
    for records, sure in ((10, 0.2), (2000, 0.99)):
        opened = steps_of([("0", "0"), ("1", "1")] * (records // 2), terms)
        found = alpha_of(opened, terms, variance=0.0)
        assert found.value == 1.0 and found.low < 1.0
        assert (found.low > 0.99) == (sure > 0.5) and found.low > sure


def test_labels_that_never_vary_have_no_alpha():
    terms = annotation(2, 2)
    found = alpha_of(steps_of([("1", "1")] * 50, terms), terms, variance=0.0)
    assert math.isnan(found.value) and "vary too little" in found.note


@pytest.mark.parametrize("scale", [0.0, 4.0])
def test_what_the_planner_foretells_is_what_draws_show(scale):
    terms = annotation(2, 2, bar=0.7)
    variance = (scale * terms.sensitivity) ** 2
    passes, fails = reach_of(terms, records=1000, variance=variance)
    assert fails < 0.7 < passes
    rng = np.random.default_rng(11)
    for alpha, verdict in ((passes + 0.05, "pass"), (0.7, "open"), (fails - 0.05, "fail")):
        said = []
        for _ in range(40):
            # Two labels are the same by more than chance where both are the true one.
            opened = coincidence_steps(
                places(rng, terms, 1000, right=math.sqrt(alpha), missing=0.0), terms
            )
            noised = opened + np.rint(rng.normal(0, math.sqrt(variance), 3)).astype(np.int64)
            found = alpha_of(noised, terms, variance=variance)
            said.append("pass" if found.low >= 0.7 else "fail" if found.high < 0.7 else "open")
        assert said.count(verdict) >= 28, alpha


def test_a_plan_says_at_which_alpha_the_gate_will_pass_or_that_it_cannot():
    for terms, said in (
        (annotation(2, 2, bar=0.7, epsilon=1.0), "passes if alpha is about 0."),
        (annotation(2, 2, bar=0.7, epsilon=0.05), "cannot pass: with 758 records"),
    ):
        charter = asking(terms)
        ((term, words),) = AGREEMENT.foretold(charter, AGREEMENT.plan(charter, 0.0))
        assert term == "agreement, by the gate" and words.startswith(said)
    barless = asking(annotation(2, 2))
    assert not list(AGREEMENT.foretold(barless, AGREEMENT.plan(barless, 0.0)))


def asking(terms=None, **privacy):
    charter = with_terms(load(HEART), **privacy)
    roster = tuple(
        Member(site=f"s{number}", public_key=f"{number:064x}", declared_records=100)
        for number in range(1, 6)
    )
    return dataclasses.replace(
        charter, roster=roster, coordinator_key="f" * 64, annotation=terms or annotation()
    )


def test_the_sum_is_charged_to_both_accounts_within_their_epsilons():
    charter = asking(annotation(epsilon=0.5))
    plan = make_plan(charter)
    own = AGREEMENT.of(plan.sums)
    assert own.noise.event in plan.training.events and own.noise.event in plan.evaluation.events
    assert plan.training.epsilon <= charter.privacy.training.epsilon
    assert plan.evaluation.epsilon <= charter.privacy.evaluation.epsilon
    assert 0.48 < epsilon((own.noise.event,), delta=plan.delta) <= 0.5
    assert own.noise.event.sensitivity == charter.annotation.sensitivity == 6
    without = make_plan(dataclasses.replace(charter, annotation=None))
    assert plan.update.noise_multiplier > without.update.noise_multiplier
    assert plan.fairness.counts.std > without.fairness.counts.std


def test_the_noise_is_enough_for_the_account_that_trusts_fewer_sites():
    # Local training: each site hides its own; distributed evaluation: four of five sites do.
    assert AGREEMENT.plan(asking(), 0.0).noise.shares == 1
    both = asking(training={"trust_mode": "distributed"})
    both = dataclasses.replace(both, training=dataclasses.replace(both.training, local_steps=1))
    assert AGREEMENT.plan(both, 0.0).noise.shares == 4


def test_a_person_with_many_rows_moves_the_sum_by_all_of_them():
    charter = asking()
    data = dataclasses.replace(charter.data, person="id", max_rows_per_person=4)
    privacy = dataclasses.replace(charter.privacy, unit="person")
    several = dataclasses.replace(charter, data=data, privacy=privacy)
    assert AGREEMENT.plan(several, 0.0).noise.event.sensitivity == 24


def test_it_is_opened_once_before_the_first_step():
    charter = asking()
    due = list(sums_of(charter, make_plan(charter)))
    assert due[0] == ("agreement", 1) and due[1] == ("update", 1)
    assert [name for name, _ in due].count("agreement") == 1
    spec = sum_specs(charter, vector_length=10)["agreement"]
    assert spec.length == entries(3) == 6 and spec.whole_cohort


def test_a_charter_without_annotation_is_the_same_bytes_as_before_there_was_any():
    charter = load(HEART)
    assert charter.annotation is None and b"annotation" not in document.encode(charter)
    assert "agreement" not in make_plan(charter).sums
    assert AGREEMENT.permissions(charter) == AGREEMENT.columns(charter) == ()
    with pytest.raises(AccountingError, match="asks for no agreement"):
        AGREEMENT.of(make_plan(charter).sums)
    asked = dataclasses.replace(charter, annotation=annotation(bar=0.667))
    assert document.parse(document.encode(asked)) == asked


def test_a_new_policy_does_not_list_it_and_says_what_it_would_allow():
    lines = policy_text().splitlines()
    (listed,) = [line for line in lines if line.startswith("releases")]
    assert "agreement" not in listed
    assert 'Add "agreement" to' in policy_text()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"annotators": ("one",)}, "annotators: 1 of them; expected 2 to 7"),
        ({"annotators": tuple("abcdefgh")}, "annotators: 8 of them"),
        ({"annotators": ("one", "one")}, "annotators: one is listed twice"),
        ({"labels": ("1", "1.0")}, "labels: one is listed twice"),
        ({"labels": ("yes ", "no")}, "has a blank at an end"),
        ({"labels": ("yes", "no"), "level": "interval"}, 'level "interval" needs numbers'),
        ({"guideline": ""}, "guideline: give its text"),
        ({"guideline_sha256": "ab" * 32}, "guideline: give its text"),
    ],
)
def test_terms_that_nothing_could_be_counted_by_are_refused(changes, said):
    assert any(said in problem for problem in annotation(**changes).problems())


@pytest.mark.parametrize(
    ("terms", "privacy", "said"),
    [
        ({"annotators": ("age", "b")}, {}, "annotation.annotators: age is a column that"),
        ({"epsilon": 3.0}, {}, "annotation.epsilon 3 uses up privacy.training"),
        ({}, {"evaluation": {"mechanism": "none"}}, "would not be differentially private"),
    ],
)
def test_annotation_that_does_not_go_with_the_rest_is_refused(terms, privacy, said):
    charter = asking(annotation(**terms), **privacy)
    problems: list[str] = []
    term_reader.read(type(charter), term_reader.document(charter), path="", problems=problems)
    assert any(said in problem for problem in problems)


def test_by_group_the_matrices_are_those_of_each_group_and_add_up_to_everyones():
    terms = annotation(3, 2, by="sex")
    charter, rng = asking(terms), np.random.default_rng(9)
    assert groups_of(charter) == ("Female", "Male") and groups_of(asking()) == ("everyone",)
    columns, sex = places(rng, terms, 80), rng.integers(0, 2, 80)
    records = _records(columns, np.stack([sex, sex * 0], axis=1))
    found = steps_by_group(records, charter)
    for place in range(2):
        own = {name: column[sex == place] for name, column in columns.items()}
        assert found.reshape(2, -1)[place].tolist() == coincidence_steps(own, terms).tolist()
    whole = coincidence_steps(columns, terms)
    assert found.reshape(2, -1).sum(axis=0).tolist() == whole.tolist()
    assert everyone_of(tuple(found.tolist()), 2) == tuple(whole.tolist())
    # One record is in one group, so it moves no more than without groups.
    plan, without = AGREEMENT.plan(charter, 0.0), AGREEMENT.plan(asking(annotation(3, 2)), 0.0)
    assert plan.noise == without.noise
    assert AGREEMENT.spec(charter, plan, vector_length=9).length == 2 * entries(2)


def _records(beside, groups):
    size = len(groups)
    return Records(
        texts=("",) * size,
        labels=np.zeros(size, np.int16),
        groups=groups,
        values=({},) * size,
        row_hashes=(b"",) * size,
        persons=(b"",) * size,
        fingerprint="",
        source_fingerprint="",
        dropped={},
        beside=beside,
    )


def test_a_group_bar_needs_a_feature_that_there_is():
    assert any("names no feature" in one for one in annotation(group_bar=0.7).problems())
    problems: list[str] = []
    charter = asking(annotation(by="height"))
    term_reader.read(type(charter), term_reader.document(charter), path="", problems=problems)
    assert any("annotation.by: 'height' is not a sensitive feature" in one for one in problems)
