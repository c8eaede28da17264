"""The report and the model card show what was computed, harm first, and load nothing."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from huggingface_hub import ModelCard

from fedethics.errors import ReleaseError
from fedethics.fairness import aggregate, by_group, overall, roc
from fedethics.fairness.partition import by_feature
from fedethics.release import comparisons, folder, gate
from fedethics.release.content import SERVER_SAW
from fedethics.release.publish import publish
from fedethics.release.sections import people


class _Loads(HTMLParser):
    """Collects everything on the page that a browser would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.headless_tables = 0
        self.headings: list[str] = []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag in {"script", "link", "iframe", "img", "object", "embed", "audio", "video", "base"}:
            self.fetched.append(tag)
        self.fetched += [name for name in found if name in {"src", "srcset", "action", "poster"}]
        self.fetched += [name for name in found if name.startswith("on")]
        self.links += [found[name] for name in ("href", "xlink:href") if name in found]
        self.ids += [found["id"]] if "id" in found else []
        if tag in {"h1", "h2", "h3", "h4"}:
            self.headings.append(tag)


@pytest.fixture
def page(release):
    return (release / "report.html").read_text()


HTML = ("report.html", "report-privacy.html", "report-regulator.html")


@pytest.mark.parametrize("name", HTML)
def test_no_report_makes_a_network_request_or_runs_anything(published, name):
    page = (published / name).read_text()
    seen = _Loads()
    seen.feed(page)
    assert seen.fetched == []
    assert all(link.startswith("#") for link in seen.links)
    assert not re.search(r"url\((?!#)", page)
    assert "@import" not in page
    assert "http://" not in page and "https://" not in page
    assert "default-src 'none'" in page


@pytest.mark.parametrize("name", HTML)
def test_every_id_is_unique_and_every_link_leads_somewhere(published, name):
    page = (published / name).read_text()
    seen = _Loads()
    seen.feed(page)
    assert len(seen.ids) == len(set(seen.ids))
    assert {link[1:] for link in seen.links} <= set(seen.ids)


def test_every_figure_has_a_name_a_description_a_caption_and_its_numbers(page):
    figures = re.findall(r"<figure.*?</figure>", page, flags=re.DOTALL)
    assert len(figures) >= 8
    for figure in figures:
        assert 'role="img"' in figure
        (labels,) = re.findall(r'aria-labelledby="([^"]+)"', figure)
        assert all(f'id="{label}"' in figure for label in labels.split())
        assert "<figcaption>" in figure


@pytest.mark.parametrize("name", HTML)
def test_headings_skip_no_level(published, name):
    page = (published / name).read_text()
    seen = _Loads()
    seen.feed(page)
    levels = [int(tag[1]) for tag in seen.headings]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_no_sentinel_colour_is_left(page):
    assert "#0102" not in page


@pytest.mark.parametrize("name", HTML)
def test_harm_comes_before_any_index(published, name):
    page = (published / name).read_text()
    harm = page.index("Patients whose disease is missed")
    verdict = page.index("Cannot conclude</h2>")
    assert harm < verdict < page.index('<svg class="drawing"')
    assert "roc auc score" not in page[:verdict] and "epsilon" not in page[:verdict].lower()


def test_the_reports_numbers_are_those_of_the_fairness_functions(release, page):
    tables = folder.load(release).tables

    def shown(estimate):
        low, high = f"{estimate.low:.3f}", f"{estimate.high:.3f}"
        return f"{estimate.value:.3f}</td>", f"{low}\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}{high}"

    expected = [overall(tables, "accuracy_score"), overall(tables, "true_positive_rate")]
    for feature in ("sex", "age_band", "sex*age_band"):
        found = by_group(tables, "false_positive_rate", feature=feature).values()
        expected += [group.estimate for group in found if not group.suppressed]
        expected.append(aggregate(tables, "equal_opportunity_difference", feature=feature))
    expected.append(roc(tables).auc)
    for estimate in expected:
        value, interval = shown(estimate)
        assert re.search(re.escape(value) + r"<td[^>]*>" + re.escape(interval), page)


def test_the_number_of_women_is_that_of_the_summed_table(release):
    opened = folder.load(release)
    shown = people.build(opened, gate.judge(opened))
    women = next(group for group in shown.features[0].groups if group.name == "Female")
    cells = by_feature(opened.tables, "sex").counts[0].clip(min=0)
    assert women.people.value == round(cells.sum())
    assert women.parts[0].number.value == round(cells[1, 0])
    # One of the two sexes' cells holds the noise of three age bands.
    margin = 1.959964 * (3 * opened.tables.counts_variance) ** 0.5
    assert women.parts[0].number.high == pytest.approx(cells[1, 0] + margin, abs=1.0)


