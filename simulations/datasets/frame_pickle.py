"""Read a pickled pandas DataFrame without pandas, and without pickle's own machine.

Only for set-up, only after the bytes' SHA-256 was checked, and even so: the opcodes are read as a
language, into plain Python values. No name is looked up and nothing is called, so no byte is ever
taken for an object, an address or a function. What a frame does not need is refused.
Source of the opcodes: `pickletools` of the standard library.
"""

from __future__ import annotations

import lzma
import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from fedethics.errors import SetupError
from fedethics.simulation.partition import Row

# The largest frame that is carried has 9 MB and some 500,000 opcodes.
_MOST_BYTES = 64 * 1024 * 1024
_MOST_MEMORY = 128 * 1024 * 1024
_MOST_OPCODES = 8_000_000
_MOST_CELLS = 8_000_000
_MOST_TEXT = 256 * 1024 * 1024
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")  # as NumPy 1 and 2 spell them
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_NAMES = frozenset(
    {
        ("builtins", "slice"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        *((module, "_reconstruct") for module in _MULTIARRAY),
        *((module, "_frombuffer") for module in _NUMERIC),
        ("pandas._libs.internals", "_unpickle_block"),
        ("pandas.core.frame", "DataFrame"),
        ("pandas.core.indexes.base", "Index"),
        ("pandas.core.indexes.base", "_new_Index"),
        ("pandas.core.indexes.range", "RangeIndex"),
        ("pandas.core.internals.managers", "BlockManager"),
    }
)
# Numbers of one size each; an object's dtype is handled as a list and never as memory.
_NUMBERS = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"})
_OBJECTS = "O8"
_MARK = object()


class _Unfit(Exception):
    """The pickle says something that no data frame says."""


@dataclass(frozen=True, slots=True)
class _Name:
    module: str
    name: str


@dataclass(slots=True, eq=False)
class _Made:
    """What a name would make of its arguments, had it been called."""

    name: str
    arguments: tuple[Any, ...]
    state: Any = None


def read_frame(compressed: bytes) -> list[Row]:
    """Return the rows of an xz-compressed, pickled DataFrame; a missing value is empty text.

    Raises:
        SetupError: the bytes are no such thing, are too large, or name anything else than a frame
            needs.
    """
    data = _decompressed(compressed)
    try:
        columns = _columns(_value(data))
        cells = zip(*columns.values(), strict=True)
        rows = [dict(zip(columns, map(_text, row), strict=True)) for row in cells]
    except (_Unfit, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise SetupError("the pickle does not hold a data frame as expected") from error
    if sum(len(cell) for row in rows for cell in row.values()) > _MOST_TEXT:
        raise SetupError(f"the data frame holds more than {_MOST_TEXT:,} characters")
    return rows


def _decompressed(compressed: bytes) -> bytes:
    try:
        reader = lzma.LZMADecompressor(memlimit=_MOST_MEMORY)
        data = reader.decompress(compressed, max_length=_MOST_BYTES)
    except lzma.LZMAError as error:
        raise SetupError("the member is not an xz-compressed pickle") from error
    if not reader.eof or reader.unused_data:
        raise SetupError(
            f"the member is not one xz-compressed pickle of at most {_MOST_BYTES:,} bytes"
        )
    return data


def _value(data: bytes) -> Any:  # noqa: ANN401  any plain value
    """Return the plain value that the opcodes spell."""
    machine = _Machine()
    opcodes = pickletools.genops(data)
    for opcode, argument, _ in islice(opcodes, _MOST_OPCODES):
        if opcode.name == "STOP":
            (found,) = machine.stack
            return found
        machine.take(opcode.name, argument)
    raise _Unfit("too many opcodes")


class _Machine:
    """The stack and the memo of a pickle, over plain values."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def take(self, opcode: str, argument: Any) -> None:  # noqa: ANN401  an opcode's argument
        """Do what one opcode says.

        Raises:
            SetupError: it names what no frame needs.
            _Unfit: no frame has such an opcode here.
        """
        if opcode in _PLAIN:
            self.stack.append(argument)
        elif opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode]())
        elif opcode in _GETS:
            self.stack.append(self.memo[argument])
        elif opcode in _PUTS:
            self.memo[len(self.memo) if opcode == "MEMOIZE" else argument] = self.stack[-1]
        elif opcode == "GLOBAL":
            self.stack.append(_known(*argument.split(" ", 1)))
        elif opcode not in _IGNORED:
            step = _STEPS.get(opcode)
            if step is None:
                raise _Unfit(opcode)
            step(self)

    def popped(self, count: int) -> tuple[Any, ...]:
        """Take the last `count` values off the stack."""
        if count > len(self.stack) or any(one is _MARK for one in self.stack[-count:]):
            raise _Unfit("the stack is too short")
        values = tuple(self.stack[-count:])
        del self.stack[-count:]
        return values

    def marked(self) -> list[Any]:
        """Take all values after the last mark off the stack, and the mark."""
        place = len(self.stack) - 1
        while place >= 0 and self.stack[place] is not _MARK:
            place -= 1
        if place < 0:
            raise _Unfit("no mark")
        values = self.stack[place + 1 :]
        del self.stack[place:]
        return values


def _known(module: object, name: object) -> _Name:
    if (module, name) not in _NAMES:
        raise SetupError(f"the pickle names {str(module)[:80]}.{str(name)[:80]}; nothing was read")
    return _Name(str(module), str(name))


def _named(machine: _Machine) -> None:
    machine.stack.append(_known(*machine.popped(2)))


def _call(machine: _Machine) -> None:
    name, arguments = machine.popped(2)
    if not isinstance(name, _Name) or not isinstance(arguments, tuple):
        raise _Unfit("a call of no name")
    machine.stack.append(_Made(name.name, arguments))


def _build(machine: _Machine) -> None:
    made, state = machine.popped(2)
    if not isinstance(made, _Made):
        raise _Unfit("a state of nothing")
    made.state = state
    machine.stack.append(made)


def _extend(machine: _Machine, values: list[Any]) -> None:
    target = machine.stack[-1]
    if type(target) is not list:
        raise _Unfit("no list")
    target.extend(values)


def _update(machine: _Machine, values: list[Any]) -> None:
    target = machine.stack[-1]
    if type(target) is not dict:
        raise _Unfit("no table")
    target.update(_table(values))


def _table(values: list[Any]) -> dict[str, Any]:
    keys = values[::2]
    if len(values) % 2 or any(type(key) is not str for key in keys):
        raise _Unfit("keys that are no text")
    return dict(zip(keys, values[1::2], strict=True))


_PLAIN = frozenset(
    {
        "BINBYTES", "BINFLOAT", "BININT", "BININT1", "BININT2", "BINUNICODE", "BYTEARRAY8",
        "LONG1", "SHORT_BINBYTES", "SHORT_BINUNICODE",
    }
)  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "MARK": lambda: _MARK,
    "EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict,
}  # fmt: skip
_GETS = frozenset({"BINGET", "LONG_BINGET"})
_PUTS = frozenset({"BINPUT", "LONG_BINPUT", "MEMOIZE"})
_IGNORED = frozenset({"PROTO", "FRAME"})
_STEPS: dict[str, Callable[[_Machine], None]] = {
    "STACK_GLOBAL": _named,
    "REDUCE": _call,
    "NEWOBJ": _call,
    "BUILD": _build,
    "TUPLE1": lambda machine: machine.stack.append(machine.popped(1)),
    "TUPLE2": lambda machine: machine.stack.append(machine.popped(2)),
    "TUPLE3": lambda machine: machine.stack.append(machine.popped(3)),
    "TUPLE": lambda machine: machine.stack.append(tuple(machine.marked())),
    "LIST": lambda machine: machine.stack.append(machine.marked()),
    "DICT": lambda machine: machine.stack.append(_table(machine.marked())),
    "APPEND": lambda machine: _extend(machine, list(machine.popped(1))),
    "APPENDS": lambda machine: _extend(machine, machine.marked()),
    "SETITEM": lambda machine: _update(machine, list(machine.popped(2))),
    "SETITEMS": lambda machine: _update(machine, machine.marked()),
}


def _columns(frame: Any) -> dict[str, list[Any]]:  # noqa: ANN401  checked here
    blocks, axes = _made(_made(frame, "DataFrame", state=True)["_mgr"], "BlockManager")
    names = _grid(_made(axes[0], "_new_Index")[1]["data"])[0]
    if any(type(name) is not str for name in names) or len(set(names)) != len(names):
        raise _Unfit("columns without a name of their own")
    columns: dict[str, list[Any]] = {}
    cells = 0
    for block in blocks:
        values, placement, _ = _made(block, "_unpickle_block")
        for name, column in zip(_placed(names, placement), _grid(values), strict=True):
            cells += len(column)
            if cells > _MOST_CELLS or name in columns:
                raise _Unfit("more cells than the frame has")
            columns[name] = column
    return {name: columns[name] for name in names}


def _made(value: Any, name: str, *, state: bool = False) -> Any:  # noqa: ANN401  checked here
    if not isinstance(value, _Made) or value.name != name:
        raise _Unfit(f"no {name}")
    return value.state if state else value.arguments


def _placed(names: list[str], placement: Any) -> list[str]:  # noqa: ANN401  checked here
    if isinstance(placement, _Made) and placement.name == "slice":
        start, stop, step = placement.arguments
        if any(type(one) is not int or one < 0 for one in (start, stop, step)):
            raise _Unfit("columns out of range")
        return names[start:stop:step]
    return [names[place] for place in _grid(placement)[0] if _within(place, names)]


def _within(place: object, names: list[str]) -> bool:
    if type(place) is not int or not 0 <= place < len(names):
        raise _Unfit("a column out of range")
    return True


def _grid(array: Any) -> list[list[Any]]:  # noqa: ANN401  checked here
    """Return the rows of an array of one or two dimensions, as plain values."""
    if isinstance(array, _Made) and array.name == "_frombuffer":
        data, dtype, shape, order = array.arguments
    else:
        _, shape, dtype, fortran, data = _made(array, "_reconstruct", state=True)
        order = "F" if fortran else "C"
    if type(shape) is not tuple or len(shape) not in {1, 2} or order not in {"C", "F"}:
        raise _Unfit("no table")
    if any(type(size) is not int or size < 0 for size in shape):
        raise _Unfit("a negative size")
    flat = _objects(data) if _dtype(dtype) is None else _numbers(data, dtype)
    if len(flat) != math.prod(shape):
        raise _Unfit("a size that the values do not have")
    rows, columns = shape if len(shape) == 2 else (1, shape[0])
    if order == "F":
        return [flat[row::rows] for row in range(rows)]
    return [flat[row * columns : (row + 1) * columns] for row in range(rows)]


def _dtype(found: Any) -> np.dtype[Any] | None:  # noqa: ANN401  checked here
    """Return the type of an array of numbers, one of a closed list; None for objects."""
    kind = _made(found, "dtype")[0]
    order = found.state[1] if isinstance(found.state, tuple) else "|"
    if kind == _OBJECTS:
        return None
    if kind not in _NUMBERS or order not in {"<", ">", "|", "="}:
        raise _Unfit("an array of no numbers")
    # From two texts of the lists above alone.
    return np.dtype(("<" if order == "=" else order) + str(kind))


def _numbers(data: object, dtype: object) -> list[Any]:
    kind = _dtype(dtype)
    if not isinstance(data, bytes | bytearray) or kind is None:
        raise _Unfit("numbers without bytes")
    return list(np.frombuffer(data, dtype=kind).tolist())


def _objects(data: object) -> list[Any]:
    if type(data) is not list:
        raise _Unfit("objects that are not spelled out")
    return data


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # pandas turns whole numbers into floats where one is missing
    if not isinstance(value, bool | int | float | str):
        raise _Unfit("a cell that is no number and no text")
    return str(value).strip()
