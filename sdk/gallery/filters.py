"""The `where` language: a small dictionary that says which rows may be found.

==============  ============================  =========================================================
operator        form                          matches a row whose field
==============  ============================  =========================================================
(none), $eq     ``{"camera": 1}``             equals the value
$ne             ``{"camera": {"$ne": 1}}``    doesn't (rows lacking the field match)
$in, $nin       ``{"camera": {"$in": [1]}}``  is, or is not, among the values (lacking: $nin matches)
$gt $gte        ``{"time": {"$gte": 8.5}}``   is a number above a number, or a string after a string
$lt $lte        ``{"time": {"$lt": 17}}``     is below; several operators on a field must all hold
$exists         ``{"hat": {"$exists": true}}`` is there (None counts as there)
$not            ``{"time": {"$not": {...}}}`` doesn't match; also around a whole filter
$and, $or       ``{"$or": [{...}, {...}]}``   all, or any, of the filters match; several keys: all
==============  ============================  =========================================================

Values are strings, numbers, booleans and None. Types never mix: 1 equals 1.0, but neither ``True`` nor
``"1"``; a range never matches another type. As in MongoDB, None equals a missing field as well as a stored
None; ``$exists`` tells them apart. Lists and dictionaries in metadata exist but equal nothing. Strings
compare by code point. Only top-level fields can be asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from ..errors import FilterError

_DEPTH = 32
_RANGES = {"$gt": "above", "$gte": "from", "$lt": "below", "$lte": "upto"}
_FIELD_OPERATORS = "$eq $ne $in $nin $gt $gte $lt $lte $exists $not"
_FILTER_OPERATORS = "$and $or $not"

Kind: TypeAlias = Literal["null", "bool", "number", "string"]
Value: TypeAlias = tuple[Kind, Any]  # the kind keeps True apart from 1 where values are compared
Side: TypeAlias = Literal["above", "from", "below", "upto"]


@dataclass(frozen=True)
class Among:
    field: str
    values: frozenset[Value]


@dataclass(frozen=True)
class Within:
    field: str
    side: Side
    value: Value


@dataclass(frozen=True)
class Exists:
    field: str


@dataclass(frozen=True)
class Every:
    parts: frozenset[Any]  # of nodes; an empty one matches everything


@dataclass(frozen=True)
class Some:
    parts: frozenset[Any]


@dataclass(frozen=True)
class Not:
    part: Any


Node: TypeAlias = Among | Within | Exists | Every | Some | Not


def parse(where: Mapping[str, Any]) -> Node:
    """The tree of a filter; equal filters give equal trees. Raises FilterError naming the operator."""
    return _filter(where, "where", 0)


def _filter(where: Any, at: str, depth: int) -> Node:
    if not isinstance(where, Mapping):
        raise FilterError(f"{at}: {where!r:.80}; pass a dictionary such as {{'camera': 1}}")
    if depth > _DEPTH:
        raise FilterError(f"{at}: filters nested more than {_DEPTH} deep")
    parts: list[Node] = []
    for key, value in where.items():
        if not isinstance(key, str):
            raise FilterError(f"{at}: the key {key!r:.80} is a {type(key).__name__}; fields are strings")
        inner = f"{at}[{key!r}]"
        if key in ("$and", "$or"):
            if not isinstance(value, (list, tuple)) or not value:
                raise FilterError(f"{inner}: {value!r:.80}; {key} takes a non-empty list of filters")
            nodes = frozenset(_filter(v, f"{inner}[{i}]", depth + 1) for i, v in enumerate(value))
            parts.append(Every(nodes) if key == "$and" else Some(nodes))
        elif key == "$not":
            parts.append(Not(_filter(value, inner, depth + 1)))
        elif key.startswith("$"):
            known = f"filters are combined with {_FILTER_OPERATORS}; {_FIELD_OPERATORS} go inside a field"
            raise FilterError(f"{at}: the operator {key!r}; {known}")
        else:
            parts.append(_field(key, value, inner, depth))
    return parts[0] if len(parts) == 1 else Every(frozenset(parts))


def _field(field: str, value: Any, at: str, depth: int) -> Node:
    if not isinstance(value, Mapping):
        return Among(field, frozenset([_value(value, at)]))
    if not value:
        raise FilterError(f"{at}: an empty dictionary; known operators are {_FIELD_OPERATORS}")
    if depth > _DEPTH:
        raise FilterError(f"{at}: filters nested more than {_DEPTH} deep")
    parts = [_operator(field, key, v, f"{at}[{key!r}]", depth) for key, v in value.items()]
    return parts[0] if len(parts) == 1 else Every(frozenset(parts))


def _operator(field: str, operator: Any, value: Any, at: str, depth: int) -> Node:
    if operator in ("$eq", "$ne"):
        node = Among(field, frozenset([_value(value, at)]))
        return node if operator == "$eq" else Not(node)
    if operator in ("$in", "$nin"):
        if not isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
            raise FilterError(f"{at}: {value!r:.80}; {operator} takes a list of values")
        node = Among(field, frozenset(_value(v, f"{at}[{i}]") for i, v in enumerate(value)))
        return node if operator == "$in" else Not(node)
    if operator in _RANGES:
        tagged = _value(value, at)
        if tagged[0] not in ("number", "string"):
            raise FilterError(f"{at}: {value!r:.80}; {operator} takes a number or a string")
        side: Any = _RANGES[operator]
        return Within(field, side, tagged)
    if operator == "$exists":
        if not isinstance(value, (bool, np.bool_)):
            raise FilterError(f"{at}: {value!r:.80}; $exists takes True or False")
        return Exists(field) if value else Not(Exists(field))
    if operator == "$not":
        if not isinstance(value, Mapping):
            raise FilterError(f"{at}: {value!r:.80}; $not takes a dictionary of operators, or use $ne")
        return Not(_field(field, value, at, depth + 1))
    raise FilterError(f"{at}: unknown operator {operator!r:.80}; known are {_FIELD_OPERATORS}")


def _value(value: Any, at: str) -> Value:
    if isinstance(value, str):
        return ("string", str.__str__(value))
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        return ("null", None)
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, (int, float)):
        if value != value:  # NaN; an int may be too large for math.isnan
            raise FilterError(f"{at}: NaN equals nothing; use $exists to find rows with or without a field")
        return ("number", value)
    raise FilterError(
        f"{at}: a {type(value).__name__}; values are strings, numbers, booleans and None (several: use $in)"
    )