def test_a_small_group_is_withheld_in_the_first_screen(stage, lay):
    run = lay(stage, stage.evidence(records=40))
    publish(run, stage.coordinator)
    page = (run / "report.html").read_text()
    assert "withheld: fewer than 11 records or 3 sites" in page


def test_equal_run_directories_give_equal_reports_and_cards(stage, heart, lay):
    made = []
    for _ in range(2):
        run = lay(stage, heart, compared=True)
        publish(run, stage.coordinator)
        made.append([folder.located(run, name).read_bytes() for name in folder.PAGES])
    assert made[0] == made[1]


def test_a_test_run_says_so_before_anything_else(stage, heart, lay):
    run = lay(stage, dataclasses.replace(heart, test_mode=True))
    publish(run, stage.coordinator)
    page = (run / "report.html").read_text()
    assert page.index("Nothing here is private") < page.index("Patients whose disease")
    assert "nothing here is private" in (run / "withheld/adapter/README.md").read_text()


def test_words_from_outside_cannot_become_markup(stage, lay):
    said = ("<script>alert(1)</script>",)
    staged = stage.with_charter(ethics=dataclasses.replace(stage.charter.ethics, not_measured=said))
    run = lay(staged, staged.evidence())
    publish(run, staged.coordinator)
    page = (run / "report.html").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page


def test_a_run_without_dp_or_comparisons_still_has_a_report(stage, lay):
    privacy = stage.charter.privacy
    privacy = dataclasses.replace(
        privacy,
        training=dataclasses.replace(privacy.training, mechanism="none"),
        evaluation=dataclasses.replace(privacy.evaluation, mechanism="none"),
    )
    staged = stage.with_charter(privacy=privacy)
    run = lay(staged, staged.evidence(noise=False))
    assert publish(run, stage.coordinator).verdict == "fail"
    page = (run / "report.html").read_text()
    assert "infinite" in page and 'id="compared"' not in page


def test_every_unmeasured_thing_and_all_that_the_server_saw_is_listed(release, page):
    opened = folder.load(release)
    for sentence in (
        *opened.charter.ethics.not_measured,
        *SERVER_SAW,
        *gate.NOT_COVERED,
    ):
        assert sentence in page.replace("&#39;", "'")


def test_comparisons_are_shown_with_their_seeds_and_notes(page):
    assert "Federation without DP" in page
    assert "at epsilon 1 the AUC falls" in page
    assert "7, 8, 9" in page


def test_comparisons_need_one_number_a_seed(tmp_path):
    bad = comparisons.Comparison(
        name="x", what="y", seeds=(1, 2), roc_auc=(0.5,), accuracy=(0.5, 0.6)
    )
    comparisons.write(comparisons.Comparisons(rows=(bad,)), tmp_path / "comparisons.json")
    with pytest.raises(ReleaseError, match="2 seeds"):
        comparisons.load(tmp_path / "comparisons.json")


def test_the_model_card_is_one_that_hugging_face_reads(release):
    text = (release / "withheld/adapter/README.md").read_text()
    data = ModelCard(text).data
    tables = folder.load(release).tables
    assert data.library_name == "peft"
    assert data.base_model == "all-MiniLM-L6-v2"
    assert {result.metric_type: result.metric_value for result in data.eval_results}[
        "accuracy_score"
    ] == pytest.approx(overall(tables, "accuracy_score").value, abs=1e-4)
    for section in ("Intended use", "Factors", "Ethical considerations", "Caveats"):
        assert f"## {section}" in text


def test_noise_never_shows_more_missed_than_there_are(stage, lay):
    # So unfair that no woman is found: noise makes the true positives negative.
    found = stage.evidence(unfair=9.0)
    counts = np.array(found.counts).reshape(2, 3, 2, 2)
    counts[0, :, 1, 1] = -2
    run = lay(stage, dataclasses.replace(found, counts=tuple(counts.ravel().tolist())))
    opened = folder.load(run)
    assert by_feature(opened.tables, "sex").counts[0][1, 1] < 0
    shown = people.build(opened, gate.judge(opened))
    women = shown.features[0].groups[0]
    assert women.parts[0].number.value == women.parts[0].of.value
