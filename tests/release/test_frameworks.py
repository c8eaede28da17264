"""What a release answers of laws and standards follows from its charter and its evidence."""

from __future__ import annotations

import dataclasses

import pytest
from typer.testing import CliRunner

from fedethics.charter import document
from fedethics.charter.documentation_terms import DocumentationTerms
from fedethics.charter.signing import sign, standing
from fedethics.cli.charter import app as charter_app
from fedethics.errors import CharterError
from fedethics.release import folder, gate
from fedethics.release.card import data_card_of
from fedethics.release.content import build
from fedethics.release.decision import decide
from fedethics.release.frameworks.framework import Facts, counted, overview
from fedethics.release.frameworks.registry import FRAMEWORKS, all_mapped

SAID = DocumentationTerms(
    provider="The heart association, Example Street 1.",
    hardware="A server with 4 cores in the hospital.",
    oversight="A cardiologist reads each case and may overrule it.",
    label_provenance="Angiography, read by two cardiologists.",
    changes="None without a new charter.",
    monitoring="Every quarter, by the ethics board; a gap above 0.1 ends its use.",
)


def facts(run) -> Facts:
    opened = folder.load(run)
    judged = gate.judge(opened)
    decision = decide(opened.charter, judged.verdict, ())
    return Facts(folder=opened, gate=judged, decision=decision)


def answers(of: Facts, key: str) -> dict[str, tuple[str, str]]:
    return {row[0]: (row[2], row[3]) for row in all_mapped(of)[key].table.rows}


@pytest.fixture(scope="module")
def silent(published):
    return facts(published)


@pytest.fixture
def spoken(stage, lay):
    staged = stage.with_charter(documentation=SAID)
    return facts(lay(staged, staged.evidence()))


@pytest.mark.parametrize(
    ("item", "before", "after", "field"),
    [
        ("1 (a)", "in part", "yes", "provider"),
        ("1 (e)", "no", "yes", "hardware"),
        ("2 (d)", "in part", "in part", "label_provenance"),
        ("2 (e)", "in part", "yes", "oversight"),
        ("2 (f)", "no", "yes", "changes"),
        ("9", "no", "in part", "monitoring"),
    ],
)
def test_a_sentence_of_the_charter_answers_its_item(silent, spoken, item, before, after, field):
    assert answers(silent, "annex-iv")[item][0] == before
    answered, where = answers(spoken, "annex-iv")[item]
    assert answered == after and getattr(SAID, field) in where


def test_what_the_evidence_shows_decides_and_not_the_text(stage, heart, lay):
    lost = facts(lay(stage, dataclasses.replace(heart, receipts=heart.receipts[1:])))
    seen = facts(lay(stage, heart))
    assert answers(seen, "sp-800-226")["Epsilon"][0] == "yes"
    assert answers(lost, "sp-800-226")["Epsilon"][0] == "in part"
    seeded = facts(lay(stage, dataclasses.replace(heart, test_mode=True)))
    assert answers(seeded, "sp-800-226")["Implementation"][0] == "no"
    assert answers(seen, "sp-800-226")["Implementation"][0] != "no"
    assert seen.decision.sentence in answers(seen, "ai-rmf")["MANAGE 1.1"][1]


def test_items_are_listed_once_and_counted_right(silent):
    for key, mapped in all_mapped(silent).items():
        numbers = [row[0] for row in mapped.table.rows]
        assert len(set(numbers)) == len(numbers) == len(FRAMEWORKS[key].items)
        assert sum(counted(mapped.table)) == len(numbers)
    table = overview(tuple(all_mapped(silent).values()))
    for row, mapped in zip(table.rows, all_mapped(silent).values(), strict=True):
        absent = [one[0] for one in mapped.table.rows if one[2] == "no"]
        assert row[4] == ", ".join(absent) and int(row[3]) == len(absent)


def test_no_framework_claims_conformity(silent):
    for mapped in all_mapped(silent).values():
        said = " ".join((mapped.lead, *(cell for row in mapped.table.rows for cell in row))).lower()
        for claim in ("complies", "compliant", "we conform", "is certified", "in conformity"):
            assert claim not in said


def test_a_charter_without_the_table_keeps_its_hash_and_with_it_is_another_and_signed(stage):
    plain = document.encode(stage.charter)
    assert b"documentation" not in plain
    spoken = stage.with_charter(documentation=SAID)
    assert document.hash_of(spoken.charter) != document.hash_of(stage.charter)
    assert document.parse(document.encode(spoken.charter)) == spoken.charter
    part = stage.with_charter(documentation=DocumentationTerms(hardware="A laptop."))
    assert b"monitoring" not in document.encode(part.charter)
    made = sign(stage.charter, stage.coordinator, role="coordinator")
    assert standing(stage.charter, [made]).void == ()
    assert standing(spoken.charter, [made]).void


@pytest.mark.parametrize(
    ("text", "told"),
    [("[documentation]\n", "at least one of provider"),
     ('[documentation]\nprovider = " "\n', "documentation.provider: must not be empty"),
     ('[documentation]\nowner = "x"\n', "documentation.owner: unknown key")],
)  # fmt: skip
def test_a_table_that_says_nothing_is_refused(tmp_path, text, told):
    path = tmp_path / "charter.toml"
    path.write_text(document.charter_text("healthcare").replace("# [documentation]\n", text))
    with pytest.raises(CharterError, match=told):
        document.load(path)


def test_charter_show_and_diff_tell_the_sentences(tmp_path):
    draft = document.charter_text("healthcare")
    said = '[documentation]\nprovider = "The heart association."\n'
    plain, spoken = tmp_path / "plain.toml", tmp_path / "spoken.toml"
    plain.write_text(draft)
    spoken.write_text(draft.replace("# [documentation]\n", said))
    shown = CliRunner().invoke(charter_app, ["show", str(spoken)])
    assert shown.exit_code == 0 and "The heart association." in shown.output
    told = CliRunner().invoke(charter_app, ["diff", str(plain), str(spoken)])
    assert "nothing that is computed" in told.output


def test_the_data_card_has_the_labels_provenance(spoken):
    found = build(spoken.folder, spoken.gate, spoken.decision)
    card = data_card_of(spoken.folder, found)
    assert "## Labels" in card and "two cardiologists" in card
    assert "how well labellers agree" in card and "who labelled the records" not in card
