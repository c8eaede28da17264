"""Pages and messages in plain English: no private idioms, no whole paragraphs in one sentence.

It reads the pages below, every text of four words or more in the code that a person can see
(messages, help, captions), and the docstrings of modules and of everything public.
"""

from __future__ import annotations

import ast
import re
from functools import cache, partial
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# The specification, the record of decisions and the changelog have a form of their own.
PAGES = sorted(
    page
    for page in (*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("docs/*.md"))
    if page.name not in {"CHANGELOG.md", "secagg.md"}
)
MODULES = sorted(
    file
    for folder in ("fedethics", "simulations", "server", "clients")
    for file in ROOT.joinpath(folder).rglob("*.py")
)
TEMPLATES = sorted(ROOT.glob("fedethics/release/templates/*.j2"))
LONGEST = 35
# Guarantees with their formulas.
LONGEST_OF_A_DOCSTRING = 40

# What a reader who learnt English at school must guess, and what to write instead.
IDIOMS = {
    r"all but": "nearly; everything except",
    r"anew": "again",
    r"be told (?:apart|from)": "be distinguished",
    r"beside (?:it|them|each)": "next to; in addition to",
    r"but for (?:the|their|its|case|ledgers)": "except for",
    r"buys? (?:noise|nothing)": "only adds noise",
    r"dial(?:s|led)?": "connect to",
    r"f[ae]ll(?:s|ing)? silent": "stop answering",
    r"for good": "permanently",
    r"for want of": "because there is no",
    r"give(?:s|n)? away": "reveal",
    r"hangs? on": "depend on",
    r"held back": "withheld",
    r"hear(?:s|d)? of it": "receive a message about it",
    r"in earnest": "",
    r"in league": "colluding",
    r"(?:in|on|to|of) nothing but": "only",
    r"in the dark": "without this information",
    r"lead(?:s|ing)? nowhere": "be refused",
    r"lean(?:s|ed)? on": "rely on",
    r"left to itself": "by default",
    r"likewise": "in the same way; the same",
    r"live with": "accept",
    r"nobody (?:answers|asked|attacked|expected|gives|will)": "say who, in the active voice",
    r"nobody's": "of no person",
    r"of (?:his|her|its|their|one's) own accord": "by itself",
    r"once and for all": "permanently",
    r"otherwise than": "differently from",
    r"own words? (?:are|is) above": "its message is above",
    r"copy (?:was |were )?put back": "restored",
    r"(?:speaks?|speaking) of": "describe; be about",
    r"stands? (?:alone|before|behind|beside|here|in the|on|there|twice)": "is; is listed",
    r"thereof|therein|thereby|herein|whence|hence": "of it; so",
    r"thrown away": "deleted",
    r"told (?:alike|as|apart|otherwise)": "written as; sent; distinguished",
    r"tomorrow": "later",
    r"who speaks": "the sender",
    r"whoever": "anyone who",
    r"without end": "without a limit",
    r"without flattery|flatter\w*": "say what was measured",
    r"words? (?:it|them) otherwise": "word it differently",
}
IDIOM = re.compile("|".join(rf"\b(?:{idiom})\b" for idiom in IDIOMS), re.IGNORECASE)


def _prose(markdown: str) -> list[str]:
    """Return the paragraphs, list items and table cells of a page, without code."""
    text = re.sub(r"^( *)```.*?^\1```", "", markdown, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`]*`", "CODE", text)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    blocks: list[str] = []
    for line in text.splitlines():
        item = re.match(r"\s*(?:[-*] |\d+\. |#+ |\||>|$)", line)
        if line.lstrip().startswith("|"):
            blocks += [cell for cell in line.strip().strip("|").split("|")]
        elif item or not blocks:
            blocks.append(line)
        else:
            blocks[-1] += " " + line.strip()
    return [block for block in blocks if block.strip()]


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "VALUE" for part in node.values)
    return None


