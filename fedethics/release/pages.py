"""The templates of this package, rendered strictly: an unknown name is an error, never a blank."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, context: dict[str, object]) -> str:
    """Render a template; in HTML, every value is escaped unless it is marked-up already."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(context)


def stylesheet() -> str:
    """Return the report's CSS."""
    return (_TEMPLATES / "report.css").read_text(encoding="utf-8")
