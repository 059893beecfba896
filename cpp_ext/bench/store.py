"""Something that stores vectors, searches them with these kernels, and wants its own cost known.

cpp_ext is a leaf: it can't name the galleries that stand on it. A package names one itself, as an entry
point of the group ``labrador.searches``; what it points to is called as a ``Factory``.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Marks = Mapping[str, npt.NDArray[np.bool_]]

GROUP = "labrador.searches"


class Store(Protocol):
    """A store that was filled, closed and opened again."""

    @property
    def facts(self) -> Mapping[str, float]:
        """Such as seconds of filling and milliseconds of opening, by name and unit."""

    def search(self, queries: Floats, k: int, mark: str | None) -> Any:
        """A search as a user makes it, on every processor this thread may use; only rows with ``mark``."""

    def found(self, result: Any) -> tuple[npt.NDArray[np.int64], Floats]:
        """What ``search`` returned as row numbers (n, k), -1 where there is none, and scores (n, k)."""


Factory = Callable[[Floats, Marks], AbstractContextManager[Store]]
"""Rows (m, d), and by name which of them (m,) carry a mark, → a store in which row i's number is i."""


def registered() -> tuple[str, Factory] | None:
    """The name and factory of the installed store; None when no installed package names one."""
    points = sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name)
    return (points[0].name, points[0].load()) if points else None
