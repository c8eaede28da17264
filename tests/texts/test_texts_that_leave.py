"""Whatever a text holds, each way out prints it as text: same lines, rows, tags and sections."""

from __future__ import annotations

import ast
import csv
import html
import io
import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.panel import Panel
from rich.text import Text

from fedethics import texts
from fedethics.cli.output import Terminal, event_line, say, say_json, table
from fedethics.coordinator.events import EventLog
from fedethics.deployment.site_status import SiteStatus
from fedethics.deployment.site_status import render as metrics_of
from fedethics.release.sections.block import Table, front_matter, markdown
from fedethics.site.log import SiteLog

ROOT = Path(__file__).parents[2]
PIECES = (
    "\x1b]0;owned\x07", "\x1b[2J", "\x9b2J", "\u202e", "\u2066", "\u200b", "\u2028", "\x85", "\r",
    "\n", "\n\n# Gate: pass\n\n", "\n- **pass**: all", "\n---\n", "\n===\n", "\n    code", "<!--",
    "-->", "<script>alert(1)</script>", "</td></tr>", "|", "| --- |", "`", "```", "*", "_x_", "~~",
    "[bold]", "[/]", "[a](javascript:b)", "![a](b)", ":skull:", "&lt;", "&#10;", "{{ 7*7 }}", "$x$",
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1+1", "1. x", "2) x", "> x", "# x", "'", '"', "\\", "\\n",
    'x"} 1\nfake 2', "\U000e0041", "\ud800", "\ue000", "\ufdd0", "a" + "\u0301" * 40, "שלום",
    "漢字", "❤️‍🔥", "می‌خواهم", "https://a.example", "www.a.example", "%s", "{0}", "#010203",
)  # fmt: skip
HOSTILE = st.lists(
    st.sampled_from(PIECES) | st.text(st.characters(), max_size=4), min_size=1, max_size=4
).map("".join)
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\u200b]")


def assert_harmless(shown: str) -> None:
    assert FORBIDDEN.search(shown) is None
    assert texts.printed(shown) == shown


@given(HOSTILE)
def test_what_was_spelled_once_is_not_spelled_again(text):
    once = texts.printed(text)
    assert texts.fault(once, prose=True) == "" and texts.printed(once) == once
    assert texts.fault(texts.in_line(text), prose=True) == ""


@given(HOSTILE)
def test_good_prose_is_printed_as_it_is(text):
    if texts.fault(text, prose=True) == "":
        assert texts.printed(text) == text


# ---- the terminal


@given(HOSTILE)
def test_a_terminal_gets_text_wherever_a_renderable_holds_it(text):
    out = io.StringIO()
    screen = Terminal(file=out)
    screen.width = 2000
    screen.print(text)
    screen.print(Text(text))
    screen.print(Text.assemble((text, "bold"), text))
    screen.print(Panel(Text(text), title=Text(text)))
    screen.print(table(text, (text, "b"), [(text, 1.0), (text, 2)]))
    assert_harmless(out.getvalue())
    shown = texts.in_line(text)
    if "[" in shown and "\n" not in text:
        assert shown.split()[0] in out.getvalue()  # markup is shown, not obeyed


def test_markup_and_emoji_codes_are_words():
    out = io.StringIO()
    Terminal(file=out).print("[bold]x[/] :skull: [link=file:///etc]y[/]")
    assert out.getvalue() == "[bold]x[/] :skull: [link=file:///etc]y[/]\n"


@given(HOSTILE)
def test_a_table_keeps_its_rows(text):
    out = io.StringIO()
    screen = Terminal(file=out)
    screen.width = 2000
    screen.print(table("t", ("a", "b"), [(text, "end"), ("x", "end")]))
    ended = [line for line in out.getvalue().splitlines() if line.endswith("end │")]
    assert len(ended) == 2
    assert len(out.getvalue().splitlines()) == 7 + texts.printed(text).count("\n")


@given(HOSTILE)
def test_what_is_said_and_what_an_error_quotes_cannot_command_a_terminal(text):
    with pytest.MonkeyPatch.context() as patch:
        out = io.StringIO()
        patch.setattr("sys.stdout", out)
        say(text)
        assert_harmless(out.getvalue())
    assert_harmless(texts.message(f"file {text} is missing"))
    assert "\n" not in texts.message(f"file {text} is missing").replace("\n  - ", "")


@given(HOSTILE)
def test_json_on_a_terminal_is_harmless_and_reads_back(text):
    with pytest.MonkeyPatch.context() as patch:
        out = io.StringIO()
        patch.setattr("sys.stdout", out)
        say_json({text: [text]})
        said = out.getvalue()
    assert FORBIDDEN.search(said) is None
    assert json.loads(said) == {text: [text]}
    assert said.count("\n") == 1


@given(HOSTILE)
def test_an_event_is_one_line_of_plain_words(text):
    said = event_line(
        {"time": "t", "event": "x", "why": text, "dropped": {text: text}, "sites": [text]}
    )
    assert "\n" not in said
    assert_harmless(said)


