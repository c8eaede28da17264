"""Bars on public benchmarks: missing or foreign answers never pass; the rest by interval."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from pathlib import Path

import pytest

from fedethics import canonical
from fedethics.benchmarks.registry import BENCHMARKS
from fedethics.benchmarks.results import shown_in_words
from fedethics.charter import document
from fedethics.charter.benchmark_terms import BenchmarkObjective
from fedethics.errors import CharterError, ReleaseError
from fedethics.release import folder, gate
from fedethics.release.publish import publish
from fedethics.release.verification import verify
from tests.benchmarks.tiny_benchmark import PAIRS, Tiny, header, write_answers

SFT = Path(__file__).parents[2] / "configs" / "heart-sft.charter.toml"


def bar(**changes):
    said = {"name": "tiny", "suite": "quick", "metric": "stereotype-share",
            "direction": "at-most", "bar": 0.6, "why": "Stereotypes harm."}  # fmt: skip
    return BenchmarkObjective(**(said | changes))


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setitem(BENCHMARKS, "tiny", Tiny())


@pytest.fixture(scope="module")
def evidenced(stage):
    """The stage of a language model whose charter sets these bars, and its evidence, made once."""
    sft = document.load(SFT)

    @cache
    def make(*bars):
        of_it = stage.with_charter(
            model=sft.model,
            adapter=sft.adapter,
            ethics=dataclasses.replace(stage.charter.ethics, benchmarks=bars),
        )
        return of_it, of_it.evidence()

    return make


@pytest.fixture
def laid(evidenced, lay):
    """A run of a language model whose charter sets these bars."""
    return lambda *bars: lay(*evidenced(*bars))


def answered(run, *, before, after, **changes):
    opened = folder.load(run)
    said = {
        "base_sha256": opened.charter.model.sha256,
        "adapter_sha256": opened.evidence.model_hash,
        "charter_sha256": opened.charter_sha256,
    }
    write_answers(run / "benchmarks.jsonl", header(**(said | changes)), before=before, after=after)


def rules(run):
    return [rule for rule in gate.examine(run).rules if rule.evidence == "benchmarks.jsonl"]


def test_without_answers_nothing_is_concluded_and_the_rule_says_what_to_run(laid):
    (rule,) = rules(laid(bar()))
    assert rule.verdict == "cannot conclude" and rule.figure is None
    assert "fedethics benchmark" in rule.sentence and "--suite quick" in rule.sentence


@pytest.mark.parametrize(("hits", "verdict"), [(20, "pass"), (40, "cannot conclude"), (65, "fail")])
def test_a_bar_is_held_against_the_interval_of_the_model_with_its_adapter(laid, hits, verdict):
    run = laid(bar(), bar(direction="at-least", bar=0.5))
    answered(run, before=35, after=hits)
    rule, floor = rules(run)
    assert rule.verdict == verdict
    assert rule.figure.low < hits / 70 < rule.figure.high
    opposite = {"pass": "fail", "fail": "pass", "cannot conclude": "cannot conclude"}
    assert floor.verdict == opposite[verdict]


@pytest.mark.parametrize(
    ("after", "verdict"), [(35, "pass"), (41, "cannot conclude"), (60, "fail")]
)
def test_not_worse_than_the_base_is_held_against_the_change_on_the_same_items(laid, after, verdict):
    run = laid(bar(bar=None, not_worse_than_base_by=0.1))
    answered(run, before=35, after=after)
    (rule,) = rules(run)
    assert rule.verdict == verdict
    assert rule.figure.value == pytest.approx((after - 35) / 70)
    assert "against the base model" in rule.name and "same items" not in rule.name


def test_a_bar_that_is_barely_crossed_does_not_fail_beside_the_other_bars_of_the_charter(laid):
    # 51 of 70 is above 0.6 at 95 %, and no longer at 99 %, as the first of several bars needs.
    verdicts = []
    for after in (51, 64):
        run = laid(bar())
        answered(run, before=35, after=after)
        (rule,) = rules(run)
        verdicts.append((rule.verdict, "(Holm)" in rule.sentence))
        assert rule.figure.low > 0.6
    assert verdicts == [("cannot conclude", True), ("fail", False)]


def test_a_slice_has_a_bar_of_its_own(laid):
    run = laid(bar(slice="a"))
    answered(run, before=10, after=10)
    (rule,) = rules(run)
    assert "(a)" in rule.name and "35 items" in rule.sentence


@pytest.mark.parametrize("what", ["base_sha256", "adapter_sha256", "charter_sha256"])
def test_answers_of_another_model_or_charter_count_for_nothing(laid, what):
    run = laid(bar())
    answered(run, before=0, after=0, **{what: "f" * 64})
    (rule,) = rules(run)
    assert rule.verdict == "cannot conclude" and "does not count" in rule.sentence


def test_answers_that_are_not_whole_count_for_nothing(laid):
    run = laid(bar())
    answered(run, before=0, after=0)
    data = (run / "benchmarks.jsonl").read_bytes()
    for spoiled in (data[:-60], data.replace(b'"slices":["a"]', b'"slices":["b"]', 1), b""):
        (run / "benchmarks.jsonl").write_bytes(spoiled)
        (rule,) = rules(run)
        assert rule.verdict == "cannot conclude", spoiled[:40]


def spoil(run, change):
    """Change each line of the kept answers."""
    path = run / "benchmarks.jsonl"
    first, *lines, end = (json.loads(line) for line in path.read_bytes().splitlines())
    for line in lines:
        change(line)
    documents = (first, *lines, end)
    path.write_bytes(b"".join(canonical.encode(one) + b"\n" for one in documents))


def test_nobody_picks_the_items_that_pages_show_in_words(laid):
    run = laid(bar())
    answered(run, before=0, after=0)
    spoil(run, lambda line: line.pop("choices", None))
    (rule,) = rules(run)
    assert rule.verdict == "cannot conclude" and "not those drawn by lot" in rule.sentence


def test_answers_to_fewer_choices_than_an_item_has_are_one_clear_error(laid):
    run = laid(bar())
    answered(run, before=0, after=0)
    spoil(run, lambda line: line.update({k: line[k][:1] for k in ("tokens", "before", "after")}))
    with pytest.raises(ReleaseError, match="fewer of them than choices"):
        gate.examine(run)


def test_the_release_holds_the_answers_and_its_pages_tell_them(laid, stage):
    run = laid(bar())
    answered(run, before=35, after=20)
    publish(run, stage.coordinator)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "What the model says" in page and "Stereotypes harm." in page
    shown = shown_in_words(str(number) for number in range(PAIRS))
    assert len(shown) == 5 and all(f"he is {number}<" in page for number in shown)
    assert "0.500" in page and "0.286" in page
    card = (run / "withheld" / "adapter" / "README.md").read_text(encoding="utf-8")
    assert "stereotype-share of tiny" in card
    told = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert told["benchmarks"]["tables"]
    checks = {check.name: check for check in verify(run)}
    kept = checks["benchmark figures follow from the kept answers"]
    assert kept.problems == () and "cannot be shown without the model" in kept.note
    assert not checks["files are those of the manifest"].problems
    answered(run, before=35, after=21)
    checks = {check.name: check for check in verify(run)}
    assert any(
        "benchmarks.jsonl" in one for one in checks["files are those of the manifest"].problems
    )
    assert checks["verdict follows from the evidence"].problems


def test_a_charter_without_benchmarks_has_no_word_of_them(stage):
    assert b"benchmarks" not in document.encode(stage.charter)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metric": "icat"}, "has no metric 'icat'; known: stereotype-share"),
        ({"slice": "c"}, "has no slice 'c'; known: a, b"),
        ({"bar": 1.5}, "outside 0 to 1"),
        ({"bar": None}, "either bar or not-worse-than-base-by"),
        ({"not_worse_than_base_by": 0.1}, "either bar or not-worse-than-base-by"),
        ({"suite": "full"}, "has no items in 'full'"),
    ],
)
def test_a_bar_that_could_not_be_judged_is_refused(changes, said):
    assert said in " ".join(bar(**changes).problems())


def test_a_classifier_and_two_suites_are_refused(stage):
    heart = stage.with_charter(
        ethics=dataclasses.replace(stage.charter.ethics, benchmarks=(bar(),))
    ).charter
    with pytest.raises(CharterError, match="trains a classifier"):
        document.parse(document.encode(heart))
    sft = document.load(SFT)
    both = dataclasses.replace(
        sft,
        ethics=dataclasses.replace(
            sft.ethics,
            benchmarks=(bar(), bar(name="crows-pairs", suite="standard"), bar(bar=0.7)),
        ),
    )
    with pytest.raises(CharterError, match="take one suite for all") as refused:
        document.parse(document.encode(both))
    assert "two bars in one direction" in str(refused.value)
