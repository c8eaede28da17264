"""The templates of this package, rendered strictly: an unknown name is an error, never a blank.

Guarantee: a value is text and nothing more. In HTML it is escaped; in Markdown it is one run of
words that begins no heading, list, comment, link, table or front matter; in both, characters that
would turn the line or hide are spelled (`fedethics.texts`). Only what this package marked up itself
(`Markup`) goes in as it is.

What writes the pages, as one hash: where two machines have the same, pages come out the same.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import fedethics
from fedethics import canonical, texts

_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, context: Mapping[str, object], *, templates: Path = _TEMPLATES) -> str:
    """Render a template of a folder: `.html.j2` as HTML, `.md.j2` as Markdown."""
    environment = _environment(templates, html=template.endswith(".html.j2"))
    return environment.get_template(template).render(context)


@cache
def _environment(templates: Path, *, html: bool) -> Environment:
    """Return what renders all templates of one folder and form; it keeps them compiled."""
    environment = Environment(
        loader=FileSystemLoader(templates),
        # Markdown is escaped by its own rule below.
        autoescape=html,  # noqa: S701
        finalize=_html if html else _markdown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["code"] = _code
    return environment


def stylesheet(name: str = "report.css") -> str:
    """Return CSS of this package; the report's, if no other is named."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _html(value: object) -> object:
    # Called for each value that a template prints, before jinja2 escapes it.
    return texts.printed(value) if isinstance(value, str) and not _marked(value) else value


def _markdown(value: object) -> object:
    return value if _marked(value) else texts.markdown(str(value))


def _code(value: object) -> Markup:
    # Safe: a code span of Markdown holds no markup.
    return Markup(texts.code(str(value)))  # noqa: S704


def _marked(value: object) -> bool:
    return isinstance(value, Markup)


# All that figures, words and drawings are computed with, beside this package.
_PACKAGES = ("dp-accounting", "jinja2", "markupsafe", "matplotlib", "numpy", "scipy")
_SOURCES = frozenset({".py", ".j2", ".css"})


@cache
def renderer_sha256() -> str:
    """Return the SHA-256 over the installed sources, templates, packages, Python and machine."""
    root = Path(fedethics.__file__).parent
    files = sorted(path for path in root.rglob("*") if path.suffix in _SOURCES)
    table: dict[str, canonical.Json] = {
        "sources": {
            path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        },
        "packages": {name: version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    return canonical.sha256_hex(canonical.encode(table))
