"""Counts pairs whose exact score exceeds the screen's bound; the design says there are none.

python tests/cpp_ext/violations.py --pairs 100_000_000
"""

from __future__ import annotations

import sys

import numpy as np
from galleries import KINDS, queries, rotated, rows, turned_back

import cpp_ext
from cpp_ext._levels import core
from cpp_ext._parts import parts_of


def count(kind, n, m, d, level, random):
    """(pairs checked, pairs whose score is above their bound) on a fresh gallery.

    Queries shorter than 2^-60 or longer than 2^60 aren't screened, so aren't checked.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        gallery = rows(kind, m, d, random)
    packed = cpp_ext.pack(gallery)
    q = queries(kind, n, gallery, random)
    q[1::2] = left_out(packed, random.integers(0, m, len(q[1::2])))
    norms = np.linalg.norm(q.astype(np.float64), axis=1)
    q = np.ascontiguousarray(q[(norms > 2.0**-60) & (norms < 2.0**60)])
    if not len(q):
        return 0, 0
    uppers = np.empty((len(q), m), np.float32)
    core.upper_bounds(q, [parts_of(packed, d, len(q))[0].given()], level, uppers)
    pairs = np.indices(uppers.shape).reshape(2, -1)
    scores = cpp_ext.score_pairs(q, gallery, pairs[0], pairs[1]).reshape(uppers.shape)
    return uppers.size, int((scores > uppers).sum())  # a NaN score is no hit, a NaN bound keeps its item


def left_out(packed, items):
    """What the codes of some rows leave out: as queries the worst there are, for they reach the bound."""
    codes = packed.panels.astype(np.float64).transpose(0, 2, 1, 3).reshape(len(packed.panels) * 16, -1) - 128
    d = packed.vectors.shape[1]
    coded = (packed.bounds[:, 0].reshape(-1, 1) * codes[:, :d])[items]
    with np.errstate(over="ignore", invalid="ignore"):
        rest = turned_back(rotated(packed.vectors[items] - packed.mean.astype(np.float64)) - coded)
        rest = rest.astype(np.float32)
    return np.where(np.isfinite(rest), rest, np.float32(0))


def main() -> int:
    import argparse

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    random = np.random.default_rng(arguments.seed)
    pairs = wrong = turn = 0
    while pairs < arguments.pairs:
        kind, level = KINDS[turn % len(KINDS)], cpp_ext.LEVELS[turn // len(KINDS) % len(cpp_ext.LEVELS)]
        more, bad = count(kind, 128, 4000, int(random.integers(1, 300)), level, random)
        if bad:
            print(f"{bad} violations: {kind} at level {level}")
        pairs, wrong, turn = pairs + more, wrong + bad, turn + 1
    levels = ", ".join(cpp_ext.LEVELS)
    print(f"{pairs:,} pairs, {len(KINDS)} kinds of gallery, levels {levels}: {wrong} violations")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
