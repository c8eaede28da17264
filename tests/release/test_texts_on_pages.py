"""Pages and cards have the same tags and sections whatever the texts in them say."""

from __future__ import annotations

import dataclasses
import re
import typing
from html.parser import HTMLParser

import pytest
import yaml
from markdown_it import MarkdownIt
from markupsafe import Markup

from fedethics import texts
from fedethics.learning_tasks import task_names
from fedethics.release import card, content, folder, gate, readers
from fedethics.release.decision import decide
from fedethics.release.publish import publish
from tests.release.conftest import lay_out
from tests.texts.fields import text_fields

HOSTILE = (
    "<!--",
    "--><script>alert(1)</script>",
    "</td></tr></table><h1>Gate: pass</h1>",
    "\n\n# Gate: pass, approved by everybody\n\n",
    "\n---\nlicense: mit\n---\n",
    "| a | b |\n| --- | --- |",
    "``` ` ``",
    "](javascript:alert(1)) ![x](y) [z]",
    "\u202egnisrever\x1b]0;owned\x07\u2028",
    "' \" onload=alert(1) x='",
    "&lt;b&gt; &amp; $x$ {{ 7*7 }} {% raw %}",
    "- list\n1. list\n> quote\n    code",
)


class Page(HTMLParser):
    """The tags of a page with the names of their attributes, and its text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(f"{tag} {sorted(name for name, _ in attrs)}")

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_comment(self, data: str) -> None:
        self.tags.append("comment")


def spoilt(value: object, hint: object, words: str) -> object:
    """A copy of a value in which every free text has `words` before and behind it.

    Words that only the code chooses, which decide what a template shows, stay: choices and names
    of files.
    """
    if value == "" or isinstance(value, Markup) or typing.get_origin(hint) is typing.Literal:
        return value
    if value in task_names():  # a choice too, of a registry: a charter with another is refused
        return value
    if isinstance(value, str):
        return f"{words}{value}{words}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = typing.get_type_hints(type(value))
        changed = {
            each.name: spoilt(getattr(value, each.name), hints[each.name], words)
            for each in dataclasses.fields(value)
            if each.init
        }
        return dataclasses.replace(value, **changed)
    if isinstance(value, tuple):
        inner = next(iter(typing.get_args(hint)), str)
        return tuple(spoilt(item, inner, words) for item in value)
    if isinstance(value, dict):
        # Names of rules and their reasons; openings are kept under a word of the code.
        named = all(isinstance(item, str) for item in value.values())
        return {
            spoilt(key, str, words) if named else key: spoilt(item, type(item), words)
            for key, item in value.items()
        }
    return value


@pytest.fixture(scope="module")
def opened(published):
    return folder.load(published)


@pytest.fixture(scope="module")
def found(opened):
    verdict = gate.judge(opened)
    return content.build(opened, verdict, decide(opened.charter, verdict.verdict, ()))


@pytest.mark.parametrize("words", HOSTILE)
@pytest.mark.parametrize("page", readers.READERS, ids=lambda page: page.file)
def test_every_text_of_the_content_is_text_on_the_page(found, page, words):
    before = Page(readers.html(page, found))
    source = readers.html(page, spoilt(found, content.Content, words))
    after = Page(source)
    assert after.tags == before.tags
    shown = " ".join(texts.printed(words).split())
    assert shown in " ".join(" ".join(after.words).split())
    assert re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e]", source) is None


@pytest.mark.parametrize("words", HOSTILE)
@pytest.mark.parametrize("card_of", [card.card_of, card.data_card_of], ids=["model", "data"])
def test_every_text_of_the_content_is_text_on_the_card(opened, found, card_of, words):
    before = parts(card_of(opened, found))
    after = parts(card_of(opened, spoilt(found, content.Content, words)))
    assert after[0].keys() == before[0].keys()
    assert [token.type for token in after[1]] == [token.type for token in before[1]]
    assert re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e]", str(after)) is None


def parts(source: str) -> tuple[dict, list]:
    """The front matter as a YAML reader sees it, and the body's blocks and inline tokens."""
    _, front, body = re.split(r"^---\n", source, maxsplit=2, flags=re.MULTILINE)
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    flat = [
        token
        for outer in tokens
        for token in (outer, *(inner for inner in outer.children or () if inner.type != "text"))
    ]
    return yaml.safe_load(front), flat


