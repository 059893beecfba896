"""What the face of a gallery accepts. Nothing further in checks again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import IdError, InputError, VectorError
from ..types import Floats, Id, Metadata, Space

_ID_BYTES = 256
_PLAIN = frozenset({str, int, float, bool, type(None)})


def vectors(value: Any, space: Space, rows: int, name: str = "vectors") -> Floats:
    """(rows, d) or (rows, t, d) float32, contiguous; float16 and float64 are converted, the rest refused."""
    item = (space.dim,) if space.tokens == 1 else (space.tokens, space.dim)
    return _floats(value, (rows, *item), name, f"{rows} ids need")


def queries(value: Any, space: Space) -> Floats:
    """(n, d) float32, contiguous."""
    array = np.asarray(value)
    return _floats(array, (len(array) if array.ndim else 0, space.dim), "queries", "this gallery takes")


def _floats(value: Any, shape: tuple[int, ...], name: str, why: str) -> Floats:
    array = np.asarray(value)
    if array.size == 0 and shape[0] == 0:
        return np.zeros(shape, np.float32)
    if array.dtype.kind != "f":
        raise VectorError(f"{name}: dtype {array.dtype}; pass float32 (float16 and float64 are converted)")
    if array.shape != shape:
        hint = "; a single one needs a leading axis: x[None]" if array.shape == shape[1:] else ""
        raise VectorError(f"{name}: shape {array.shape}; {why} {shape}{hint}")
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(array).all():
        bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
        raise VectorError(f"{name}: NaN or infinity as float32 in {len(bad)} rows, the first is {bad[0]}")
    return array


def ids(value: Any, name: str = "ids") -> list[Id]:
    """Non-empty strings of at most 256 bytes, or 64-bit integers; one kind, no duplicates."""
    plain = _ids(value, name)
    if len(set(plain)) < len(plain):
        seen: set[Id] = set()
        twice = next(i for i in plain if i in seen or seen.add(i))  # type: ignore[func-returns-value]
        raise IdError(f"{name}: {twice!r:.80} is given twice in one call")
    return plain


def _ids(value: Any, name: str) -> list[Id]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise IdError(f"{name}: {value!r:.80} is a {type(value).__name__}; pass a list of ids")
    plain: list[Id] = list(value)
    kinds = set(map(type, plain))
    if kinds - {str, int}:
        plain = [_plain_id(i, name) for i in plain]
        kinds = set(map(type, plain))
    if len(kinds) > 1:
        raise IdError(f"{name}: strings and integers together; a gallery has ids of one kind")
    for i in plain:
        if isinstance(i, str):
            try:
                size = len(i) if i.isascii() else len(i.encode())
            except UnicodeEncodeError:
                raise IdError(f"{name}: {i!r:.80} isn't valid Unicode (a lone surrogate)") from None
            if not 0 < size <= _ID_BYTES:
                raise IdError(f"{name}: {i!r:.80} has {size} bytes; allowed are 1 to {_ID_BYTES}")
        elif not -(2**63) <= i < 2**63:
            raise IdError(f"{name}: {i!r:.80} doesn't fit 64 bits")
    return plain


def _plain_id(value: Any, name: str) -> Id:
    if isinstance(value, str):
        return str.__str__(value)  # str(numpy.str_) drops NULs at the end
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    raise IdError(f"{name}: {value!r:.80} is a {type(value).__name__}; an id is a string or an integer")


def one_kind(plain: Sequence[Id], kind: str | None, name: str = "ids") -> None:
    """Refuse ids of another kind than the gallery's; ``kind`` is None as long as it has none."""
    if plain and kind not in (None, type(plain[0]).__name__):
        raise IdError(f"{name}: {plain[0]!r:.80} is {type(plain[0]).__name__}; this gallery's ids are {kind}")


def excluded(value: Any, n: int) -> list[list[Id]]:
    """One list of ids per query."""
    lists = isinstance(value, (list, tuple, np.ndarray)) and len(value) == n
    if not lists or any(isinstance(row, (str, bytes, int, np.generic)) for row in value):
        raise InputError(
            f"exclude: {value!r:.80}; pass one list of ids per query, here {n}: exclude=[['a', 'b'], ...]"
        )
    return [list(dict.fromkeys(_ids(row, "exclude"))) for row in value]


def count(value: Any, name: str = "k") -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < 1:
        raise InputError(f"{name}: {value!r:.80}; pass an integer of at least 1")
    return int(value)


def least(value: Any) -> float | None:
    """``min_score``: None or a number."""
    if value is None:
        return None
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InputError(f"min_score: {value!r:.80}; pass a number")
    if math.isnan(value):
        raise InputError("min_score: NaN; pass a number")
    return float(value)


def metadata(value: Any, rows: int) -> tuple[list[dict[str, Any]], list[str]]:
    """One dictionary per row, as plain Python and as JSON text; None gives empty ones."""
    if value is None:
        return [{} for _ in range(rows)], ["{}"] * rows
    if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__len__") or len(value) != rows:
        came = f"{len(value)} entries" if isinstance(value, Sequence) else f"a {type(value).__name__}"
        raise InputError(f"metadata: {came} for {rows} ids; pass a list with one dictionary per id")
    plain = [_document(m, row) for row, m in enumerate(value)]
    return plain, [json.dumps(m, ensure_ascii=False, separators=(",", ":")) for m in plain]


def _document(value: Metadata, row: int) -> dict[str, Any]:
    where = f"metadata[{row}]"
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: a {type(value).__name__}; pass a dictionary")
    found = {_key(k, where): v if _is_plain(v) else _plain(v, f"{where}[{k!r}]") for k, v in value.items()}
    for key in found:
        if key.startswith("$"):
            raise InputError(f"{where}: the key {key!r} starts with '$', which belongs to `where` operators")
    return found


def _is_plain(value: Any) -> bool:
    """Whether JSON takes a value as it is, decided fast for what metadata mostly is."""
    kind = type(value)
    if kind is str:
        return bool(value.isascii())
    if kind is float:
        return math.isfinite(value)
    return kind is bool or value is None or (kind is int and -(2**63) <= value < 2**63)


def _key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise InputError(f"{where}: the key {key!r:.80} is a {type(key).__name__}; keys are strings")
    return _text(key, where)


def _text(value: str, where: str) -> str:
    try:
        return value.encode().decode()  # plain, unlike str(numpy.str_), which drops NULs at the end
    except UnicodeEncodeError:
        raise InputError(f"{where}: {value!r:.80} isn't valid Unicode (a lone surrogate)") from None


def _plain(value: Any, where: str) -> Any:
    """NumPy scalars and arrays become Python's; what JSON can't hold is refused."""
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"{where}: {value}; numbers are finite, leave the key out or use None")
        return float(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if not -(2**63) <= value < 2**63:
            raise InputError(f"{where}: {value!r:.80} doesn't fit 64 bits; pass it as a string")
        return int(value)
    if isinstance(value, Mapping):
        return {_key(k, where): _plain(v, f"{where}[{k!r}]") for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v, f"{where}[{i}]") for i, v in enumerate(value)]
    if type(value) in _PLAIN:
        return value
    raise InputError(
        f"{where}: a {type(value).__name__}; metadata holds what JSON can: strings, numbers, booleans, None, "
        "lists and dictionaries"
    )
