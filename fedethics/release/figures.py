"""Matplotlib figures as inline SVG: text stays text, colours follow the page, bytes repeat.

Guarantee: equal figures give equal markup; the markup loads nothing, runs nothing, and takes its
colours and fonts from the page's CSS variables, so that light, dark and print each read well.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any, NamedTuple

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedethics import texts

# Drawn in these colours, then replaced by the page's variables of the same meaning. They are
# chosen not to occur otherwise.
INK, MUTED, RULE, CARD = "#010203", "#010204", "#010205", "#010206"
PASS, FAIL, UNSURE = "#010207", "#010208", "#010209"
SERIES = ("#01020a", "#01020b", "#01020c", "#01020d", "#01020e", "#01020f")
DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = (
    "-",
    (0, (5, 2)),
    (0, (1.5, 1.5)),
    (0, (6, 2, 1.5, 2)),
    (0, (3, 1)),
    (0, (8, 3)),
)
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p", "*", "h", "<", ">")


class Look(NamedTuple):
    """How one of several series is drawn.

    Attributes:
        colour, dash, marker: as matplotlib takes them.
        face: colour inside the marker; the ground's for a hollow one.
    """

    colour: str
    dash: str | tuple[int, tuple[float, ...]]
    marker: str
    face: str


def look(index: int) -> Look:
    """Return the look of the series with this place in its figure.

    Marks of the first 24 differ without their colour, marks of the first 144 with it.
    """
    twice = 2 * len(MARKERS)
    colour = SERIES[(index + index // twice) % len(SERIES)]
    return Look(
        colour=colour,
        dash=DASHES[(index + index // len(SERIES)) % len(DASHES)],
        marker=MARKERS[index % len(MARKERS)],
        face=CARD if index // len(MARKERS) % 2 else colour,
    )


_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    CARD: "--card",
    PASS: "--pass",
    FAIL: "--fail",
    UNSURE: "--unsure",
    **{colour: f"--series-{index + 1}" for index, colour in enumerate(SERIES)},
}
# One unit is one CSS pixel at full size; phones scale the drawing to about 0.85 of it.
WIDTH = 420.0
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "fedethics",
    # A dollar in a name is a dollar, not a formula.
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 12.0,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 11.0,
    "ytick.labelsize": 11.0,
    "legend.frameon": False,
    "legend.fontsize": 11.5,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
}
# Matplotlib's own defaults, so that a machine's matplotlibrc changes no byte.
_DEFAULTS: dict[Any, Any] = {
    key: value for key, value in mpl.rcParamsDefault.items() if not key.startswith("backend")
}


@contextmanager
def canvas(*, height: float) -> Iterator[tuple[Figure, Axes]]:
    """Give an empty figure of `WIDTH` x `height` units under the report's style."""
    # Style is read while drawing, so callers render inside the context.
    with mpl.rc_context(_DEFAULTS | _STYLE):
        figure = Figure(figsize=(WIDTH / 72, height / 72))
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        yield figure, axes


def inline(figure: Figure, *, name: str, title: str, description: str) -> Markup:
    """Render `figure` as accessible inline SVG; `name` makes its ids unique on the page.

    Args:
        figure: drawn inside `canvas`.
        name: identifier, unique on the page.
        title: what the figure is, for assistive technology.
        description: what it shows, in words with numbers.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing)
    drawing = buffer.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    view_box = _attribute(drawing, "viewBox")
    body = drawing[drawing.index(">") + 1 : drawing.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->\n?", "", body, flags=re.DOTALL)
    # Inside tags only: what stands between them is text, whatever it looks like.
    body = re.sub(r"<[^>]*>", lambda tag: _themed(_prefixed(tag.group(), name)), body)
    head = (
        f'<svg class="drawing" viewBox="{view_box}" role="img" '
        f'aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(description)}</desc>'
    )
    # Safe: built by matplotlib from escaped text, and by `escape` above.
    return Markup(texts.printed(head + body + "</svg>"))  # noqa: S704


def key(label: str) -> str:
    """Return a label as a legend shows it: matplotlib leaves out one that begins with "_"."""
    return f" {label}" if label.startswith("_") else label


def _attribute(drawing: str, key: str) -> str:
    found = re.search(rf'{key}="([^"]*)"', drawing)
    return found.group(1) if found else ""


def _prefixed(body: str, name: str) -> str:
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', body)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)


def _themed(body: str) -> str:
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    body = body.replace("'DejaVu Sans'", "var(--sans)")
    return body
