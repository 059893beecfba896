"""Bad arguments: each refused by name, before any kernel runs."""

from __future__ import annotations

import numpy as np
import pytest

import cpp_ext

Q = np.ones((2, 4), np.float32)
G = np.ones((10, 4), np.float32)
LATE = np.ones((10, 3, 4), np.float32)
NAN = np.array([[1, 2, 3, 4], [1, np.nan, 3, 4]], np.float32)

REFUSALS = [
    ({"queries": Q[0]}, ValueError, r"queries must have shape \(n, d\).*queries\[None, :\]"),
    ({"queries": Q.astype(np.float64)}, TypeError, r"queries must be float32, got float64; convert"),
    ({"queries": Q.tolist()}, TypeError, "queries must be a NumPy array"),
    ({"queries": NAN}, ValueError, "queries hold NaN or infinity in 1 rows, the first is row 1"),
    ({"queries": Q * np.float32(np.inf)}, ValueError, "NaN or infinity in 2 rows"),
    ({"queries": np.ones((2, 0), np.float32)}, ValueError, "at least one dimension"),
    ({"gallery": G.astype(np.float64)}, TypeError, "gallery must be float32, .* or int8, got float64"),
    ({"gallery": G.astype(">f4")}, TypeError, "gallery must be float32, .*, got >f4"),
    ({"gallery": [[1.0]]}, TypeError, r"gallery\[0\] must be a NumPy array"),
    ({"gallery": G[0]}, ValueError, r"gallery must have shape \(m, d\) or \(m, t, d\)"),
    ({"gallery": G[:, :3]}, ValueError, "gallery rows have d = 3, but queries have d = 4"),
    ({"gallery": LATE[:, :0]}, ValueError, "at least one token"),
    ({"gallery": np.asfortranarray(G)}, ValueError, "contiguous.*ascontiguousarray"),
    ({"gallery": np.ones((10, 8), np.float32)[:, ::2]}, ValueError, "contiguous"),
    ({"gallery": np.frombuffer(bytes(161), np.float32, 40, 1).reshape(10, 4)}, ValueError, "aligned"),
    ({"k": 0}, ValueError, "k must be at least 1, got 0"),
    ({"k": -3}, ValueError, "k must be at least 1, got -3"),
    ({"k": 1.5}, TypeError, "k must be a whole number, got 1.5"),
    ({"k": True}, TypeError, "k must be a whole number, got True"),
    ({"mask": np.ones(9, bool)}, ValueError, r"shape \(10,\) or \(2, 10\), got \(9,\)"),
    ({"mask": np.ones((3, 10), bool)}, ValueError, r"got \(3, 10\)"),
    ({"mask": np.ones(10, np.uint8)}, ValueError, r"uint8 .* shape \(2,\) or \(2, 2\), got \(10,\)"),
    ({"mask": np.ones(10, np.int64)}, TypeError, "mask must be a NumPy array of bool.*got int64"),
    ({"mask": [True] * 10}, TypeError, "got list"),
    ({"exclude": [[1]]}, ValueError, "one list of rows per query: 2 queries, 1 lists"),
    ({"exclude": [[1], [10]]}, ValueError, r"exclude\[1\] holds row 10, but the rows are 0 to 9"),
    ({"exclude": [[-1], []]}, ValueError, r"exclude\[0\] holds row -1"),
    ({"exclude": [[0.5], []]}, TypeError, r"exclude\[0\] must be a flat list"),
    ({"exclude": [[[1]], []]}, TypeError, r"exclude\[0\] must be a flat list"),
    ({"min_score": float("nan")}, ValueError, "min_score is NaN"),
    ({"min_score": "0.5"}, TypeError, "min_score must be a number or None, got '0.5'"),
    ({"top_tokens": 0}, ValueError, "top_tokens must be at least 1"),
    ({"top_tokens": 2}, ValueError, "top_tokens is 2, but gallery items have 1 token"),
    ({"gallery": LATE, "top_tokens": 4}, ValueError, "top_tokens is 4, but gallery items have 3 tokens"),
    ({"threads": -1}, ValueError, "threads must be at least 0, got -1"),
    ({"level": "sse9"}, ValueError, "level 'sse9': there is no such level.*allowed: reference, serial"),
]


@pytest.mark.parametrize("level", ["reference", *cpp_ext.LEVELS])
@pytest.mark.parametrize(("change", "error", "message"), REFUSALS)
def test_topk_refuses(level, change, error, message):
    arguments = {"queries": Q, "gallery": G, "k": 2, "level": level} | change
    with pytest.raises(error, match=message):
        cpp_ext.topk(**arguments)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"query_index": [2]}, ValueError, "query_index holds row 2, but the rows are 0 to 1"),
        ({"gallery_index": [-1]}, ValueError, "gallery_index holds row -1"),
        ({"gallery_index": [1, 2]}, ValueError, "query_index has 1 entries, gallery_index 2"),
        ({"gallery_index": [1.0]}, TypeError, "gallery_index must be a flat list"),
        ({"queries": NAN}, ValueError, "queries hold NaN"),
        ({"top_tokens": 5}, ValueError, "top_tokens is 5"),
    ],
)
def test_score_pairs_refuses(change, error, message):
    arguments = {"queries": Q, "gallery": G, "query_index": [0], "gallery_index": [1]} | change
    with pytest.raises(error, match=message):
        cpp_ext.score_pairs(**arguments)


def test_k_may_be_any_whole_number(whole):
    assert cpp_ext.topk(Q, G, np.int32(3))[0].shape == (2, 3)


def test_an_empty_gallery_has_no_strides_to_refuse():
    empty = np.ones((4, 8), np.float32)[:0, ::2]
    assert (cpp_ext.topk(Q, empty, 2)[0] == -1).all()
