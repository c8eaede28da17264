"""Data frames as the records of sites: pandas, polars, pyarrow, or anything that has columns.

Guarantee: no library of frames is imported; a frame is asked for its columns and each column for
its values. A value becomes the text that a CSV file would hold: a whole number without a fraction,
nothing for None, NaN and their like, a list or table as its canonical JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedethics.charter.spelling import composed
from fedethics.data.records import CellProblem
from fedethics.data.values import cell_of
from fedethics.drafting import folder
from fedethics.drafting.base_model import in_folder
from fedethics.drafting.proposal import Wish, propose
from fedethics.drafting.source import Source, of_sites
from fedethics.errors import DataError
from fedethics.simulation.partition import Row
from fedethics.simulation.scenario import run_name
from fedethics.terms import NAME

# Of all drafts, among the runs that are made of them.
DRAFTS = "drafts"
_NO_NAME = re.compile(r"[^a-z0-9]+")


def drafted(
    frames: Mapping[str, Any],
    *,
    label: str,
    sensitive: Sequence[str],
    text: str | Sequence[str],
    model: str | Path | None,
    drop_unlabelled: bool,
    name: str,
    out: str | Path,
    run_id: str,
    resumed: bool,
) -> tuple[Path, str]:
    """Write what `fedethics new` would write; return the scenario and the run's name.

    Raises:
        DataError: no frames by site, an option that is not as it must be, or as `propose`.
        ModelError: no model that could be trained in the folder.
    """
    _check(frames, label=label, sensitive=sensitive, name=name, resumed=resumed)
    told = (text,) if isinstance(text, str) else text
    wish = Wish(
        label=label, drop_unlabelled=drop_unlabelled, text=tuple(filter(None, told)),
        sensitive=tuple(sensitive), name=name,
        own_model=None if model is None else in_folder(Path(model)),
    )  # fmt: skip
    run = run_name(run_id, name)
    target = Path(out) / DRAFTS / run
    folder.write(propose(wish, of_frames(frames, wish.needed)), target)
    return target / folder.SCENARIO, run


def of_frames(frames: Mapping[str, Any], needed: Sequence[str]) -> Source:
    """Return the records of frames by site.

    Args:
        frames: of each site, by its name: a pandas or polars data frame, a pyarrow table, a table
            of columns (`{"age": [..], ..}`), or a list of records (`[{"age": ..}, ..]`). A pandas
            index is no column.
        needed: columns that each must have.

    Raises:
        DataError: a name that no site can have, no frame, no record, a column that is absent or
            not as long as the others, or a value that no cell can hold.
    """
    rows: dict[str, list[Row]] = {}
    for site, frame in frames.items():
        _require_name(site)
        columns = _columns(frame, site)
        absent = [name for name in needed if name not in columns]
        if absent:
            raise DataError(
                f"frame of {site}: no column {', '.join(absent)}; it has {_listed(columns)}. "
                "Nothing was started"
            )
        cells = {
            name: [_cell(value, f"frame of {site}, column {name}") for value in values]
            for name, values in columns.items()
        }
        lengths = {len(column) for column in cells.values()}
        if len(lengths) > 1:
            raise DataError(f"frame of {site}: its columns differ in length. Nothing was started")
        rows[site] = [dict(zip(cells, row, strict=True))
                      for row in zip(*cells.values(), strict=True)]  # fmt: skip
    return of_sites(rows, called="the frames")


def _check(frames: object, *, label: object, sensitive: object, name: str, resumed: bool) -> None:
    fault = ""
    if not isinstance(frames, Mapping):
        fault = (
            f"a {type(frames).__name__} is neither a scenario's file nor frames by site: give one "
            "frame for each site, as {'north': frame, 'south': frame, 'west': frame}; a table of "
            "one frame by its column: {site: part for site, part in frame.groupby('site')}"
        )
    elif not isinstance(label, str) or not label:
        fault = "label: name the column to predict"
    elif isinstance(sensitive, str):
        fault = f"sensitive: a list of columns, as [{sensitive!r}]"
    elif not re.fullmatch(NAME, name):
        fault = f"name {name!r}: small letters, digits and hyphens only, 63 at most"
    elif resumed:
        fault = (
            "resume: of a scenario; a run of frames is continued from its draft, as "
            "simulate('runs/drafts/RUN', resume='runs/RUN')"
        )
    if fault:
        raise DataError(f"{fault}. Nothing was started")


def _require_name(site: object) -> None:
    if isinstance(site, str) and re.fullmatch(NAME, site):
        return
    plain = _NO_NAME.sub("-", str(site).lower()).strip("-")[:63]
    raise DataError(
        f"site {site!r}: a site's name has small letters, digits and hyphens only"
        + (f"; call it {plain!r}" if plain else "")
        + ". Nothing was started"
    )


def _columns(frame: Any, site: str) -> dict[str, Sequence[Any]]:  # noqa: ANN401  any library's
    """Return each column's values by its name."""
    if isinstance(frame, Mapping):
        named: Iterable[Any] = frame.keys()
    elif isinstance(frame, Sequence) and not isinstance(frame, str | bytes):
        return _of_records(frame, site)
    else:
        # pyarrow calls them column_names, and its `columns` are the values.
        found = getattr(frame, "column_names", getattr(frame, "columns", ()))
        named = found if isinstance(found, Iterable) else ()
    names = list(named)
    if not names:
        raise DataError(
            f"frame of {site}: a {type(frame).__name__} without columns is no data frame. "
            "Nothing was started"
        )
    _require_texts(names, site)
    plain = [composed(name.strip()) for name in names]
    if len(set(plain)) < len(plain):
        raise DataError(f"frame of {site}: a column's name is listed twice. Nothing was started")
    return {spelled: _values(frame[name]) for spelled, name in zip(plain, names, strict=True)}


def _of_records(records: Sequence[Any], site: str) -> dict[str, Sequence[Any]]:
    if not all(isinstance(record, Mapping) for record in records):
        raise DataError(
            f"frame of {site}: a list whose entries are no records of fields. Nothing was started"
        )
    names = list(dict.fromkeys(name for record in records for name in record))
    _require_texts(names, site)
    return {name: [record.get(name) for record in records] for name in names}


def _require_texts(names: Sequence[object], site: str) -> None:
    if wrong := [name for name in names if not isinstance(name, str) or not name.strip()]:
        raise DataError(
            f"frame of {site}: the column name {wrong[0]!r} is no text. Nothing was started"
        )


def _values(column: Any) -> Sequence[Any]:  # noqa: ANN401  any library's
    for spelled in ("to_list", "to_pylist", "tolist"):
        if convert := getattr(column, spelled, None):
            return list(convert())
    return list(column)


def _cell(value: Any, where: str) -> str:  # noqa: ANN401  any library's
    try:
        return cell_of(value, where)
    except CellProblem as problem:
        raise DataError(f"{problem}. Nothing was started") from problem


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:12]) + (f" and {len(listed) - 12} more" if len(listed) > 12 else "")
