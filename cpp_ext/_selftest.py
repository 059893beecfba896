"""A moment's proof that every level on this machine computes what it should; ``sdk doctor`` shows it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cpp_ext import reference
from cpp_ext._levels import LEVELS, REFERENCE
from cpp_ext._search import topk

Found = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]


def self_test() -> dict[str, bool]:
    """{level: passed} for the reference and every level of ``LEVELS``; some milliseconds.

    Each level must find what the specification finds on integer-valued vectors with many ties, where
    float32 is exact, and return the serial level's bits on vectors of every rounding.
    """
    random = np.random.default_rng(0)
    whole = random.integers(-2, 3, (5, 45)).astype(np.float32)
    wholes = random.integers(-2, 3, (300, 3, 45)).astype(np.float32)
    mask = random.random((5, 300)) < 0.5
    real = random.standard_normal((5, 45)).astype(np.float32)
    reals = random.standard_normal((300, 45)).astype(np.float32)
    meant = reference.topk(whole, wholes, 20, mask=mask, top_tokens=2)

    def same(left: Found, right: Found) -> bool:
        return left[0].tobytes() == right[0].tobytes() and left[1].tobytes() == right[1].tobytes()

    result = {}
    for name in (REFERENCE, *LEVELS):
        found = topk(whole, wholes, 20, mask=mask, top_tokens=2, threads=1, level=name)
        passed = same(found, meant)
        if name != REFERENCE:
            rounded = [topk(real, reals, 300, threads=1, level=each) for each in (LEVELS[0], name)]
            passed = passed and same(*rounded)
        result[name] = passed
    return result
