"""Tables and front matter of the cards."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from fedethics import texts
from fedethics.release.sections.block import Table


def markdown(table: Table) -> Markup:
    """Return a pipe table; what a cell holds cannot break out of it."""

    def line(cells: tuple[str, ...]) -> str:
        return f"| {' | '.join(texts.markdown(cell) for cell in cells)} |"

    rule = f"| {' | '.join(('---',) * len(table.head))} |"
    # Safe: every cell is escaped, and the rest is ours.
    return Markup("\n".join([line(table.head), rule, *map(line, table.rows)]))  # noqa: S704


def front_matter(values: Mapping[str, object]) -> Markup:
    """Return YAML, one key a line; values are spelled as JSON, which YAML contains."""
    # Safe: JSON keeps each value on its line and in its quotation marks.
    lines = (f"{key}: {texts.json_text(_plain(value))}" for key, value in values.items())
    # Who shows the card without knowing front matter must meet no tag and no comment.
    return Markup("\n".join(lines).replace("<", "\\u003c"))  # noqa: S704


def _plain(value: object) -> object:
    # YAML cannot spell a character beyond 16 bits as JSON does; what is left of them is printable.
    if isinstance(value, str):
        return texts.printed(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
