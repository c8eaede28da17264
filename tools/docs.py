"""Build the documentation site into `build/site`; a broken link or a page left out fails.

    make docs

The pages are the repository's own Markdown files, each at its own place, so that a link works in a
checkout and on the site alike. Files that a page links to come along.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "build" / "docs"
SOURCES = ("*.md", "clients/README.md", "server/README.md", "docs/**/*.md")
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def main() -> int:
    """Gather the pages and build the site; return the exit code."""
    shutil.rmtree(PAGES, ignore_errors=True)
    for pattern in SOURCES:
        for page in ROOT.glob(pattern):
            _take(page)
            for link in _LINK.findall(page.read_text(encoding="utf-8")):
                linked = (page.parent / link).resolve()
                if linked.is_file() and linked.suffix != ".md":
                    _take(linked)
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", "mkdocs.yml"]
    done = subprocess.run(build, cwd=ROOT, check=False)
    if done.returncode == 0:
        print(f"{ROOT / 'build' / 'site' / 'index.html'}")
    return done.returncode


def _take(file: Path) -> None:
    place = PAGES / file.relative_to(ROOT)
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, place)


if __name__ == "__main__":
    sys.exit(main())