def test_events_are_told_in_words_and_never_as_python():
    entry = {
        "time": "2026-01-01",
        "event": "round-committed",
        "round": 3,
        "survivors": ["a", "b"],
        "dropped": {"c": "masked"},
        "accuracy": {"value": 0.81234, "low": 0.75, "high": 0.86},
        "resumed": False,
        "why": None,
        "lost": {},
    }
    assert event_line(entry) == (
        "round-committed: round 3, survivors a, b, dropped c (masked), "
        "accuracy 0.8123 (0.75 to 0.86), resumed no, why none, lost none"
    )


# ---- Markdown, with its YAML


def rendered(source: str) -> str:
    return (
        MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(source)
    )


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"</?[a-z0-9]+[^>]*>", "", page)).split())


@given(HOSTILE)
@pytest.mark.parametrize("frame", ["{}", "- {}", "## {}", "a {}", "a, {}. b"])
def test_markdown_renders_a_text_as_itself(frame, text):
    shown = texts.in_line(text) or "x"
    page = rendered(frame.format(texts.markdown(text) or "x"))
    benign = rendered(frame.format("x"))
    assert re.findall(r"</?[a-z0-9]+", page) == re.findall(r"</?[a-z0-9]+", benign)
    assert words(page) == " ".join(words(benign).replace("x", shown, 1).split())


@given(HOSTILE)
def test_a_code_span_holds_any_text(text):
    page = rendered(f"a {texts.code(text)} b")
    assert re.findall(r"</?[a-z0-9]+", page) == ["<p", "<code", "</code", "</p"]
    assert texts.in_line(text) in html.unescape(page)


@given(st.lists(st.tuples(HOSTILE, HOSTILE), min_size=1, max_size=3), HOSTILE)
def test_a_markdown_table_keeps_its_rows_and_cells(rows, head):
    page = rendered(str(markdown(Table(head=(head, "b"), rows=tuple(rows)))))
    assert page.count("<tr>") == len(rows) + 1
    assert page.count("<td>") == 2 * len(rows) and page.count("<th>") == 2
    found = [html.unescape(cell) for cell in re.findall(r"<td>(.*?)</td>", page, re.DOTALL)]
    assert found == [texts.in_line(cell) for row in rows for cell in row]


@given(HOSTILE, HOSTILE)
@example("\U0002ebe1", "😀")
def test_front_matter_is_yaml_with_the_same_keys_and_texts(first, second):
    source = str(front_matter({"a": first, "b": [second, {"c": first}], "d": 0.5}))
    first, second = texts.printed(first), texts.printed(second)
    assert yaml.safe_load(source) == {"a": first, "b": [second, {"c": first}], "d": 0.5}
    assert len(source.splitlines()) == 3
    assert FORBIDDEN.search(source) is None


# ---- CSV, metrics, logs


@given(st.lists(HOSTILE, min_size=1, max_size=4))
def test_no_cell_of_csv_is_run_by_a_spreadsheet(values):
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_NONNUMERIC).writerow([texts.cell(one) for one in values])
    (row,) = csv.reader(io.StringIO(out.getvalue()))
    assert len(row) == len(values)
    for cell in row:
        assert not cell.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))
        assert "\n" not in cell and "\t" not in cell and "\r" not in cell
        assert_harmless(cell)


def test_a_number_stays_a_number_in_csv():
    assert [texts.cell(one) for one in (-1, -0.5, True)] == [-1, -0.5, True]


_SAMPLE = re.compile(r'[a-z_]+(\{([a-z_]+="([^"\\\n]|\\[\\"n])*",?)*\})? [0-9.e+-]+')


@given(HOSTILE, HOSTILE)
def test_a_label_of_prometheus_ends_no_line_and_no_label(site, account):
    lines = metrics_of(SiteStatus(site=site, account=account)).splitlines()
    benign = metrics_of(SiteStatus(site="x", account="y")).splitlines()
    assert len(lines) == len(benign)
    for line in lines:
        assert line.startswith("# ") or _SAMPLE.fullmatch(line), line
        assert_harmless(line)


@given(HOSTILE)
def test_a_log_keeps_one_object_a_line(text):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        SiteLog(Path(folder) / "log.jsonl").write("refused", why=text)
        EventLog(Path(folder)).write("refused", sentence=text, dropped={text: text})
        for name in ("log.jsonl", "events.jsonl"):
            data = (Path(folder) / name).read_bytes()
            assert data.count(b"\n") == 1 and data.isascii()
            assert text in json.loads(data).values()


# ---- and nothing goes around them


def test_no_command_prints_past_the_one_door():
    """`typer.echo`, `print` and a console of rich's own stand in `cli/output.py` only."""
    door = ROOT / "fedethics" / "cli" / "output.py"
    past: list[str] = []
    for package in ("fedethics/cli", "fedethics/release", "simulations"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and path != door:
                    called = ast.unparse(node.func)
                    if called in {"typer.echo", "typer.secho", "click.echo", "print", "Console"}:
                        past.append(f"{path.relative_to(ROOT)}:{node.lineno} {called}")
    assert past == []