HOSTILE_NAMES = (" <!--", "--> | `x` | [a](b)", "$\\alpha$ #1 ~b~", "_hidden", "=1+1 '\"")


def test_a_charter_of_hostile_names_and_prose_gives_the_same_release(stage, lay, published_tags):
    """All texts that a charter can choose, at once, through the gate, the pages and both cards."""
    charter = stage.charter
    sensitive = tuple(
        dataclasses.replace(
            one,
            groups=tuple(f"{group}{HOSTILE_NAMES[i]}" for i, group in enumerate(one.groups)),
        )
        for one in charter.data.sensitive
        if one.edges
    )
    prose = "".join(HOSTILE[:8])
    assert texts.fault(prose, prose=True) == ""
    ethics = dataclasses.replace(
        charter.ethics,
        purpose=prose,
        harmed=prose,
        reference_population=prose,
        not_measured=tuple(prose for _ in charter.ethics.not_measured),
        objectives=tuple(dataclasses.replace(one, why=prose) for one in charter.ethics.objectives),
    )
    kept = tuple(one for one in charter.data.sensitive if not one.edges)
    label = dataclasses.replace(
        charter.data.label, positive_name=f"ill{HOSTILE_NAMES[0]}", negative_name=HOSTILE_NAMES[1]
    )
    data = dataclasses.replace(
        charter.data, source=prose, label=label, sensitive=(*kept, *sensitive)
    )
    staged = stage.with_charter(ethics=ethics, data=data)
    run = lay(staged, staged.evidence())
    publish(run, staged.coordinator)
    assert tags_of(run) == published_tags
    card_text = folder.located(run, folder.CARD).read_text(encoding="utf-8")
    headings = [line for line in card_text.splitlines() if line.startswith("#")]
    assert not [line for line in headings if "Gate" in line]
    assert "<!--" not in re.sub(r"\\<", "", card_text)


@pytest.fixture(scope="module")
def published_tags(stage, tmp_path_factory):
    run = lay_out(tmp_path_factory.mktemp("plain"), stage, stage.evidence())
    publish(run, stage.coordinator)
    return tags_of(run)


def tags_of(run) -> dict[str, list[str]]:
    pages = {
        name: Page(drawings_off((run / name).read_text(encoding="utf-8"))).tags
        for name in (folder.REPORT, folder.REPORT_PRIVACY, folder.REPORT_REGULATOR)
    }
    for name in (folder.CARD, folder.DATA_CARD):
        front, tokens = parts(folder.located(run, name).read_text(encoding="utf-8"))
        pages[name] = [*front, *(token.type for token in tokens)]
    return pages


def drawings_off(source: str) -> str:
    """Without drawings: a longer label may be drawn on more lines."""
    return re.sub(r"<svg class=\"drawing\".*?</svg>", "", source, flags=re.DOTALL)


def test_what_only_a_coordinator_writes_has_no_words_of_its_own(stage, heart):
    """Every text of the evidence is a hash, a time, a site's name or a word of the protocol."""
    # Written and signed by others, and checked by the gate.
    signed = {"SignedReceipt", "CharterSignature", "Countersignature"}
    owners = {"Evidence", "Package", "Plan", "Dropout", "OpenedSum", "Progress", "Counted"}
    for field in text_fields():
        if field.owner.__module__ == "fedethics.release.evidence" and (
            field.owner.__name__ not in signed
        ):
            assert field.owner.__name__ in owners
            (declared,) = (f for f in dataclasses.fields(field.owner) if f.name == field.name)
            pattern, check = declared.metadata["pattern"], declared.metadata["check"]
            assert pattern or check, str(field)
            for sentence in ("Gate: pass, approved by everybody", "<!--", "x\ny", "x y. z"):
                no_match = bool(pattern) and re.fullmatch(pattern, sentence) is None
                assert no_match or (check and check(sentence)), str(field)


def test_report_json_reads_back_and_holds_no_command(found):
    said = content.report_json(spoilt(found, content.Content, HOSTILE[8]))
    assert re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e]", said) is None
