"""A table as Markdown, for the cards."""

from __future__ import annotations

from fedethics.release.sections.block import Table


def markdown(table: Table) -> str:
    """Return a pipe table; what a cell holds cannot break out of it."""

    def line(cells: tuple[str, ...]) -> str:
        plain = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
        return f"| {' | '.join(plain)} |"

    return "\n".join([line(table.head), line(("---",) * len(table.head)), *map(line, table.rows)])
