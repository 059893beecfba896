"""Vectors for kernel tests: integer-valued ones, on which float32 is exact, and ordinary ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

Make = Callable[..., npt.NDArray[np.float32]]


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(20240607)


@pytest.fixture
def whole(random: np.random.Generator) -> Make:
    """Entries -2 to 2: sums are exact in any order and ties abound."""
    return lambda *shape: random.integers(-2, 3, shape).astype(np.float32)


@pytest.fixture
def real(random: np.random.Generator) -> Make:
    return lambda *shape: random.standard_normal(shape).astype(np.float32)
