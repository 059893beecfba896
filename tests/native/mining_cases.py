"""Cases of batch-hard mining, and of the gradient of what it finds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from case_file import Case
from exact_dots import Floats, dots

Indices = npt.NDArray[np.int64]
Random = np.random.Generator


class Rules(NamedTuple):
    paired: bool = False
    semi_hard: bool = False
    exclude_self: bool = False


def chosen(row: Floats, allowed: npt.NDArray[np.bool_], sign: float) -> tuple[int, np.float32]:
    """The first of the largest of sign * row where it is allowed and finite."""
    places = np.flatnonzero(allowed & np.isfinite(row))
    if not places.size:
        return -1, np.float32(np.nan)
    best = places[np.argmax(sign * row[places])]
    return int(best), row[best]


def direction(table: Floats, ids: Indices, other_ids: Indices, rules: Rules) -> list[tuple[float, ...]]:
    """(positive, its score, negative, its score) of every row."""
    found: list[tuple[float, ...]] = []
    columns = np.arange(len(other_ids))
    for i, row in enumerate(table):
        same = other_ids == ids[i]
        allowed = columns == i if rules.paired else same & (columns != i) if rules.exclude_self else same
        positive, least = chosen(row, allowed, -1)
        below = row < least if rules.semi_hard and positive >= 0 else np.True_
        found.append((positive, least, *chosen(row, ~same & below, 1)))
    return found


def mined(
    anchors: Floats, others: Floats, ids: Indices, other_ids: Indices, rules: Rules, threads: int
) -> Case:
    table = dots(anchors, others)
    rows = direction(table, ids, other_ids, rules) + direction(table.T, other_ids, ids, rules)
    types = (np.int64, np.float32, np.int64, np.float32)
    expected = [np.array([row[part] for row in rows], dtype) for part, dtype in enumerate(types)]
    numbers = (len(anchors), len(others), anchors.shape[1], *rules, threads)
    return Case("mining", numbers, (anchors, others, ids, other_ids), expected)


def mining_cases(random: Random) -> Iterator[Case]:
    def vectors(rows: int, d: int) -> Floats:
        """Ordinary ones, with equal ones among them."""
        values = random.standard_normal((rows, d)).astype(np.float32)
        for row in random.integers(0, max(1, rows), rows // 5):
            values[row] = values[random.integers(0, rows)]
        return values

    kinds = [Rules(p, s, e) for p, s, e in product((False, True), repeat=3) if not (p and e)]
    sizes = [(1, 1), (2, 3), (17, 40), (48, 64), (49, 65), (70, 130)]
    for number, (rules, (n, m), people) in enumerate(product(kinds, sizes, (1, 4, 60))):
        m = n if rules.paired or rules.exclude_self else m
        ids = random.integers(-people, people, n)
        other_ids = ids if m == n else random.integers(-people, people, m)
        d = int(random.integers(1, 70))
        yield mined(vectors(n, d), vectors(m, d), ids, other_ids, rules, 1 + number % 2)
    for n, m in ((0, 0), (0, 3), (4, 0)):
        yield mined(vectors(n, 5), vectors(m, 5), np.arange(n), np.arange(m), Rules(), 1)
    many = random.integers(0, 90, 420)
    for rules in (Rules(), Rules(semi_hard=True), Rules(exclude_self=True)):
        yield mined(vectors(420, 64), vectors(420, 64), many, many, rules, 3)  # threads share the rows
    huge = vectors(60, 20) * np.float32(10) ** random.integers(-30, 20, (60, 20)).astype(np.float32)
    huge[:9, 3] = 3e38
    huge[50:, 3] = -3e38
    for rules in kinds:  # scores that overflow don't count
        ids = random.integers(0, 6, 60)
        yield mined(huge, huge[random.permutation(60)], ids, ids, rules, 1)


def summed(own: list[npt.NDArray], back: list[npt.NDArray], sources: Floats, n: int) -> Floats:
    """What n rows get: by their own choices, then by the rows that chose them, one product after another."""
    total = np.zeros((n, sources.shape[1]), np.float32)
    terms = [(i, own[part][i], own[part + 1][i]) for i in range(n) for part in (0, 2)]
    terms += [(back[part][j], j, back[part + 1][j]) for j in range(len(sources)) for part in (0, 2)]
    for target, source, weight in terms:
        if target >= 0 and source >= 0 and weight != 0:
            total[target] += weight * sources[source]
    return total


def slopes_cases(random: Random) -> Iterator[Case]:
    for n, m, d, threads in ((1, 1, 1, 1), (5, 0, 3, 1), (9, 4, 16, 1), (40, 70, 19, 1), (150, 90, 301, 3)):
        anchors, others = (random.standard_normal((rows, d)).astype(np.float32) for rows in (n, m))
        parts: list[npt.NDArray] = []
        for _ in range(2):
            parts.append(np.concatenate([random.integers(-1, max(m, 0), n), random.integers(-1, n, m)]))
            values = random.standard_normal(n + m) * (random.random(n + m) < 0.7)
            parts.append(values.astype(np.float32))
        own, back = [part[:n] for part in parts], [part[n:] for part in parts]
        expected = summed(own, back, others, n), summed(back, own, anchors, m)
        yield Case("slopes", (n, m, d, threads), (anchors, others, *parts), expected)
