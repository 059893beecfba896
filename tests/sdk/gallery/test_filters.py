"""`where`: equal to its plain meaning on any documents, whatever was cached before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdk.errors import FilterError
from sdk.gallery.columns import Column, encode, matches
from sdk.gallery.filters import parse
from sdk.gallery.local import LocalGallery

FIELDS = ["a", "b", "c"]
BIG = 2**53
numbers = st.one_of(
    st.integers(-3, 3),
    st.floats(-3, 3, width=16),
    st.sampled_from([BIG, BIG + 1, float(BIG), -BIG - 1, 2**63 - 1, -(2**63), 0.1, -0.0, 1e300, 5e-324]),
)
strings = st.one_of(
    st.sampled_from(["", "1", "red", "réd", "\0", "z\uffff", "\U0001f415"]), st.text(max_size=3)
)
strings = strings.filter(lambda s: s.isascii() or not any("\ud800" <= c <= "\udfff" for c in s))
scalars = st.one_of(st.none(), st.booleans(), numbers, strings)
documents = st.dictionaries(
    st.sampled_from(FIELDS),
    st.one_of(scalars, scalars, st.just([1]), st.just({"a": 1})),
    max_size=3,
)
ordered = st.one_of(numbers, strings)
operators = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne"]), scalars),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(scalars, max_size=9)),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), ordered),
    st.tuples(st.just("$exists"), st.booleans()),
)
tests = st.lists(operators, min_size=1, max_size=2).map(dict)
conditions = st.one_of(scalars, tests, tests.map(lambda t: {"$not": t}))
leaves = st.dictionaries(st.sampled_from([*FIELDS, "absent"]), conditions, max_size=2)
filters = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"$and": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"$or": parts}),
        inner.map(lambda part: {"$not": part}),
    ),
    max_leaves=4,
)


def kept(where: dict[str, Any], rows: list[dict[str, Any]]) -> list[bool]:
    columns = {field: Column(data, len(rows)) for field, data in encode(rows).items()}
    return matches(parse(where), columns.get, len(rows)).tolist()


@settings(max_examples=250, deadline=None)
@given(where=filters, rows=st.lists(documents, min_size=1, max_size=12))
def test_columns_mean_what_the_table_says(
    where: dict[str, Any], rows: list[dict[str, Any]], accepts: Callable[..., bool]
) -> None:
    assert kept(where, rows) == [accepts(where, row) for row in rows]


@pytest.mark.parametrize("distinct", [250, 251, 252, 300, 4096])
def test_code_width_and_sparse_columns(distinct: int) -> None:
    rows: list[dict[str, Any]] = [{"n": i % distinct, "s": f"{i % distinct:05d}"} for i in range(4096)]
    rows[7]["rare"] = "x"
    last = distinct - 1

    def in_nines(i: int) -> bool:
        return i % distinct in range(9, 200, 9)

    for where, meant in [
        ({"n": {"$gte": last}}, lambda i: i % distinct == last),
        ({"n": {"$lt": last}}, lambda i: i % distinct < last),
        ({"s": {"$lte": f"{last:05d}"}}, lambda i: True),
        ({"s": f"{last:05d}"}, lambda i: i % distinct == last),
        ({"s": {"$gt": f"{last:05d}"}}, lambda i: False),
        ({"rare": "x"}, lambda i: i == 7),
        ({"s": {"$in": [*(f"{j:05d}" for j in range(9, 200, 9)), "", "0", "00009\0"]}}, in_nines),
        ({"n": {"$in": [*range(9, 200, 9), 0.5, 2**53 + 1, 10**400, float("inf")]}}, in_nines),
        ({"rare": None}, lambda i: i != 7),
    ]:
        assert kept(where, rows) == [meant(i) for i in range(4096)], where


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_filtered_search_finds_all_that_match(
    data: st.DataObject, tmp_path_factory: Any, accepts: Any
) -> None:
    """Over full blocks and the unfinished one; rows are added, updated and removed between repeats."""
    from sdk.gallery import rows as sql
    from sdk.types import Space

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sql, "SEGMENT_ROWS", 32)
        patch.setattr(sql, "BLOCK_ROWS", 8)
        gallery = LocalGallery(tmp_path_factory.mktemp("filters") / "g", Space("", 1))
    wheres = data.draw(st.lists(filters, min_size=1, max_size=3))
    kept_rows: dict[int, dict[str, Any]] = {}
    with gallery:
        for _ in range(4):
            first = max(kept_rows, default=-1) + 1
            new = data.draw(st.lists(documents, max_size=20))
            gallery.add(list(range(first, first + len(new))), np.ones((len(new), 1), np.float32), new)
            kept_rows |= dict(enumerate(new, first))
            if kept_rows:
                changed = data.draw(st.lists(st.sampled_from(sorted(kept_rows)), max_size=3, unique=True))
                fresh = [data.draw(documents) for _ in changed]
                gallery.update(changed, metadata=fresh)
                kept_rows.update(zip(changed, fresh, strict=True))
                gone = data.draw(st.lists(st.sampled_from(sorted(kept_rows)), max_size=3, unique=True))
                gallery.remove(gone)
                for i in gone:
                    del kept_rows[i]
            for where in wheres:
                hits = gallery.search(np.ones((1, 1), np.float32), 99, where=where)
                assert [h.id for h in hits[0]] == [
                    i for i in sorted(kept_rows) if accepts(where, kept_rows[i])
                ]


def test_true_is_not_one_in_the_cache(opened: LocalGallery) -> None:
    opened.add(["t", "one"], np.ones((2, 4), np.float32), [{"x": True}, {"x": 1}])
    query = np.ones((1, 4), np.float32)
    assert opened.search(query, 1, where={"x": True}).ids.tolist() == [["t"]]
    assert opened.search(query, 1, where={"x": 1}).ids.tolist() == [["one"]]
    assert opened.search(query, 1, where={"x": 1.0}).ids.tolist() == [["one"]]
    assert opened.search(query, 1, where={"x": np.int64(1)}).ids.tolist() == [["one"]]


def test_more_filters_than_are_kept(opened: LocalGallery, items: Callable[..., Any]) -> None:
    opened.add(*items(0, 100))
    query = np.ones((1, 4), np.float32)
    for _ in range(2):
        for i in range(100):
            assert opened.search(query, 1, where={"n": i}).ids.tolist() == [[str(i)]]


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ([("a", 1)], "pass a dictionary"),
        ({1: 2}, "fields are strings"),
        ({"a": {"$gtt": 1}}, r"unknown operator '\$gtt'; known are \$eq"),
        ({"$eq": 1}, r"'\$eq'; filters are combined with \$and"),
        ({"$nor": [{}]}, r"'\$nor'"),
        ({"a": {}}, "empty dictionary"),
        ({"a": {"$gt": 1, "b": 2}}, "unknown operator 'b'"),
        ({"a": [1, 2]}, r"use \$in"),
        ({"a": {"$in": "red"}}, r"\$in takes a list"),
        ({"a": {"$in": [[1]]}}, r"\['\$in'\]\[0\]"),
        ({"a": {"$lt": True}}, "a number or a string"),
        ({"a": {"$lte": None}}, "a number or a string"),
        ({"a": float("nan")}, "NaN"),
        ({"a": {"$exists": 1}}, "True or False"),
        ({"a": {"$not": 3}}, r"use \$ne"),
        ({"$or": []}, "non-empty list"),
        ({"$and": {"a": 1}}, "non-empty list"),
        ({"$not": 5}, "pass a dictionary"),
        ({"a": object()}, "values are strings, numbers"),
    ],
)
def test_a_wrong_filter_says_what_is_allowed(where: Any, says: str) -> None:
    with pytest.raises(FilterError, match=says):
        parse(where)


def test_a_bottomless_filter_is_refused() -> None:
    where: dict[str, Any] = {"a": 1}
    for _ in range(2000):
        where = {"$not": where}
    with pytest.raises(FilterError, match="nested more than"):
        parse(where)
    inner: dict[str, Any] = {"$eq": 1}
    for _ in range(2000):
        inner = {"$not": inner}
    with pytest.raises(FilterError, match="nested more than"):
        parse({"a": inner})
