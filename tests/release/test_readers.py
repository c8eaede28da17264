"""Each reader's page, report.json and the cards say the same, and say what they do not answer."""

from __future__ import annotations

import dataclasses
import json
import re
from html import unescape

import numpy as np
import pytest
from huggingface_hub import DatasetCard

from fedethics.fairness import overall
from fedethics.release import comparisons, folder, gate
from fedethics.release.publish import publish
from fedethics.release.sections import groups
from tests.release.conftest import COMPARISONS


@pytest.fixture(scope="module")
def told(published):
    return json.loads((published / "report.json").read_text())


def _page(published, name):
    return (published / name).read_text().replace("&#39;", "'")


def test_report_json_says_what_the_gate_says(published, told):
    report = gate.examine(published)
    assert told["verdict"] == report.verdict and told["state"] == "withheld"
    assert [rule["verdict"] for rule in told["gate"]["rules"]] == [r.verdict for r in report.rules]
    assert told["people"]["everyone"]["people"]["value"] > 200
    tables = folder.load(published).tables
    (figure,) = [
        rule["figure"] for rule in told["gate"]["rules"] if rule["name"] == "accuracy_score"
    ]
    assert figure["value"] == pytest.approx(overall(tables, "accuracy_score").value)


def test_every_table_of_the_ethics_page_is_in_report_json(published, told):
    page = _page(published, "report.html")
    for name in ("receipts", "gaps", "cohorts", "mechanisms", "hashes", "signers"):
        for row in told[name]["rows"]:
            for cell in row:
                assert cell in page, (name, cell)


def test_the_privacy_page_lists_every_release_and_what_is_not_covered(published, told):
    page = _page(published, "report-privacy.html")
    rounds = folder.load(published).evidence.rounds
    assert len(told["releases"]["rows"]) == len(rounds)
    for sentence in (*told["not-bounded"], *told["server-saw"], told["bound"]):
        assert sentence in unescape(page)
    assert "For the people affected" not in page


def test_the_annex_names_every_item_and_admits_what_is_not_answered(published, told):
    page = _page(published, "report-regulator.html")
    items = [row[0] for row in told["frameworks"]["annex-iv"]["table"]["rows"]]
    # Annex IV has 9 points; point 1 has (a) to (h) and point 2 has (a) to (h).
    letters = [f"{point} ({letter})" for point in (1, 2) for letter in "abcdefgh"]
    assert [item for item in items if item not in {"1 (h)"}] == [
        item for item in (*letters, "3", "4", "5", "6", "7", "8", "9") if item != "1 (h)"
    ]
    assert {"1 (h)"} <= set(items)
    page = unescape(page)
    for mapped in told["frameworks"].values():
        for row in mapped["table"]["rows"]:
            assert row[2] in {"yes", "in part", "no"}
            assert all(cell in page for cell in row)
    answers = {row[2] for row in told["frameworks"]["annex-iv"]["table"]["rows"]}
    assert answers == {"yes", "in part", "no"}
    assert "neither an assessment of conformity" in page


def test_screening_statistics_are_called_that(published):
    page = _page(published, "report-regulator.html")
    assert "screening statistics" in page and "not a finding of unlawfulness" in page


def test_the_data_card_is_one_that_hugging_face_reads_and_holds_no_record_counts(published):
    text = (published / "data-card.md").read_text()
    data = DatasetCard(text).data
    assert data.task_categories == ["text-classification"]
    for section in ("Motivation", "Composition", "Preprocessing", "Distribution"):
        assert f"## {section}" in text
    charter = folder.load(published).charter
    assert all(column.name in text for column in charter.data.columns)
    assert all(str(member.declared_records) not in text for member in charter.roster[:2])


def test_calibration_and_roc_are_drawn_where_there_are_records_enough(stage, lay):
    opened = folder.load(lay(stage, stage.evidence(records=20_000)))
    for blocks, name in (
        (groups.calibration(opened), "calibration"),
        (groups.roc_curves(opened), "roc"),
    ):
        assert f'id="{name}-sex-title"' in str(blocks[0].drawing)
        assert "Not drawn" not in blocks[0].caption


def test_a_chart_that_noise_hides_is_not_drawn_and_its_numbers_stay(published):
    opened = folder.load(published)
    (diagram,) = groups.calibration(opened)
    widths = [float(row[3].split()[2]) - float(row[3].split()[0]) for row in diagram.table.rows]
    assert np.median(widths) > 0.5
    page = _page(published, "report.html")
    assert not diagram.drawing and 'id="calibration-sex-title"' not in page
    assert "Not drawn: for so few records the noise" in page and "Mean score" in page


def test_gaps_that_cannot_be_told_are_one_line_with_their_number(published, told):
    split = groups.gaps(folder.load(published))
    rows = told["gaps"]["rows"]
    assert len(rows) == len(split.told.rows) + len(split.untold.rows)
    for _, value, interval, _ in split.untold.rows:
        low, high = (float(end) for end in interval.split("\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}"))
        assert value == "no estimate" or high - low > 0.5
    assert split.untold.rows and str(len(split.untold.rows)) in split.note.split()[0]
    page = _page(published, "report.html")
    assert page.count(split.note) == 1


def test_utility_against_fairness_is_drawn_where_a_gap_was_taken(stage, heart, lay):
    run = lay(stage, heart)
    rows = tuple(
        dataclasses.replace(row, gap=tuple(0.1 for _ in row.seeds)) for row in COMPARISONS.rows
    )
    taken = dataclasses.replace(
        COMPARISONS, rows=rows, gap_metric="equal_opportunity_difference by sex", gap_bar=0.15
    )
    comparisons.write(taken, run / "comparisons.json")
    publish(run, stage.coordinator)
    page = (run / "report.html").read_text()
    assert "Utility against fairness" in page and "agreed: at most 0.15" in page


def test_without_a_gap_nothing_is_drawn_of_it(published):
    assert "Utility against fairness" not in _page(published, "report.html")


def test_long_names_are_broken_into_lines_that_fit_the_drawing():
    from fedethics.release.plots import Mark, Section, intervals

    title = "background positive subgroup negative area difference by sex and ethnicity and age"
    svg = intervals(
        [Section(title=title, marks=(Mark(label="Everyone", value=0.5, low=0.4, high=0.6),))],
        name="long", title="t", description="d",
    )  # fmt: skip
    drawn = re.findall(r">([^<>]*area[^<>]*|[^<>]*ethnicity[^<>]*)</t", str(svg))
    assert drawn and all(len(line) <= 54 for line in drawn)
