"""What the loop owes to samplers whose epochs differ in length; the rest is held by the recipes' tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from train import loop, runlog
from train.recipes import clip
from train.recipes.clip import Config

pytestmark = pytest.mark.usefixtures("two_threads")


class Growing:
    """Two batches in the first epoch, three in the second, …; says two."""

    def __len__(self) -> int:
        return 2

    def batches(self, epoch: int) -> list[Any]:
        rng = np.random.default_rng(epoch)
        return [rng.integers(0, 20, 4) for _ in range(2 + epoch)]


def test_steps_are_counted_through_epochs_of_different_lengths(
    people: Path,
    small_model: str,
    tmp_path: Path,
    steps: Callable[[Path], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = {"model": small_model, "height": 32, "width": 16, "batch": 4, "warmup": 0.0}

    def train(out: str, **more: Any) -> list[dict[str, Any]]:
        cfg = Config("drawn", str(people), str(tmp_path / out), judge=(), **small, **more)
        loop.run(cfg, clip.build, clip.step_losses, sampler=lambda *_: Growing())
        return steps(tmp_path / out)

    whole = train("a")
    assert [line["step"] for line in whole] == list(range(1, 10))
    assert [line["epoch"] for line in whole] == [0, 0, 1, 1, 1, 2, 2, 2, 2]
    halves = [line["lr"] for line in whole[:2]]
    assert halves[1] == pytest.approx(
        1e-3 * 0.5 * (1 + np.cos(np.pi / 6))
    )  # half of the first of three epochs

    real = loop.checkpoint.save

    def die(path: Path, *rest: Any) -> None:
        real(path, *rest)
        if rest[-1] == "last, epoch 2":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop.checkpoint, "save", die)
        with pytest.raises(KeyboardInterrupt):
            train("b")
    assert train("b") == whole
    assert [line["event"] for line in runlog.read(tmp_path / "b" / "log.jsonl")].count("end") == 1
