"""Every window of a charter in one folder: read, verified, and shown as one page.

The folder is the one that the windows' run folders lie in: `jobs/` of a coordinator's home, and
`RUN-monitoring/windows/` beside a simulated run. The page is `monitoring.html` there; it loads
nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from markupsafe import Markup, escape

from fedethics import texts
from fedethics.aggregates.monitoring import window_number
from fedethics.charter import document
from fedethics.charter.model import Charter
from fedethics.errors import FedethicsError
from fedethics.monitoring import alarm, evidence, verdict
from fedethics.monitoring.baseline import Baseline
from fedethics.monitoring.verdict import Figure, WindowVerdict, judge_window
from fedethics.release import durable
from fedethics.release.pages import stylesheet

PAGE = "monitoring.html"
_CHARTER = "charter.json"
_SIGN = {"holds": "✓ holds", "drifted": "✗ drifted", "cannot conclude": "? cannot conclude"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """One window's folder, and what is wrong with it; nothing wrong is an empty tuple."""

    folder: Path
    window: int
    problems: tuple[str, ...]


def read(folder: Path, charter_hash: str = "") -> tuple[WindowVerdict, ...]:
    """Return the verdicts of all windows that lie in a folder, in the order of their windows.

    Args:
        folder: the windows' run folders lie in it.
        charter_hash: of one charter only; empty for all.

    Raises:
        ReleaseError: a verdict is malformed.
    """
    found = [verdict.load(one) for one in _folders(folder)]
    kept = [one for one in found if charter_hash in ("", one.charter_hash)]
    return tuple(sorted(kept, key=lambda one: (one.charter_hash, one.window)))


def check(folder: Path, baseline: Baseline | None = None) -> tuple[Checked, ...]:
    """Return what is wrong with each window: signatures, receipts, sum, alarm, and the verdict.

    A window that was begun and has no verdict is wrong too, unless another run read it.

    Args:
        folder: the windows' run folders lie in it.
        baseline: of the release; without it, verdicts are not computed again.
    """
    ended = {(one.charter_hash, one.window) for one in map(_told, _folders(folder)) if one}
    without = [one for one in _unended(folder) if _named(one) not in ended]
    found = [
        *(_checked(one, baseline) for one in _folders(folder)),
        *(_without_verdict(one) for one in without),
    ]
    return tuple(sorted(found, key=lambda one: one.folder))


@dataclass(frozen=True, kw_only=True, slots=True)
class Unread:
    """The windows of one charter that may be read by now and have no verdict in a folder."""

    charter: str
    windows: tuple[int, ...]


def unread(folder: Path, today: date) -> tuple[Unread, ...]:
    """Return which windows have no verdict though they are over, charter by charter.

    Nobody read them, or their folders were taken away: the folder cannot tell which.

    Args:
        folder: the windows' run folders lie in it.
        today: windows that may be read from this day on are over.
    """
    charters, ended = dict[str, Charter](), dict[str, set[int]]()
    for one in (*_folders(folder), *_unended(folder)):
        try:
            charter = document.load(one / _CHARTER)
        except FedethicsError:
            continue  # `check` says so
        if charter.monitoring is None:
            continue
        charters[document.hash_of(charter)] = charter
    for said in map(_told, _folders(folder)):
        if said is not None:
            ended.setdefault(said.charter_hash, set()).add(said.window)
    found = []
    for key, charter in charters.items():
        read_here = ended.get(key, set())
        newest = charter.monitoring.newest(today) if charter.monitoring else 0
        newest = max([newest, *read_here])
        missing = tuple(number for number in range(1, newest + 1) if number not in read_here)
        if missing:
            named = f"{charter.name}, version {charter.charter.version}"
            found.append(Unread(charter=named, windows=missing))
    return tuple(found)


def _told(folder: Path) -> WindowVerdict | None:
    try:
        return verdict.load(folder)
    except FedethicsError:
        return None


def _unended(folder: Path) -> list[Path]:
    """Return the folders of windows that were begun and have no verdict."""
    if not folder.is_dir():
        return []
    begun = [
        one
        for one in folder.iterdir()
        if one.is_dir()
        and not os.path.lexists(one / verdict.VERDICT)
        and (os.path.lexists(one / evidence.WINDOW) or _watches(one))
    ]
    return sorted(begun)


def _watches(folder: Path) -> bool:
    if not os.path.lexists(folder / _CHARTER):
        return False
    try:
        return document.load(folder / _CHARTER).monitoring is not None
    except FedethicsError:
        return True  # it may be one; `check` says that it is not readable


def _named(folder: Path) -> tuple[str, int] | None:
    """Return charter and window of a run that counted nothing here; None where it did."""
    if os.path.lexists(folder / evidence.WINDOW):
        return None
    try:
        charter = document.load(folder / _CHARTER)
    except FedethicsError:
        return None
    return document.hash_of(charter), window_number(folder.name) or 0


def _without_verdict(folder: Path) -> Checked:
    opened = os.path.lexists(folder / evidence.WINDOW)
    said = (
        f"{folder.name} has {evidence.WINDOW} and no {verdict.VERDICT}: its verdict was taken away."
        if opened
        else f"{folder.name} was begun and has no {evidence.WINDOW}: the window is still being "
        "read, was interrupted, or its files were taken away."
    )
    return Checked(folder=folder, window=window_number(folder.name) or 0, problems=(said,))


