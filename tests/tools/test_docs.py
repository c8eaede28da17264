"""The documentation names only files, objects and tests that exist, and leaves no page out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    page
    for page in (*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("docs/**/*.md"))
    # Told as things were when they happened.
    if page.name != "CHANGELOG.md"
)
FOLDERS = "fedethics|server|clients|simulations|configs|tests|tools|docs|examples"
NAMED = re.compile(rf"`((?:{FOLDERS})/[\w./-]+\.(?:py|toml|md|service))(?:::([\w:]+))?`")


def pages_that_name_code():
    return [page for page in PAGES if NAMED.search(page.read_text())]


@pytest.mark.parametrize("page", pages_that_name_code(), ids=lambda page: page.name)
def test_every_file_and_object_that_a_page_names_exists(page):
    missing = []
    for path, name in NAMED.findall(page.read_text()):
        if "NAME" in path:
            continue
        file = ROOT / path
        defined = rf"^\s*(?:async )?(?:def|class) {name.rpartition(':')[2]}\b"
        if not file.is_file() or (name and not re.search(defined, file.read_text(), re.MULTILINE)):
            missing.append(f"{path}::{name}" if name else path)
    assert missing == []


def test_the_index_of_decisions_lists_each_with_its_title():
    index = (ROOT / "docs" / "adr" / "README.md").read_text()
    for page in (ROOT / "docs" / "adr").glob("0*.md"):
        title = re.sub(r"^# (\d+[.:]?\s*)?", "", page.read_text().splitlines()[0])
        assert f"[{title}]({page.name})" in index
