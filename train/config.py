"""The settings that every recipe has; a recipe's Config adds its own, and its own defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sdk.errors import InputError
from train.optim import Rule

FREE = ("out", "workers", "cache")  # may change when a run is resumed


@dataclass(frozen=True)
class RunConfig:
    """One run. Anything but `out`, `workers` and `cache` must be the same when it is resumed."""

    data: str  # a module of train/datasets
    root: str  # its folder
    out: str  # run folder; a ckpt.pt found there is resumed
    model: str = "labrador-tiny-conv"  # or labrador-tiny, or any open_clip name
    pretrained: str | None = None  # open_clip tag or weight file; none: from nothing
    height: int = 128  # pixels
    width: int = 64  # pixels
    epochs: int = 3  # each holds every (picture, caption) pair about once
    batch: int = 64  # pairs a step, over all processes
    lr: float = 1e-3  # peak, of the whole batch
    weight_decay: float = 0.05  # AdamW's for rule plain, L2 for irra
    eps: float = 1e-8  # of Adam; IRRA's 1e-3 shrinks its steps a lot and belongs to its lr
    rule: Rule = "plain"  # which parameters learn faster or don't decay: train/optim.py
    warmup: float = 1.0  # epochs
    schedule: Literal["step", "epoch"] = "step"  # when the cosine moves; IRRA's moves each epoch
    clip_norm: float = 1.0  # of the gradient; inf turns it off
    augment: bool = True  # flip, shift, erase: train/data.py
    erase: float = 0.0  # chance of an erased rectangle; IRRA's 0.5 is for trainings of hours, not minutes
    cache: bool = True  # keep decoded pictures in memory: 3 bytes a pixel
    workers: int = 0  # loader processes; with cached pictures none are needed
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # auto: bf16 or fp16 where a GPU has it
    judge: tuple[Literal["val", "test"], ...] = ("val",)  # parts of the data, each keeps its best checkpoint
    eval_every: int = 5  # epochs between evaluations; the last epoch is always evaluated
    save_every: int = 1  # epochs between checkpoints
    seed: int = 0  # of weights, batches and augmentation

    def __post_init__(self) -> None:
        self.above_zero("epochs", "batch", "lr", "eval_every", "save_every")

    def above_zero(self, *names: str) -> None:
        """Raise InputError for the first of these settings that is 0 or less."""
        for name in names:
            if getattr(self, name) <= 0:
                raise InputError(f"{name}: {getattr(self, name)} must be above 0")