def _checked(folder: Path, baseline: Baseline | None) -> Checked:
    number, problems = 0, list[str]()
    try:
        charter, found = evidence.load(folder)
        number, said = found.window, verdict.load(folder)
        problems += evidence.faults(charter, found)
        if baseline is not None and judge_window(charter, baseline, found) != said:
            problems.append(f"{verdict.VERDICT} does not follow from charter, release and counts.")
        if said.verdict == "drifted":
            fault = alarm.fault(alarm.load(folder), charter)
            problems += [fault] if fault else []
    except FedethicsError as error:
        problems.append(str(error))
    return Checked(folder=folder, window=number, problems=tuple(problems))


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        one for one in folder.iterdir() if os.path.lexists(one / verdict.VERDICT) and one.is_dir()
    )


def write_page(folder: Path, charter: Charter) -> None:
    """Write the history of one charter's windows as a page."""
    windows = read(folder, document.hash_of(charter))
    durable.write(folder / PAGE, page(windows, charter).encode("utf-8"))


def page(windows: Sequence[WindowVerdict], charter: Charter) -> str:
    """Return the page: the newest verdict first, then each figure's history."""
    title = f"Monitoring of {charter.name}"
    newest = windows[-1] if windows else None
    says = newest.sentence if newest else "No window was read yet."
    parts = [
        f"<h1>{_text(title)}</h1>",
        f"<p>{_text(says)}</p>",
        f"<p>Release {_text((charter.monitoring.release if charter.monitoring else '')[:16])}. "
        "Intervals account for all windows together: over the whole monitoring, the chance of any "
        "false alarm is at most the charter's.</p>",
        "<h2>Windows</h2>",
        _table(
            ("Window", "From", "To", "Verdict", "Records, with noise", "Confidence"),
            [
                (
                    str(one.window), one.first_day, one.last_day, _SIGN[one.verdict],
                    str(one.records), f"{one.confidence:.4%}",
                )
                for one in windows
            ],
        ),
    ]  # fmt: skip
    names = dict.fromkeys(each.name for one in windows for each in one.figures)
    for name in names:
        rows = [
            (str(one.window), *_cells(each))
            for one in windows
            for each in one.figures
            if each.name == name
        ]
        parts.append(f"<h2>{_text(name)}</h2>")
        parts.append(_drawn(name, windows))
        parts.append(_table(("Window", "Value", "Interval", "Bar", "Verdict", "Note"), rows))
    unwatched = sorted({name for one in windows for name in one.unwatched})
    if unwatched:
        parts.append(f"<h2>Not watched</h2><p>{_text(', '.join(unwatched))}</p>")
    # Safe: the package's own stylesheet.
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_text(title)}'
        '</title><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{stylesheet()}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


def _text(value: str) -> Markup:
    return escape(texts.printed(value))


def _cells(figure: Figure) -> tuple[str, ...]:
    low, high = (("?" if one is None else f"{one:.3f}") for one in (figure.low, figure.high))
    bar = "none" if figure.bar is None else f"{figure.direction.replace('-', ' ')} {figure.bar:g}"
    value = "no estimate" if figure.value is None else f"{figure.value:.3f}"
    return (value, f"{low} to {high}", bar, _SIGN.get(figure.verdict or "", "-"), figure.note)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    heads = "".join(f'<th scope="col">{_text(one)}</th>' for one in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


_WIDTH, _HEIGHT, _EDGE = 560, 120, 12


def _drawn(name: str, windows: Sequence[WindowVerdict]) -> str:
    """Return a drawing of a figure's intervals over the windows, with its bar."""
    points = [
        (one.window, each)
        for one in windows
        for each in one.figures
        if each.name == name and each.low is not None and each.high is not None
    ]
    if not points:
        return ""
    bars = [each.bar for _, each in points if each.bar is not None]
    most = max([min(each.high or 0.0, 2.0) for _, each in points] + bars) or 1.0
    least = min([max(each.low or 0.0, -1.0) for _, each in points] + bars + [0.0])
    first, last = points[0][0], points[-1][0]

    def x(window: int) -> float:
        return _EDGE + (_WIDTH - 2 * _EDGE) * (window - first + 0.5) / (last - first + 1)

    def y(value: float) -> float:
        part = (min(max(value, least), most) - least) / (most - least or 1.0)
        return _HEIGHT - _EDGE - (_HEIGHT - 2 * _EDGE) * part

    marks = [
        f'<line x1="0" x2="{_WIDTH}" y1="{y(bar):.1f}" y2="{y(bar):.1f}" stroke="currentColor" '
        'stroke-dasharray="5 4"/>'
        for bar in sorted(set(bars))
    ]
    for window, each in points:
        place, low, high = x(window), y(each.low or 0.0), y(each.high or 0.0)
        width = 5 if each.verdict == "drifted" else 2
        marks.append(
            f'<line x1="{place:.1f}" x2="{place:.1f}" y1="{low:.1f}" y2="{high:.1f}" '
            f'stroke="currentColor" stroke-width="{width}"/>'
        )
        if each.value is not None:
            marks.append(
                f'<circle cx="{place:.1f}" cy="{y(each.value):.1f}" r="4" fill="currentColor"/>'
            )
    said = f"{name} by window, with intervals and bar; the table below has the numbers"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="100%" role="img" '
        f'aria-label="{_text(said)}">{"".join(marks)}</svg>'
    )
