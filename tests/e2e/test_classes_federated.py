"""Three tiny sites learn one of three classes, and one of four answers: sums, gate, report, card.

The sums are those of a plain count of every site's own held-out records, or carry their noise.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import numpy as np
import pytest
from rich.console import Console

from fedethics import charter_sums
from fedethics.charter import document
from fedethics.charter.data_terms import Column, LabelColumn
from fedethics.charter.ethics_terms import ExplanationTerms, Objective
from fedethics.charter.paired_terms import PairedObjective, PairedTerms
from fedethics.charter.privacy_terms import AuditTerms
from fedethics.data.reading import read_records
from fedethics.data.records import split
from fedethics.fairness import aggregate, by_group, overall
from fedethics.release import folder
from fedethics.release.gate import judge
from fedethics.simulation import staging
from fedethics.simulation.federation import simulate
from fedethics.simulation.scenario import ComparisonSetup, Scenario, SiteSetup
from fedethics.site.explain import WordsTold, explain_lines
from fedethics.training.learner import Learner
from tests.e2e.conftest import ROOT
from tests.training.tiny_models import charter_for, save_tiny

pytestmark = pytest.mark.slow
SITES = ("north", "east", "west")
LEVELS = LabelColumn(column="level", classes=("none=0", "mild=1", "severe=2|3"))
ANSWERS = LabelColumn(
    column="right", classes=("a", "b", "c", "d"), options=("one", "two", "three", "four")
)


def write(folder_, name, seed, *, options):
    """Write 60 records of one site; the first word says what is right."""
    random = np.random.default_rng(seed)
    words = list("efghijklmnopqrst")
    extra = ANSWERS.options if options else ()
    with (folder_ / f"{name}.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["note", "sex", *extra, "right" if options else "level"])
        for row in range(60):
            note = " ".join(random.choice(words, size=4)) + f" {row}"
            told = random.choice(words, size=len(extra), replace=False)
            label = "abcd"[random.integers(4)] if options else str(random.integers(4))
            out.writerow([note, "FM"[random.integers(2)], *told, label])


def draft_of(tiny, heart, label, *, dp, objectives):
    text = [Column(name="note", kind="text", phrase="{value}", max_chars=100)]
    text += [
        Column(name=one, kind="text", phrase=f"{letter} {{value}}", max_chars=20)
        for one, letter in zip(label.options or (), "abcd", strict=False)
    ]
    sex = Column(name="sex", kind="category", values=("F", "M"))
    sensitive = dataclasses.replace(heart.data.sensitive[0], column="sex", groups=("F", "M"))
    training, evaluation = heart.privacy.training, heart.privacy.evaluation
    mechanisms = {} if dp else {"mechanism": "none"}
    return dataclasses.replace(
        tiny,
        data=dataclasses.replace(
            heart.data, label=label, columns=(*text, sex), sensitive=(sensitive,)
        ),
        ethics=dataclasses.replace(
            heart.ethics, objectives=objectives, explanation=ExplanationTerms()
        ),
        training=dataclasses.replace(heart.training, rounds=1, local_steps=1),
        privacy=dataclasses.replace(
            heart.privacy,
            audit=AuditTerms(),
            training=dataclasses.replace(training, **mechanisms),
            evaluation=dataclasses.replace(
                evaluation,
                **mechanisms,
                histogram_by=("sex",),
                tables="nested" if dp else None,
            ),
        ),
    )


def run(tmp_path, draft, model, *, dp):
    policy = (ROOT / "configs" / "policy.hospital.toml").read_text()
    permissive = f"without-dp = {str(not dp).lower()}\n\n[minimum]"
    policy = policy.replace('"fairness",', '"fairness", "paired",')
    (tmp_path / "policy.toml").write_text(policy.replace("[minimum]", permissive))
    scenario = Scenario(
        name="tiny", charter="unused", dataset="unused", model_dir=str(model),
        comparisons=ComparisonSetup(seeds=(7,)),
        sites=tuple(
            SiteSetup(name=site, data=f"{site}.csv", declared_records=35, policy="policy.toml")
            for site in SITES
        ),
    )  # fmt: skip
    stage = staging.build(scenario, draft, base=tmp_path, data_dir=tmp_path, run_dir=tmp_path / "r")
    shown = io.StringIO()
    simulate(Console(file=shown, width=200), stage)
    return stage.run_dir, shown.getvalue()


def objective(metric, feature, bar, direction):
    return Objective(
        metric=metric, feature=feature, bar=bar, direction=direction, why="So it was agreed."
    )


def test_three_levels_with_dp_from_records_to_the_release_pages(tmp_path):
    model = save_tiny(tmp_path / "model", "bert")
    for seed, site in enumerate(SITES):
        write(tmp_path, site, seed, options=False)
    objectives = (
        objective("balanced_accuracy_score", "", 0.1, "at-least"),
        objective("recall_score_group_min[severe]", "sex", 0.9, "at-least"),
        objective("demographic_parity_difference", "sex", 0.2, "at-most"),
    )
    tiny = charter_for(model, "bert")
    heart = document.load(ROOT / "configs" / "heart.charter.toml")
    draft = draft_of(tiny, heart, LEVELS, dp=True, objectives=objectives)
    done, shown = run(tmp_path, draft, model, dp=True)

    opened = folder.load(done)
    layout = charter_sums.layout_of(opened.charter)
    assert opened.tables.counts.shape == (2, 3, 3)
    # Two nested blocks of scores: 8 bins by sex, and 64 over everyone.
    assert opened.tables.histogram.shape == (2, 1, 8)
    assert opened.tables.fine is not None and opened.tables.fine.shape == (1, layout.bins)
    assert opened.tables.counts_variance > 0
    assert np.isfinite(overall(opened.tables, "accuracy_score").value)
    names = " ".join(rule.name for rule in judge(opened).rules)
    assert "recall_score_group_min[severe] by sex" in names
    assert "demographic_parity_difference by sex" in names
    assert "balanced accuracy" in shown and "recall[severe]" in shown
    assert "demographic parity difference" in shown and "ROC" not in shown
    config = json.loads(next(done.glob("**/adapter_config.json")).read_text())
    assert config["task_type"] == "SEQ_CLS"
    report = (done / folder.REPORT).read_text(encoding="utf-8")
    for said in ("Given a wrong class, of all", "Missed, of those with severe",
                 "Found, of those with mild", "Given none, of all"):  # fmt: skip
        assert said in report
    assert "Flagged" not in report
    card = next(done.glob("**/adapter/README.md")).read_text(encoding="utf-8").replace("\\", "")
    assert "Label: none, mild or severe." in card
    assert "The class with the highest score is predicted." in card
    assert "recall_score[severe]" in card and "balanced_accuracy_score" in card
    adapter = next(done.glob("**/adapter_config.json")).parent
    (line,) = explain_lines(
        opened.charter, data=tmp_path / "north.csv", adapter=adapter, lines=[2], model_dir=model
    )
    assert isinstance(line.explained, WordsTold)
    assert line.explained.answer in LEVELS.names


@pytest.mark.parametrize("answer_with", [None, "options"], ids=["letters", "own words"])
def test_four_answers_are_counted_as_a_loop_over_every_sites_records_counts_them(
    tmp_path, answer_with
):
    model = save_tiny(tmp_path / "model", "llama", task="causal-lm")
    for seed, site in enumerate(SITES):
        write(tmp_path, site, seed, options=True)
    tiny = charter_for(model, "llama", task="causal-lm", answer=" {label} end")
    terms = dataclasses.replace(tiny.model, task="choice", loss="answers", max_tokens=24)
    tiny = dataclasses.replace(tiny, model=terms)
    objectives = (objective("accuracy_score", "", 0.1, "at-least"),)
    heart = document.load(ROOT / "configs" / "heart.charter.toml")
    label = dataclasses.replace(ANSWERS, answer_with=answer_with)
    draft = draft_of(tiny, heart, label, dp=False, objectives=objectives)
    not_worse = PairedObjective(metric="accuracy_change", bar=-0.9, why="So it was agreed.")
    paired = PairedTerms(feature=heart.data.sensitive[0].name, objectives=(not_worse,))
    draft = dataclasses.replace(draft, paired=paired)
    done, _ = run(tmp_path, draft, model, dp=False)

    opened = folder.load(done)
    charter = opened.charter
    learner = Learner(charter, model_dir=model)
    last = sorted((done / "rounds").glob("adapter-*.f32"))[-1]
    vector = np.frombuffer(last.read_bytes(), dtype="<f4")
    assert not np.array_equal(vector, learner.initial_vector())
    counts = np.zeros((2, 4, 4), dtype=np.int64)
    shares, pairs = [], np.zeros((2, 2, 2), dtype=np.int64)
    for site in SITES:
        records = read_records(tmp_path / f"{site}.csv", charter.data, task="choice")
        part = split(records, charter.data).held_out
        scores = learner.scores(vector, learner.activations(part.texts))
        for group, label, score in zip(part.groups[:, 0], part.labels, scores, strict=True):
            counts[group, label, int(score.argmax())] += 1
            shares.append((score[label], score.argmax() == label))
        before = learner.scores(learner.initial_vector(), learner.activations(part.texts))
        for group, label, *both in zip(part.groups[:, 0], part.labels, before, scores, strict=True):
            pairs[(group, *(int(one.argmax() != label) for one in both))] += 1
    np.testing.assert_array_equal(opened.tables.counts, counts)
    right = [hit for _, hit in shares]
    assert overall(opened.tables, "accuracy_score").value == pytest.approx(np.mean(right))
    mean = overall(opened.tables, "mean_true_score").value
    assert mean == pytest.approx(np.mean([share for share, _ in shares]), abs=1 / 64)
    found = by_group(opened.tables, "accuracy_score", feature="sex", minimum_cell=0)
    each = [np.trace(counts[g]) / counts[g].sum() for g in (0, 1)]
    assert [found[sex].estimate.value for sex in "FM"] == pytest.approx(each)
    gap = aggregate(opened.tables, "accuracy_score_difference", feature="sex", minimum_cell=0)
    assert gap.value == pytest.approx(abs(each[0] - each[1]))
    card = next(done.glob("**/adapter/README.md")).read_text()
    assert "Label: a, b, c or d." in card and "Records gained and lost" in card
    # Right before and after; gained; lost; wrong before and after, by group.
    (told,) = [one.counts for one in opened.evidence.counted if one.kind == "paired"]
    assert told == tuple(
        int(pairs[g, a, b]) for g in (0, 1) for b, a in ((0, 0), (0, 1), (1, 0), (1, 1))
    )
    rule = next(rule for rule in judge(opened).rules if rule.name.startswith("accuracy change"))
    assert rule.figure.value == pytest.approx((pairs[:, 1, 0] - pairs[:, 0, 1]).sum() / pairs.sum())
    assert rule.verdict == "pass"
    assert "Beside the model before training" in (done / folder.REPORT).read_text(encoding="utf-8")