@cache
def _said(file: Path) -> list[tuple[int, str]]:
    """Return (line, text) of what a module can show to a person."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    silent: set[ast.AST] = set()
    if "cli" not in file.parts:
        holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        for node in ast.walk(tree):
            if isinstance(node, holders) and node.body and isinstance(node.body[0], ast.Expr):
                silent.add(node.body[0].value)
    found: list[tuple[int, str]] = []
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if node in silent:
            continue
        text = _text(node)
        if text is None:
            todo += ast.iter_child_nodes(node)
        elif len(text.split()) >= 4 and "SELECT" not in text and "CREATE TABLE" not in text:
            found.append((getattr(node, "lineno", 0), text))
    return found


# Drawn in characters: a tree, or columns that are aligned.
_TABLE = re.compile(r"[├└│]|\S {2,}\S")


@cache
def _docstrings(file: Path) -> list[tuple[int, str]]:
    """Return (line, text) of the docstrings of a module and of its public names, without code."""
    found: list[tuple[int, str]] = []
    holders = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        named = isinstance(node, holders) and not node.name.startswith("_")
        if named or isinstance(node, ast.Module):
            text = re.sub(r"`[^`]*`", "CODE", ast.get_docstring(node) or "")
            lines = [line for line in text.splitlines() if not _TABLE.search(line)]
            prose = re.sub(r"(?<=\S)\n *(?=\S)", " ", "\n".join(lines))
            found.append((getattr(node, "lineno", 1), prose))
    return found


def _sentences(text: str) -> list[str]:
    return re.split(r"[.!?;:](?:\s|$)|\n\s*\n|\n *[-#*] ", text)


def _long(text: str, *, longest: int = LONGEST) -> list[str]:
    counted = ((len(re.findall(r"[A-Za-z][\w'-]*", one)), one) for one in _sentences(text))
    return [f"{count} words: {one.strip()[:90]}" for count, one in counted if count > longest]


def _idioms(text: str) -> list[str]:
    return [f"{found[0]!r} in: {text[max(0, found.start() - 40) :][:90]}" for found in
            IDIOM.finditer(text)]  # fmt: skip


MEASURES = {"idioms": _idioms, "length": _long}
OF_DOCSTRINGS = MEASURES | {"length": partial(_long, longest=LONGEST_OF_A_DOCSTRING)}


@pytest.mark.parametrize("measure", MEASURES)
def test_pages_are_in_plain_english(measure):
    found = [
        f"{page.relative_to(ROOT)}: {fault}"
        for page in (*PAGES, *(TEMPLATES if measure == "idioms" else ()))
        for block in _prose(page.read_text(encoding="utf-8"))
        for fault in MEASURES[measure](block)
    ]
    assert found == []


@pytest.mark.parametrize("measure", MEASURES)
def test_messages_are_in_plain_english(measure):
    found = [
        f"{file.relative_to(ROOT)}:{line}: {fault}"
        for file in MODULES
        for line, text in _said(file)
        for part in text.split("\n")
        for fault in MEASURES[measure](part)
    ]
    assert found == []


@pytest.mark.parametrize("measure", MEASURES)
def test_public_docstrings_are_in_plain_english(measure):
    found = [
        f"{file.relative_to(ROOT)}:{line}: {fault}"
        for file in MODULES
        for line, text in _docstrings(file)
        for fault in OF_DOCSTRINGS[measure](text)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "measure"),
    [
        ("The site keeps to it for good.", "idioms"),
        ("Whoever asks is answered.", "idioms"),
        ("| a | cell that speaks of it |", "idioms"),
        ("The site is not told, and leads nowhere.", "idioms"),
        ("A sentence " + "with a word more " * 9, "length"),
        ("- An item " + "that goes on\n  and on " * 9, "length"),
    ],
)
def test_a_fault_is_found_in_a_page(text, measure):
    assert [fault for block in _prose(text) for fault in MEASURES[measure](block)]


def test_a_fault_is_found_in_a_docstring_over_the_end_of_a_line(tmp_path):
    file = tmp_path / "module.py"
    words = "\n".join(["word"] * (LONGEST_OF_A_DOCSTRING + 1))
    file.write_text(f'"""{words}"""\n\n\ndef public():\n    """Wait for\n    good."""\n')
    (_, module), (_, function) = _docstrings(file)
    assert OF_DOCSTRINGS["length"](module) and OF_DOCSTRINGS["idioms"](function)


def test_code_and_links_of_a_page_are_no_words():
    text = "Run `for good`:\n\n```\nwhoever\n```\n\n" + "[a](" + "b/" * 50 + "c)"
    assert not [fault for block in _prose(text) for fault in (*_idioms(block), *_long(block))]
