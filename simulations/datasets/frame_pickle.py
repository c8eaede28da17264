"""Read a pickled pandas DataFrame without pandas and without running anything it names.

Only for set-up, only after the bytes' SHA-256 was checked, and even so: every name in the pickle
is looked up in the short list below, where pandas' classes are stand-ins that keep what they are
given and NumPy's constructors are our own. Any other name is refused.
"""

from __future__ import annotations

import io
import lzma
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from fedethics.errors import SetupError
from simulations.datasets.table import Row


class _Kept:
    """Stands in for a pandas class: remembers its arguments and its state."""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Index(_Kept):
    pass


class _RangeIndex(_Kept):
    pass


def _new_index(kind: type[_Kept], fields: dict[str, Any]) -> list[Any]:
    if kind is _RangeIndex:
        return list(range(fields["start"], fields["stop"], fields["step"]))
    return list(fields["data"])


def _block(values: np.ndarray[Any, Any], placement: slice | np.ndarray[Any, Any], _: int) -> Any:  # noqa: ANN401
    return values, placement


def _empty(_kind: type, shape: tuple[int, ...], dtype: str | bytes) -> np.ndarray[Any, Any]:
    # Its contents follow through ndarray.__setstate__.
    return np.ndarray.__new__(np.ndarray, shape, dtype)  # type: ignore[arg-type]


def _from_buffer(
    data: bytes,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    order: Any,  # noqa: ANN401
) -> np.ndarray[Any, Any]:
    return np.frombuffer(data, dtype=dtype).reshape(shape, order=order)


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("builtins", "slice"): slice,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    # As NumPy 1 and NumPy 2 spell them.
    ("numpy.core.multiarray", "_reconstruct"): _empty,
    ("numpy._core.multiarray", "_reconstruct"): _empty,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("pandas._libs.internals", "_unpickle_block"): _block,
    ("pandas.core.frame", "DataFrame"): _Kept,
    ("pandas.core.indexes.base", "Index"): _Index,
    ("pandas.core.indexes.base", "_new_Index"): _new_index,
    ("pandas.core.indexes.range", "RangeIndex"): _RangeIndex,
    ("pandas.core.internals.managers", "BlockManager"): _Kept,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise SetupError(f"the pickle names {module}.{name}; nothing was loaded") from None


def read_frame(compressed: bytes) -> list[Row]:
    """Return the rows of an xz-compressed, pickled DataFrame; a missing value is empty text.

    Raises:
        SetupError: the bytes are no such thing, or name anything else than a frame needs.
    """
    try:
        frame = _Unpickler(io.BytesIO(lzma.decompress(compressed))).load()
        columns = _columns(frame)
    except (lzma.LZMAError, pickle.UnpicklingError, EOFError) as error:
        raise SetupError("the member is not an xz-compressed pickle") from error
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise SetupError("the pickle does not hold a data frame as expected") from error
    cells = zip(*columns.values(), strict=True)
    return [dict(zip(columns, map(_text, row), strict=True)) for row in cells]


def _columns(frame: _Kept) -> dict[str, list[Any]]:
    blocks, (names, _) = frame.state["_mgr"].arguments
    columns: dict[str, list[Any]] = {}
    for values, placement in blocks:
        for name, column in zip(np.array(names)[placement], values, strict=True):
            columns[str(name)] = column.tolist()
    return {name: columns[name] for name in names}


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # pandas turns whole numbers into floats where one is missing
    return str(value).strip()
