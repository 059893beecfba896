"""Metadata as columns, so that a filter looks at numbers rather than at a million JSON texts.

A column holds one field of one block of rows: the distinct values in order, and a small code per row.
Code 0 is a missing field, 1 None, 2 False, 3 True, 4 a list or dictionary; then the numbers ascending,
then the strings by code point. A comparison is a binary search that ends in a range of codes. Blocks are
written once, when their last row is, and never change.

Stored as ``header | numbers | positions (uint16) | codes | string ends (uint32) | UTF-8 of all strings``;
positions are there when few rows have the field. Numbers are float64 when all are exact in it, else int64,
else JSON.
"""

from __future__ import annotations

import json
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from .filters import Among, Every, Exists, Node, Not, Side, Some, Value, Within

Matches: TypeAlias = npt.NDArray[np.bool_]

# Number form, bytes per code, whether there are positions; bytes of numbers, codes, strings, bytes of text.
_HEADER = struct.Struct("<BBHIIII4x")
_FLOAT, _INT, _JSON = 0, 1, 2
_FIRST = 5  # codes below have a fixed meaning
_EXACT = 2**53
_MANY = 4  # keys looked up one by one; more are faster through NumPy
MISSING, _FALSE, _TRUE, _OTHER = object(), object(), object(), object()
_FIXED: dict[Any, int] = {MISSING: 0, None: 1, _FALSE: 2, _TRUE: 3, _OTHER: 4}


class Strings(Sequence[bytes]):
    """Distinct strings in UTF-8, ascending: whose order is that of the code points."""

    def __init__(self, ends: memoryview, text: memoryview) -> None:
        self._ends: Sequence[int] = ends.cast("I") if ends else ()
        self.text = text

    def width(self) -> int:
        """Bytes of every string, or 0 when they differ."""
        ends = np.asarray(self._ends)
        width = int(ends[0]) if len(ends) else 0
        return width if (ends == width * np.arange(1, len(ends) + 1)).all() else 0

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, place: Any) -> Any:
        return bytes(self.text[self._ends[place - 1] if place else 0 : self._ends[place]])


class Column:
    """One field of a block of ``rows`` rows, ready to be compared."""

    def __init__(self, data: bytes, rows: int) -> None:
        form, width, sparse, number_bytes, stored, strings, _ = _HEADER.unpack_from(data)
        at = _HEADER.size
        self.numbers = _read_numbers(form, memoryview(data)[at : at + number_bytes])
        at += number_bytes
        kind = np.uint8 if width == 1 else np.uint16
        if sparse:
            positions = np.frombuffer(data, np.uint16, stored, at)
            at += positions.nbytes
            self.codes = np.zeros(rows, kind)
            self.codes[positions] = np.frombuffer(data, kind, stored, at)
        else:
            self.codes = np.frombuffer(data, kind, stored, at)
        at += stored * width
        self.strings = Strings(memoryview(data)[at : at + 4 * strings], memoryview(data)[at + 4 * strings :])

    def among(self, values: frozenset[Value]) -> Matches:
        table = np.zeros(_FIRST + len(self.numbers) + len(self.strings), np.bool_)
        table[:2] = ("null", None) in values
        table[2], table[3] = ("bool", False) in values, ("bool", True) in values
        numbers = [value for kind, value in values if kind == "number"]
        table[_FIRST + _places(self.numbers, numbers)] = True
        strings = [_utf8(value) for kind, value in values if kind == "string"]
        table[_FIRST + len(self.numbers) + _places(self.strings, strings)] = True
        found: Matches = table[self.codes]
        return found

    def within(self, side: Side, value: Value) -> Matches:
        kind, key = value
        if kind == "number":
            known, start = self.numbers, _FIRST
        else:
            known, start, key = self.strings, _FIRST + len(self.numbers), _utf8(key)
        low, high = start, start + len(known)
        if side in ("above", "from"):
            low += bisect_right(known, key) if side == "above" else bisect_left(known, key)
        else:
            high = start + (bisect_right(known, key) if side == "upto" else bisect_left(known, key))
        found: Matches = (self.codes >= low) & (self.codes < high)
        return found

    def exists(self) -> Matches:
        found: Matches = self.codes != 0
        return found


