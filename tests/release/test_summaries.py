"""Each role's summary answers its question, and prints on one page of A4 whatever it holds."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess

import pytest

from fedethics.charter.model import Member
from fedethics.identity import Identity
from fedethics.release import content, folder, gate, readers
from fedethics.release.decision import decide
from fedethics.release.rules.rule import Rule
from fedethics.release.sections.openings import Unsettled, unsettled
from fedethics.release.sheets import SUMMARIES
from tests.release.conftest import lay_out
from tests.release.test_texts_on_pages import HOSTILE, Page, spoilt

FILES = [each.file for each in SUMMARIES]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)


@pytest.fixture(scope="module")
def opened(published):
    return folder.load(published)


@pytest.fixture(scope="module")
def found(opened):
    verdict = gate.judge(opened)
    return content.build(opened, verdict, decide(opened.charter, verdict.verdict, ()))


def first_words(published, name: str) -> str:
    return re.sub(r"<[^>]*>|\s+", " ", (published / name).read_text().split("<main>")[1])


@pytest.mark.parametrize("name", FILES)
def test_a_summary_has_the_verdict_and_names_what_is_undecided(published, opened, name):
    page = (published / name).read_text()
    assert "Cannot conclude</h2>" in page
    undecided = [one for one in gate.judge(opened).rules if one.verdict == "cannot conclude"]
    assert undecided[0].name.replace("_", " ") in page
    assert "default-src 'none'" in page and "<script" not in page and "href" not in page


def test_each_summary_answers_its_roles_question(published, opened):
    ethics, privacy, regulator, site, researcher = (first_words(published, one) for one in FILES)
    assert "Patients whose disease is missed" in ethics and "Female" in ethics
    assert "At all 4 sites this run spent no more than was agreed" in privacy
    assert "Of 2" in regulator and "Annex IV" in regulator
    for receipt in opened.evidence.receipts:
        assert receipt.public_key not in site
    assert "va-long-beach" in site and "fedethics ledger verify" in site
    assert "accuracy score" in researcher and "Noise multiplier" in researcher


def test_a_person_with_more_records_is_told_so_on_the_privacy_officers_pages(published):
    for name in (folder.REPORT_PRIVACY, folder.SUMMARY_PRIVACY):
        page = (published / name).read_text()
        start = page.index("Promised to a person with so many records")
        rows = re.findall(r'<th scope="row"[^>]*>(\d+)</th>', page[start:])
        assert rows[:4] == ["1", "2", "5", "10"]


@pytest.mark.parametrize("words", [HOSTILE[0], HOSTILE[8]])
@pytest.mark.parametrize("role", SUMMARIES, ids=lambda role: role.file)
def test_every_text_of_a_summary_is_text(opened, found, role, words):
    before = Page(readers.summary(role, opened, found))
    after = Page(readers.summary(role, opened, spoilt(found, content.Content, words)))
    assert after.tags == before.tags


def test_the_ethics_page_names_what_failed_before_what_is_open(opened, found):
    rules = [
        Rule(name=name, topic="people", verdict=verdict, sentence="s.", evidence="e")
        for name, verdict in (("open_one", "cannot conclude"), ("broken_one", "fail"))
    ]
    judged = dataclasses.replace(gate.judge(opened), rules=tuple(rules), verdict="fail")
    named = unsettled(judged)
    assert [one.name for one in named] == ["broken one", "open one"]
    page = readers.html(readers.READERS[0], dataclasses.replace(found, unsettled=named))
    first = page[: page.index("<nav")]
    assert first.index("broken one") < first.index("open one")


@pytest.fixture(scope="module")
def crowded(stage, tmp_path_factory):
    """A release with 40 sites, long prose, 30 open rules and other ways of learning."""
    prose = "A sentence with many words that an ethics board wrote down at length. " * 30
    ethics = dataclasses.replace(
        stage.charter.ethics, harmed=prose, purpose=prose, reference_population=prose,
        not_measured=(prose, prose),
    )  # fmt: skip
    more = tuple(
        Member(
            site=f"a-hospital-with-a-long-name-{number}",
            public_key=Identity.generate().public_key,
            declared_records=90,
        )
        for number in range(36)
    )
    roster = (*stage.charter.roster, *more)
    staged = stage.with_charter(ethics=ethics, roster=roster)
    run = lay_out(tmp_path_factory.mktemp("crowded"), staged, staged.evidence(), compared=True)
    opened = folder.load(run)
    verdict = gate.judge(opened)
    made = content.build(opened, verdict, decide(opened.charter, verdict.verdict, ()))
    undecided = tuple(
        Unsettled(
            name=f"a long name of an objective {n}", verdict="cannot conclude", found="f " * 90
        )
        for n in range(30)
    )
    return opened, dataclasses.replace(made, unsettled=undecided)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")
@pytest.mark.parametrize("release", ["published", "crowded"])
def test_every_summary_prints_on_one_page_of_a4(request, tmp_path, release):
    if release == "crowded":
        opened, found = request.getfixturevalue("crowded")
        pages = {role.file: readers.summary(role, opened, found) for role in SUMMARIES}
    else:
        run = request.getfixturevalue("published")
        pages = {role.file: (run / role.file).read_text() for role in SUMMARIES}
    for name, text in pages.items():
        (tmp_path / name).write_text(text)
        printed = tmp_path / f"{name}.pdf"
        subprocess.run(
            [
                str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu",
                f"--user-data-dir={tmp_path / 'profile'}", "--no-pdf-header-footer",
                f"--print-to-pdf={printed}", (tmp_path / name).as_uri(),
            ],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        data = printed.read_bytes()
        assert len(re.findall(rb"/Type\s*/Page\b", data)) == 1, name
        width, height = map(
            float, re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", data).groups()
        )
        assert (round(width), round(height)) in {(595, 842), (596, 842)}
