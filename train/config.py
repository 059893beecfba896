"""The settings that every recipe has; a recipe's Config adds its own, and its own defaults.

`RunConfig` starts from nothing, `PublishedConfig` from CLIP's weights as IRRA does. `SMALL` turns a published
recipe into one that trains from nothing on two CPU cores in minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sdk.errors import InputError
from train.optim import Rule

SMALL: Mapping[str, Any] = {
    "model": "labrador-tiny",
    "pretrained": None,
    "height": 128,
    "width": 64,
    "epochs": 5,
    "batch": 64,
    "lr": 1e-3,
    "weight_decay": 0.05,
    "eps": 1e-8,
    "rule": "plain",
    "warmup": 1.0,
    "schedule": "step",
    "clip_norm": 1.0,
    "erase": 0.0,
    "cache": True,
    "workers": 0,
    "temperature": 0.05,
    "learn_temperature": True,
}
FREE = ("out", "workers", "cache")  # may change when a run is resumed


@dataclass(frozen=True)
class RunConfig:
    """One run. Anything but `out`, `workers` and `cache` must be the same when it is resumed."""

    data: str  # a module of train/datasets
    root: str  # its folder
    out: str  # run folder; a ckpt.pt found there is resumed
    model: str = "labrador-tiny-conv"  # or labrador-tiny, or any open_clip name
    pretrained: str | None = None  # open_clip tag, weight file or a run's checkpoint; None: from nothing
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
    people: int | None = None  # at most, of each part, to train on and judge by; None: all
    judge: tuple[Literal["val", "test"], ...] = ("val",)  # parts of the data, each keeps its best checkpoint
    eval_every: int = 5  # epochs between evaluations; the last epoch is always evaluated
    save_every: int = 1  # epochs between checkpoints
    seed: int = 0  # of weights, batches and augmentation

    def __post_init__(self) -> None:
        self.above_zero("epochs", "batch", "lr", "eval_every", "save_every")
        if self.people is not None:
            self.above_zero("people")

    def above_zero(self, *names: str) -> None:
        """Raise InputError for the first of these settings that is 0 or less."""
        for name in names:
            if getattr(self, name) <= 0:
                raise InputError(f"{name}: {getattr(self, name)} must be above 0")


@dataclass(frozen=True)
class PublishedConfig(RunConfig):
    """IRRA's settings, from CLIP's weights (arXiv 2303.12501, its released code); sen and aima share them."""

    model: str = "ViT-B-16"  # with OpenAI's weights it runs QuickGELU
    pretrained: str | None = "openai"  # open_clip tag, weight file or a run's checkpoint; None: from nothing
    height: int = 384  # pixels
    width: int = 128  # pixels
    epochs: int = 60
    lr: float = 1e-5  # peak, of the towers; the rule makes it 5 x for most of the new modules
    weight_decay: float = 4e-5  # L2
    eps: float = 1e-3  # of Adam
    rule: Rule = "irra"  # which parameters learn faster or don't decay: train/optim.py
    warmup: float = 5.0  # epochs
    schedule: Literal["step", "epoch"] = "epoch"  # when the cosine moves
    clip_norm: float = float("inf")  # of the gradient; inf turns it off
    erase: float = 0.5  # chance of an erased rectangle
    cache: bool = False  # keep decoded pictures in memory: 3 bytes a pixel
    workers: int = 8  # loader processes
    judge: tuple[Literal["val", "test"], ...] = ("val", "test")  # each keeps its best checkpoint
    eval_every: int = 1  # epochs between evaluations; the last epoch is always evaluated
    temperature: float = 0.02  # of the cosines; the first value if learned
    learn_temperature: bool = False  # from nothing, it has to sharpen as the towers do

    def __post_init__(self) -> None:
        super().__post_init__()
        self.above_zero("temperature")
