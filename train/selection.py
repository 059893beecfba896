"""Which checkpoints a run keeps: the last one, and the best of each part that it was judged on.

Published figures of person search are mostly those of the epoch with the best Rank-1 on test, that is, chosen
on the queries they are reported on. Such a figure flatters. It is kept beside the honest ones (last, best on
val) for comparison with papers, and each checkpoint says which it is wherever it goes: in its provenance,
in the bundle made from it, in evaluate's report.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

LAST = "ckpt.pt"
BEST = {"val": "best.pt", "test": "best_on_test.pt"}  # part → file


class Selection:
    """What a run's evaluations said so far; plain data in ``state``, to be resumed from."""

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        """state: ``self.state`` of the run that is resumed."""
        known = state or {}
        self.last: dict[str, Any] = dict(known.get("last", {}))  # part → its last figures
        self.best: dict[str, Any] = dict(known.get("best", {}))  # part → its best ones

    @property
    def state(self) -> dict[str, Any]:
        return {"last": dict(self.last), "best": dict(self.best)}

    def add(self, part: str, epoch: int, figures: Mapping[str, Any]) -> str | None:
        """Note an evaluation on ``part``; the label "best on val, epoch 7" when its Rank-1 is the best yet.

        The first of equals stays the best. The label is what the checkpoint is saved with.
        """
        before = self.best.get(part)
        self.last[part] = {"epoch": epoch, **figures}
        if before is not None and (figures["rank1"] or 0) <= (before["rank1"] or 0):
            return None
        self.best[part] = self.last[part]
        return f"best on {part}, epoch {epoch}"


def chosen_on(label: str, part: str) -> bool:
    """The label says that the checkpoint was chosen on this very part."""
    return label.startswith(f"best on {part},")


def checkpoints(path: Path) -> list[Path]:
    """The checkpoints of a run folder: last, best on val, best on test, as far as they are there.

    A file is itself. An empty list for a folder without any.
    """
    if not path.is_dir():
        return [path]
    return [file for file in (path / name for name in (LAST, *BEST.values())) if file.is_file()]
