"""Cases of whole searches: parts, masks, exclusions, labels, tokens, element types, codes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from case_file import Case
from exact_dots import Floats, dots, late

ELEMENTS = ("float32", "float16", "bfloat16", "int8")
Random = np.random.Generator


class Part(NamedTuple):
    numbers: tuple[int, ...]
    arrays: tuple[npt.NDArray[Any], ...]  # data, mask, labels
    rows: Floats  # (m, t, d): the data as float32
    eligible: npt.NDArray[np.bool_]  # (n, m)
    labels: npt.NDArray[np.int64]  # (m,)


def scores(queries: Floats, rows: Floats, top_tokens: int) -> Floats:
    """(n, d) and (m, t, d) to (n, m)."""
    m, t, d = rows.shape
    table = dots(queries, rows.reshape(-1, d)).reshape(len(queries), m, t)
    return table[:, :, 0] if t == 1 else late(table, top_tokens)


def stored(values: Floats, element: str) -> npt.NDArray[Any]:
    """Values of a normal size, as the element type keeps them; bfloat16 as its bits."""
    if element == "bfloat16":
        return (np.ascontiguousarray(values).view(np.uint32) >> 16).astype(np.uint16)
    if element == "int8":
        return np.clip(np.nan_to_num(values * 30), -128, 127).astype(np.int8)
    with np.errstate(over="ignore"):
        return values.astype(element)


def widened(data: npt.NDArray[Any], element: str) -> Floats:
    if element == "bfloat16":
        return (data.astype(np.uint32) << 16).view(np.float32)
    return data.astype(np.float32)


def vectors(random: Random, m: int, t: int, d: int) -> Floats:
    """A cone, with what is awkward in it: equal items, zeros, a row that dwarfs the others, damage.

    And a crowd of good ones, nearer to each other than codes can tell.
    """
    values = (random.standard_normal((m, t, d)) + 0.7).astype(np.float32)
    crowd = random.random(m) < 0.3
    values[crowd] = values[:1] + 1.5 + 0.003 * values[crowd]
    for item in random.integers(0, max(1, m), m // 6):
        values[item] = values[random.integers(0, m)]
    values[m // 2 : m // 2 + 2] = 0
    values[m // 3 : m // 3 + 1] *= 1000
    for damage in (np.nan, np.inf, -np.inf):
        values[random.random((m, t, d)) < 0.4 / (t * d * 8)] = damage
    return values


def spread(data: npt.NDArray[Any], token_gap: int, item_gap: int) -> tuple[npt.NDArray[Any], tuple[int, int]]:
    """The rows with gaps between them, which hold NaN, and the strides of items and tokens."""
    m, t, d = data.shape
    token_stride, item_stride = d + token_gap, t * (d + token_gap) + item_gap
    flat = np.frombuffer(bytearray(b"\xff" * (m * item_stride * data.itemsize)), data.dtype)
    for item, token in product(range(m), range(t)):
        begin = item * item_stride + token * token_stride
        flat[begin : begin + d] = data[item, token]
    used = (m - 1) * item_stride + (t - 1) * token_stride + d if m else 0
    return flat[:used], (item_stride, token_stride)


def part(random: Random, n: int, rows: Floats, element: str, mask: str, first: int, own_labels: bool) -> Part:
    m = len(rows)
    data = stored(rows, element)
    flat, strides = spread(data, *random.integers(0, 4, 2))
    eligible, bits, mask_stride = np.ones((n, m), np.bool_), np.zeros(0, np.uint8), 0
    if mask != "none":
        share = random.choice([0.02, 0.5, 0.97])
        eligible = np.broadcast_to(random.random((1 if mask == "shared" else n, m)) < share, (n, m))
        bits = np.packbits(eligible[:1] if mask == "shared" else eligible, axis=1, bitorder="little")
        mask_stride = 0 if mask == "shared" else bits.shape[1]
    labels = first + np.arange(m)
    if own_labels:
        labels = random.permutation(10 * m)[:m] + 10 * first
    numbers = (ELEMENTS.index(element), m, *strides, mask_stride, first)
    arrays = (flat, bits, labels if own_labels else np.zeros(0, np.int64))
    return Part(numbers, arrays, widened(data, element), eligible, labels)


class Ways(NamedTuple):
    """How to search; ``mask`` is none, shared or own, ``cut`` leaves the better half."""

    k: int = 10
    top_tokens: int = 1
    mask: str = "none"
    coded: bool = True
    threads: int = 1
    own_labels: bool = False
    exclude: bool = False
    cut: bool = False


def search(random: Random, queries: Floats, given: list[tuple[str, Floats]], ways: Ways) -> Case:
    """(n, d) queries in parts: element types and what they store, (m, t, d)."""
    n, k = len(queries), ways.k
    parts: list[Part] = []
    for element, rows in given:
        first = sum(len(earlier.rows) for earlier in parts)
        parts.append(part(random, n, rows, element, ways.mask, first, ways.own_labels))
    table = np.concatenate([scores(queries, each.rows, ways.top_tokens) for each in parts], axis=1)
    labels = np.concatenate([each.labels for each in parts]).astype(np.int64)
    eligible = np.concatenate([each.eligible for each in parts], axis=1) & np.isfinite(table)
    above = np.float32(np.median(table[eligible]) if ways.cut and eligible.any() else -np.inf)
    eligible &= table > above
    lists: list[npt.NDArray[np.int64]] = []
    for query in range(n if ways.exclude else 0):
        best = np.argsort(np.where(eligible[query], -table[query], np.inf))[: 3 * query % 7]
        lists.append(np.unique(np.append(labels[best], -5)))
        eligible[query] &= ~np.isin(labels, lists[-1])
    excluded = np.concatenate([*lists, np.zeros(0, np.int64)]).astype(np.int64)
    begins = np.cumsum([0, *map(len, lists)] if lists else [], dtype=np.int64)
    found, best_scores = np.full((n, k), -1, np.int64), np.full((n, k), -np.inf, np.float32)
    for query in range(n):
        rows = np.flatnonzero(eligible[query])
        hits = rows[np.lexsort((labels[rows], -table[query, rows]))][:k]
        found[query, : len(hits)], best_scores[query, : len(hits)] = labels[hits], table[query, hits]
    flat, (stride, _) = spread(queries[:, None, :], 0, int(random.integers(0, 3)))
    t, bits = given[0][1].shape[1], int(above.view(np.uint32))
    numbers = [n, queries.shape[1], stride, t, ways.top_tokens, k, ways.threads, ways.coded, bits, len(parts)]
    numbers += [number for each in parts for number in each.numbers]
    arrays = [array for each in parts for array in each.arrays]
    return Case("topk", numbers, [flat, excluded, begins, *arrays], (found, best_scores))


def conspiring(random: Random, m: int, d: int, rounded: str) -> tuple[Floats, Floats]:
    """Vectors whose roundings to codes all point one way, so that scores err by what the bound allows.

    The elements of the ``rounded`` side, queries or rows, lie half a step beside their codes; the other
    side is whole steps, all of one size, so nothing is lost there. Rows and their images have the mean 0.
    """
    halves = 0.49 * random.choice([-1, 1], (m, 1))
    if rounded == "rows":
        queries = np.full((2, d), 127) * [[1], [-1]]
        steps = random.integers(-100, 101, (m, (d + 1) // 2))
        rows = np.concatenate([steps, -steps], axis=1)[:, :d] + halves  # codes add up to little
    else:
        queries = random.integers(-1, 2, (m, d))[:8] + halves[:8]
        rows = random.choice(np.array([-127, 127]), (m, d))
    queries[:, 0] = 127
    rows[:, 0] = 127
    rows = np.concatenate([rows, -rows])[:, None]
    return (queries / 127).astype(np.float32), (rows / 127).astype(np.float32)


def topk_cases(random: Random) -> Iterator[Case]:
    def real(n: int, d: int) -> Floats:
        return (random.standard_normal((n, d)) + 0.3).astype(np.float32)

    def one(n: int, m: int, d: int, ways: Ways, element: str = "float32", t: int = 1) -> Case:
        return search(random, real(n, d), [(element, vectors(random, m, t, d))], ways)

    masks = ("none", "shared", "own")
    shapes = [(1, 1), (1, 1), (3, 2), (17, 1), (20, 5)]  # t, top_tokens
    for number, (coded, element, (t, top)) in enumerate(product((False, True), ELEMENTS, shapes)):
        k, n, m = (int(random.choice(sizes)) for sizes in ((1, 3, 10), (1, 2, 5, 9), range(100, 900)))
        ways = Ways(k, top, masks[number % 3], coded, 1 + number % 2)
        ways = ways._replace(own_labels=number % 4 == 1, exclude=number % 5 == 2, cut=number % 3 == 0)
        yield one(n, m // t + 40, int(random.integers(1, 70)), ways, element, t)
    for mask in masks:  # parts of several types, one of them empty
        given = [
            (each, vectors(random, m, 1, 37)) for each, m in zip(ELEMENTS, (300, 0, 77, 500), strict=True)
        ]
        yield search(random, real(4, 37), given, Ways(12, 1, mask, own_labels=True, exclude=True))
    for rounded, (k, d) in product(("queries", "rows"), ((1, 16), (5, 65), (20, 200))):
        queries, rows = conspiring(random, 700, d, rounded)
        yield search(random, queries, [("float32", rows)], Ways(k))
    yield one(9, 9000, 64, Ways(threads=3))  # threads share the gallery
    yield one(70, 700, 96, Ways(5, threads=3), "float16")  # threads share the queries
    yield one(3, 40, 600, Ways(50))  # k past m
    yield one(2, 30, 16, Ways(2, 70), t=70)
    yield one(2, 0, 8, Ways(3, coded=False), "int8")


def pairs_cases(random: Random) -> Iterator[Case]:
    for n, m, t, d, top_tokens, count in ((1, 1, 1, 1, 1, 1), (6, 40, 1, 45, 1, 33), (3, 20, 9, 33, 4, 50)):
        queries = random.standard_normal((n, d)).astype(np.float32)
        rows = vectors(random, m, t, d)
        which, item = random.integers(0, n, count), random.integers(0, m, count)
        expected = scores(queries, rows, top_tokens)[which, item]
        expected = np.where(np.isfinite(expected), expected, np.float32(np.nan))
        yield Case("pairs", (d, m, t, top_tokens), (queries, rows, which, item), (expected,))
