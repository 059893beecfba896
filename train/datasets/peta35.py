"""PETA by the 35 attributes that recognition is judged on: colours, hair length and rarer things left out.

Files, rule of the parts and task as in `peta`; with fewer attributes there are fewer, larger categories, and
the draw gives other parts. No count is published for it.
"""

from __future__ import annotations

from pathlib import Path

from train.datasets.peta import PARTS, RECOGNITION, TASKS, load_with
from train.split import Split

__all__ = ["PARTS", "TASKS", "load"]


def load(root: str | Path, part: str, task: str = "attributes") -> Split:
    """Parse ``part``; raises DatasetError as ``peta`` does."""
    return load_with("peta35", Path(root), part, RECOGNITION)
