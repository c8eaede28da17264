"""The census: what one record moves, what the counts are, how sure a figure is, what it costs."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest

from fedethics import terms as term_reader
from fedethics.aggregates.census import CENSUS
from fedethics.aggregates.census.layout import layout_of_census
from fedethics.aggregates.census.opened import OpenedCensus, opened_census, required
from fedethics.aggregates.census.site import census_counts
from fedethics.aggregates.census.words import rejected, words_of_groups
from fedethics.aggregates.schedule import sum_specs, sums_of
from fedethics.charter import document
from fedethics.charter.census_terms import CensusTerms, CensusWords, ReferenceTerms
from fedethics.charter.document import load
from fedethics.charter.model import Member
from fedethics.data.records import Records
from fedethics.errors import AccountingError
from fedethics.policy.template import policy_text
from fedethics.privacy.accounting import epsilon
from fedethics.privacy.plan import make_plan
from fedethics.release.evidence import Counted
from tests.privacy.charters import HEART, with_terms

WORDS = ("oldpeak", "chest pain", "flat")
EDGES = (100, 180)
FULL = CensusTerms(
    by="sex",
    missing=("chol", "fbs"),
    lengths=EDGES,
    sites_from=20,
    epsilon=1.0,
    vocabulary=CensusWords(words=WORDS, of_a_record=2),
)


def asking(terms=FULL, **privacy):
    charter = with_terms(load(HEART), **privacy)
    columns = tuple(
        dataclasses.replace(column, on_empty="say") if column.name == "fbs" else column
        for column in charter.data.columns
    )
    data = dataclasses.replace(charter.data, columns=columns)
    roster = tuple(
        Member(site=f"s{number}", public_key=f"{number:064x}", declared_records=100)
        for number in range(1, 6)
    )
    signed = dataclasses.replace(charter, roster=roster, coordinator_key="f" * 64)
    return dataclasses.replace(signed, data=data, census=terms)


CHARTER = asking()
FEATURES = {feature.name: feature.groups for feature in CHARTER.data.sensitive}


def drawn(rng, size, *, held=0.4):
    """Records of a site, with texts that hold some of the words."""
    told = [
        " ".join(
            [word.upper() if rng.random() < 0.5 else word for word in WORDS if rng.random() < held]
            + ["flatly" * int(rng.integers(0, 40))]
        )
        for _ in range(size)
    ]
    values = [
        {"chol": None if rng.random() < 0.3 else 200.0, "fbs": None if rng.random() < 0.1 else "1"}
        for _ in range(size)
    ]
    groups = np.stack([rng.integers(0, len(of), size) for of in FEATURES.values()], axis=1)
    return Records(
        texts=tuple(told),
        labels=rng.integers(0, 2, size).astype(np.int16),
        groups=groups.astype(np.int64),
        values=tuple(values),
        row_hashes=tuple(bytes([0]) for _ in range(size)),
        persons=tuple(b"" for _ in range(size)),
        fingerprint="",
        source_fingerprint="",
        dropped={},
    )


def by_hand(sites):
    """The census, record by record in plain loops."""
    layout = layout_of_census(CHARTER)
    found = {key: np.zeros(shape, dtype=np.int64) for key, shape in layout.shapes.items()}
    for records in sites:
        here = {name: [0] * len(groups) for name, groups in FEATURES.items()}
        for row in range(len(records)):
            own = dict(zip(FEATURES, records.groups[row], strict=True))
            for name, group in own.items():
                found["groups", name][group, records.labels[row]] += 1
                here[name][group] += 1
            for name in FULL.missing:
                found["missing", name][0, own["sex"]] += records.values[row][name] is None
            text = records.texts[row]
            found["lengths", ""][sum(len(text) >= edge for edge in EDGES), own["sex"]] += 1
            held = [
                place
                for place, word in enumerate(WORDS)
                if re.search(rf"\b{word}\b", text, re.IGNORECASE)
            ]
            for place in held[:2]:
                found["words", ""][place, own["sex"]] += 1
        for name, sizes in here.items():
            found["sites", name][0] += np.array(sizes) >= FULL.sites_from
    return np.concatenate([found[key].ravel() for key in layout.shapes])


def of_counts(counts, charter=CHARTER, *, variance=0.0):
    return OpenedCensus(
        terms=charter.census,
        layout=layout_of_census(charter),
        counts=np.asarray(counts, dtype=np.float64),
        variance=variance,
        sites=5,
    )


def test_without_noise_the_sum_is_a_count_of_every_record_by_hand():
    rng = np.random.default_rng(4)
    sites = [drawn(rng, size) for size in (70, 12, 41)]
    halves = [(one.take(range(5)), one.take(range(5, len(one)))) for one in sites]
    opened = sum(census_counts(parts, CHARTER) for parts in halves)
    assert opened.tolist() == by_hand(sites).tolist()
    assert len(opened) == layout_of_census(CHARTER).length


def test_one_record_more_moves_one_entry_of_each_table_and_as_many_words_as_are_counted():
    rng = np.random.default_rng(8)
    layout = layout_of_census(CHARTER)
    assert layout.releases == 2 * len(FEATURES) + 2 + 1 + 2
    some = (drawn(rng, int(rng.integers(19, 22)), held=0.8) for _ in range(40))
    # The twentieth of its groups, without either value, with every word.
    alike = drawn(rng, 20, held=1.0)
    worst = dataclasses.replace(alike, groups=alike.groups * 0, values=({},) * 20)
    for records in (*some, worst):
        every, last = range(len(records)), len(records) - 1
        whole = census_counts((records,), CHARTER)
        less = census_counts((records.take([row for row in every if row != last]),), CHARTER)
        moved = of_counts(whole - less).blocks
        assert np.abs(whole - less).max() <= 1
        for (kind, _), block in moved.items():
            bound = layout.of_a_record if kind == "words" else 1
            assert np.abs(block).sum() <= bound
            assert kind not in ("groups", "lengths") or block.sum() == 1
    assert np.abs(whole - less).sum() == layout.releases


def test_what_is_counted_of_a_record_does_not_depend_on_other_records():
    records = drawn(np.random.default_rng(2), 40)
    plain = asking(dataclasses.replace(FULL, sites_from=None))
    alone = sum(census_counts((records.take([row]),), plain) for row in range(len(records)))
    assert alone.tolist() == census_counts((records,), plain).tolist()


def test_shares_and_sizes_cover_the_truth_as_often_as_they_say():
    terms = CensusTerms(epsilon=1.0)
    charter, rng = asking(terms), np.random.default_rng(5)
    layout, std = layout_of_census(charter), 12.0
    truth, rows = np.array([[0.1, 0.15], [0.5, 0.25]]), []
    for _ in range(1000):
        people = rng.multinomial(500, truth.ravel())
        counts = np.zeros(layout.length)
        counts[:4] = people + rng.normal(0, std, 4)
        census = of_counts(counts, charter, variance=std**2)
        name = next(iter(layout.features))
        sizes, shares = census.people(name), census.shares(name)
        labels = list(census.labels(name).values())
        rows.append(
            [
                one.low <= true <= one.high
                for one, true in (
                    *zip(sizes.values(), people.reshape(2, 2).sum(axis=1), strict=True),
                    *zip(shares.values(), (0.25, 0.75), strict=True),
                    (labels[1], 0.6),
                )
            ]
        )
    # 0.95 less four standard errors of 1,000 draws; the seed is fixed.
    assert np.mean(rows, axis=0).min() >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / 1000)


def test_a_share_that_noise_hides_has_no_estimate_and_any_share_is_possible():
    census = of_counts(np.ones(layout_of_census(CHARTER).length), variance=100.0**2)
    assert all((one.low, one.high) == (0.0, 1.0) for one in census.shares("sex").values())
    assert all((one.low, one.high) == (0.0, 1.0) for one in census.missing().values())
    held = census.holding("sex").values()
    assert all((one.low, one.high) == (0.0, 5.0) for one in held)


def test_missing_values_lengths_and_sites_are_those_of_the_records_without_noise():
    records = drawn(np.random.default_rng(6), 200)
    census = of_counts(census_counts((records,), CHARTER))
    sex = records.groups[:, list(FEATURES).index("sex")]
    lacks = np.array([row["chol"] is None for row in records.values])
    for place, group in enumerate(FEATURES["sex"]):
        share = census.missing()["chol", group]
        assert share.value == pytest.approx(lacks[sex == place].mean())
        assert share.low < share.value < share.high
        of_group = [one.value for (_, who), one in census.lengths().items() if who == group]
        assert sum(of_group) == pytest.approx(1.0)
    assert census.records() == 200
    assert layout_of_census(CHARTER).bins == ("under 100", "100 to under 180", "180 or more")


def of_words(table, people, *, variance=0.0, terms=None):
    """A census by two groups of these sizes, whose records hold words so often."""
    words = CensusWords(words=tuple(f"w{at}" for at in range(len(table))), **(terms or {}))
    charter = asking(CensusTerms(by="sex", vocabulary=words, labels=False))
    census = of_counts(np.zeros(layout_of_census(charter).length), charter, variance=variance)
    census.blocks["groups", "sex"][:, 0] = people
    census.blocks["words", ""][:] = table
    return census


def test_a_word_that_goes_with_a_group_is_found_with_its_log_odds():
    odds = words_of_groups(of_words([(60, 90), (30, 90), (0, 0)], (100, 300)))
    assert [one.found for one in odds] == [True, False, False]
    assert odds[0].log_odds.value == pytest.approx(math.log((60 / 40) / (90 / 210)))
    assert odds[0].log_odds.low > 0 > odds[1].log_odds.low
    assert math.isnan(odds[2].log_odds.value) and odds[2].p > 0.05
    table = np.array([[60, 40], [90, 210]])
    from scipy.stats import chi2_contingency

    # The same test with the plain pooled share in place of Wilson's centre.
    assert math.log(odds[0].p) == pytest.approx(
        math.log(chi2_contingency(table, correction=False).pvalue), rel=0.05
    )


def test_words_that_go_with_nobody_are_rarely_found_whatever_the_noise():
    rng, people, std, false = np.random.default_rng(12), np.array([150, 400]), 8.0, 0
    runs = 400
    for _ in range(runs):
        share = rng.uniform(0.05, 0.5, 20)
        table = rng.binomial(people, share[:, None]) + rng.normal(0, std, (20, 2))
        census = of_words(table, people + rng.normal(0, std, 2), variance=std**2)
        false += any(one.found for one in words_of_groups(census))
    # 5 % and four standard errors; the seed is fixed.
    assert false / runs <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / runs)


def test_both_corrections_are_those_that_their_authors_describe():
    from scipy.stats import false_discovery_control

    rng = np.random.default_rng(3)
    for _ in range(50):
        p = rng.uniform(0, 1, 12) ** 4
        adjusted = false_discovery_control(p, method="bh") <= 0.05
        assert rejected(p, "benjamini-hochberg", level=0.05).tolist() == adjusted.tolist()
        stands, left = np.zeros(12, bool), sorted(range(12), key=lambda at: p[at])
        while left and p[left[0]] <= 0.05 / len(left):
            stands[left.pop(0)] = True
        assert rejected(p, "holm", level=0.05).tolist() == stands.tolist()


def test_it_is_opened_once_before_the_first_step_and_charged_to_both_accounts():
    plan = make_plan(CHARTER)
    due = list(sums_of(CHARTER, plan))
    assert due[0] == ("census", 1) and due[1] == ("update", 1)
    assert [name for name, _ in due].count("census") == 1
    own = CENSUS.of(plan.sums)
    assert own.noise.event in plan.training.events and own.noise.event in plan.evaluation.events
    assert plan.training.epsilon <= CHARTER.privacy.training.epsilon
    assert plan.evaluation.epsilon <= CHARTER.privacy.evaluation.epsilon
    assert 0.95 < epsilon((own.noise.event,), delta=plan.delta) <= 1.0
    assert own.noise.event.releases == layout_of_census(CHARTER).releases
    spec = sum_specs(CHARTER, vector_length=10)["census"]
    assert spec.length == layout_of_census(CHARTER).length and spec.whole_cohort


def test_a_person_with_many_rows_pays_for_all_of_them():
    data = dataclasses.replace(CHARTER.data, person="id", max_rows_per_person=4)
    privacy = dataclasses.replace(CHARTER.privacy, unit="person")
    several = dataclasses.replace(CHARTER, data=data, privacy=privacy)
    assert CENSUS.plan(several, 0.0).noise.event.sensitivity == 4


def test_a_charter_without_a_census_is_the_same_bytes_as_before_there_was_one():
    charter = load(HEART)
    assert charter.census is None and b"census" not in document.encode(charter)
    assert "census" not in make_plan(charter).sums and CENSUS.permissions(charter) == ()
    with pytest.raises(AccountingError, match="asks for no census"):
        CENSUS.of(make_plan(charter).sums)
    asked = dataclasses.replace(CHARTER, roster=(), coordinator_key="")
    assert document.parse(document.encode(asked)) == asked


def test_a_sum_of_another_size_or_round_is_no_census():
    size = layout_of_census(CHARTER).length
    for entry in (Counted(kind="census", round=1, counts=(1,)),
                  Counted(kind="census", round=2, counts=(1,) * size)):  # fmt: skip
        assert opened_census(CHARTER, (entry,)) is None
    with pytest.raises(AccountingError, match="no census of this charter was opened"):
        required(CHARTER, None)
    found = required(CHARTER, (Counted(kind="census", round=1, counts=(1,) * size),))
    assert found.variance == CENSUS.of(make_plan(CHARTER).sums).noise.sum_variance


def test_a_new_policy_does_not_list_it_and_says_what_it_would_allow():
    (listed,) = [line for line in policy_text().splitlines() if line.startswith("releases")]
    assert "census" not in listed and 'Add "census" to' in policy_text()


def test_a_plan_says_how_many_records_are_enough():
    charter = asking(CensusTerms(minimum=100, epsilon=1.0))
    ((term, words),) = CENSUS.foretold(charter, CENSUS.plan(charter, 0.0))
    assert term == "records of a group, by the gate" and "passes if each group has about" in words


HALF = ("Female=0.5", "Male=0.5")


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        (("Female=0.5", "Male=0.4"), "they add up to 0.9"),
        (("Female=0.5", "Male=0.5", "Male=0.0"), "a group is listed twice"),
        (("Female=half", "Male=0.5"), "Female=half is no number between 0 and 1"),
        (("Female=nan", "Male=0.5"), "no number between 0 and 1"),
        (("Female=1.5", "Male=-0.5"), "no number between 0 and 1"),
    ],
)
def test_shares_that_are_none_are_refused(shares, said):
    reference = ReferenceTerms(feature="sex", shares=shares, source="a census office")
    assert any(said in problem for problem in reference.problems())


def reference(feature="sex", shares=HALF):
    return ReferenceTerms(feature=feature, shares=shares, source="a census office")


@pytest.mark.parametrize(
    ("terms", "privacy", "said"),
    [
        ({"reference": (reference("height"),)}, {}, "'height' is not a sensitive feature"),
        ({"reference": (reference(shares=("Woman=1",)),)}, {}, "Woman is no group of sex"),
        ({"reference": (reference(shares=("Male=1",)),)}, {}, "Female has no score; write"),
        ({"reference": (reference(), reference())}, {}, "a feature has two references"),
        ({"largest_difference": 0.1}, {}, "there is no reference to differ from"),
        ({"by": "height"}, {}, "census.by: 'height' is not a sensitive feature"),
        ({"missing": ("height",)}, {}, "'height' is not among data.columns"),
        ({"missing": ("age", "age")}, {}, "a column is listed twice"),
        ({"lengths": (20, 10)}, {}, "edges must increase"),
        ({"stop": True}, {}, "no bar is set that could be missed"),
        ({"vocabulary": CensusWords(words=("a",))}, {}, "census.by names no feature"),
        ({"by": "sex", "vocabulary": CensusWords(words=("a", "A"))}, {}, "listed twice"),
        ({"epsilon": 3.0}, {}, "census.epsilon 3 uses up privacy.training"),
        ({}, {"evaluation": {"mechanism": "none"}}, "would not be differentially private"),
    ],
)  # fmt: skip
def test_terms_that_do_not_go_with_the_rest_are_refused(terms, privacy, said):
    charter = asking(CensusTerms(**terms), **privacy)
    problems: list[str] = []
    term_reader.read(type(charter), term_reader.document(charter), path="", problems=problems)
    assert any(said.replace("score", "share") in problem for problem in problems), problems