def _utf8(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")  # in a filter a lone surrogate is fine: it finds nothing


def _places(known: Sequence[Any], keys: list[Any]) -> npt.NDArray[np.intp]:
    """Where the keys are among ascending values; those that aren't are left out."""
    if len(keys) > _MANY:
        array: npt.NDArray[Any] | None = None
        if isinstance(known, Strings) and (width := known.width()):
            array = np.frombuffer(known.text, f"S{width}", len(known))
            keys = [k for k in keys if len(k) == width]
        elif isinstance(known, memoryview) and known.format == "d":
            keys = [k for k in keys if isinstance(k, float) or -_EXACT <= k <= _EXACT or k in known]
            array = np.asarray(known)
        if array is not None:
            wanted = np.array(keys, array.dtype)
            places = np.minimum(np.searchsorted(array, wanted), len(array) - 1)
            there: npt.NDArray[np.intp] = places[array[places] == wanted]
            return there
    found = [(bisect_left(known, key), key) for key in keys]
    return np.array([p for p, key in found if p < len(known) and known[p] == key], np.intp)


def matches(node: Node, column: Callable[[str], Column | None], rows: int) -> Matches:
    """(rows,) bool: which rows of a block a filter matches; ``column`` gives None for a field no row has."""
    if isinstance(node, Among):
        found = column(node.field)
        return np.full(rows, ("null", None) in node.values) if found is None else found.among(node.values)
    if isinstance(node, Within):
        found = column(node.field)
        return np.zeros(rows, np.bool_) if found is None else found.within(node.side, node.value)
    if isinstance(node, Exists):
        found = column(node.field)
        return np.zeros(rows, np.bool_) if found is None else found.exists()
    if isinstance(node, Not):
        return ~matches(node.part, column, rows)
    join = np.logical_and if isinstance(node, Every) else np.logical_or
    result = np.full(rows, isinstance(node, Every))
    for part in node.parts:
        join(result, matches(part, column, rows), out=result)
    return result


def fields_of(node: Node) -> set[str]:
    """The fields that a filter asks for."""
    if isinstance(node, (Every, Some)):
        return {field for part in node.parts for field in fields_of(part)}
    return fields_of(node.part) if isinstance(node, Not) else {node.field}


def encode(documents: Sequence[dict[str, Any]]) -> dict[str, bytes]:
    """The columns of a block of rows, by field; at most 65,536 rows."""
    fields = {field for document in documents for field in document}
    return {field: encode_field([d.get(field, MISSING) for d in documents]) for field in fields}


def encode_field(values: list[Any]) -> bytes:
    """One column; a row lacking the field has the value ``MISSING``."""
    kinds = set(map(type, values))
    if bool in kinds:  # True == 1, so they can't share a table with numbers
        values = [_TRUE if v is True else _FALSE if v is False else v for v in values]
    if list in kinds or dict in kinds:
        values = [_OTHER if isinstance(v, (list, dict)) else v for v in values]
    distinct = set(values).difference(_FIXED)
    numbers = sorted(v for v in distinct if not isinstance(v, str))
    strings = sorted(v for v in distinct if isinstance(v, str))
    table = _FIXED | {v: _FIRST + i for i, v in enumerate(numbers)}
    table |= {v: _FIRST + len(numbers) + i for i, v in enumerate(strings)}
    kind = np.uint8 if len(table) <= 256 else np.uint16
    codes = np.fromiter(map(table.__getitem__, values), kind, len(values))

    form, raw = _numbers(numbers)
    texts = [v.encode() for v in strings]
    ends = np.cumsum([len(t) for t in texts], dtype=np.uint32).tobytes()
    text = b"".join(texts)
    positions = np.flatnonzero(codes).astype(np.uint16)
    sparse = len(positions) * 4 < len(values)
    body = positions.tobytes() + codes[positions].tobytes() if sparse else codes.tobytes()
    stored = len(positions) if sparse else len(values)
    header = _HEADER.pack(form, codes.itemsize, sparse, len(raw), stored, len(texts), len(text))
    return b"".join([header, raw, body, ends, text])


def _read_numbers(form: int, raw: memoryview) -> Sequence[Any]:
    if not raw:
        return ()
    numbers: Any = json.loads(bytes(raw)) if form == _JSON else raw.cast("d" if form == _FLOAT else "q")
    return cast("Sequence[Any]", numbers)  # Python numbers either way: compared exactly, unlike NumPy's


def _numbers(numbers: list[Any]) -> tuple[int, bytes]:
    if all(isinstance(v, float) or -_EXACT <= v <= _EXACT for v in numbers):
        return _FLOAT, np.array(numbers, np.float64).tobytes()
    if all(isinstance(v, int) for v in numbers):
        return _INT, np.array(numbers, np.int64).tobytes()
    return _JSON, json.dumps(numbers).encode()
