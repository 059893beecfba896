"""CLIP for person search: a contrastive loss between pictures and captions, on real weights or from nothing.

Paper: Radford et al., Learning Transferable Visual Models From Natural Language Supervision, arXiv 2103.00020

On real data, from OpenAI's ViT-B/16 with the settings of IRRA's repository (one GPU with 24 GB):

    python -m train.recipes.clip --data cuhk_pedes --root CUHK-PEDES --out runs/clip-cuhk
        --model ViT-B-16 --pretrained openai --height 384 --width 128 --epochs 60 --warmup 5 --schedule epoch
        --batch 64 --instances 1 --rule irra --lr 1e-5 --weight-decay 4e-5 --eps 1e-3 --clip-norm inf
        --temperature 0.02 --no-learn-temperature --erase 0.5 --judge val test --no-cache --workers 8

Published by IRRA as "CLIP ViT-B/16 fine-tuned" (Rank-1 and mAP on test, best epoch there): CUHK-PEDES 68.19,
61.12; ICFG-PEDES 56.74, 31.84; RSTPReid 54.05, 43.41. Not run by us: data and weights don't come with us.
Pairs of one person are positives here. Several GPUs share --batch: `accelerate launch -m train.recipes.clip`.

Shrunken, on two CPU cores in minutes: python -m train.recipes.clip --data drawn --root DIR --out runs/a
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sdk.errors import InputError
from train import checkpoint, heads, loop, losses
from train.config import RunConfig
from train.data import Batch, TrainSet
from train.distributed import gather
from train.encoder import DualEncoder
from train.model import TwoTower
from train.sampling import IdentitySampler
from train.split import Split


@dataclass(frozen=True)
class Config(RunConfig):
    losses: tuple[Literal["infonce", "sdm", "id", "cmt"], ...] = ("infonce",)  # summed, weight 1 each
    temperature: float = 0.05  # of the cosines in infonce and sdm; the first value if learned
    learn_temperature: bool = True  # from nothing, it has to sharpen as the towers do
    instances: int = 1  # pairs of one person in a batch

    def __post_init__(self) -> None:
        super().__post_init__()
        self.above_zero("instances", "temperature")
        if not self.losses:
            raise InputError("losses: none given; choose from infonce, sdm, id, cmt")


class Trainee(nn.Module):
    """The towers, and the classifier over `classes` people that the id loss wants (none for 0)."""

    def __init__(self, tower: TwoTower, classes: int, temperature: float, learn_temperature: bool) -> None:
        super().__init__()
        self.tower = tower
        self.heads = nn.Module()
        if classes:
            self.heads.classifier = heads.classifier(tower.dim, classes)
        tower.set_temperature(temperature, learn_temperature)

    @property
    def temperature(self) -> Tensor:
        return self.tower.temperature

    def forward(self, pixels: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        image, text = self.tower(pixels, ids)
        return image.float(), text.float()


def build(cfg: Config, split: Split) -> tuple[DualEncoder, Trainee]:
    """What is exported, and what is trained around it."""
    encoder = loop.towers("clip", cfg, split)
    classes = split.people if "id" in cfg.losses else 0
    return encoder, Trainee(encoder.tower, classes, cfg.temperature, cfg.learn_temperature)


def build_for_inference(state: Mapping[str, Any]) -> DualEncoder:
    """The module of a checkpoint: what train.checkpoint.load asks every recipe for."""
    return checkpoint.restore(state)


def sampler(cfg: Config, items: TrainSet, rank: int, world: int) -> IdentitySampler:
    """Different people in a batch, `instances` pairs of each."""
    return IdentitySampler(items.labels, cfg.batch, cfg.instances, cfg.seed, rank, world)


def step_losses(trainee: nn.Module, batch: Batch, cfg: Config, device: torch.device) -> dict[str, Tensor]:
    """Each chosen loss over the pairs of all processes; every process returns the same numbers."""
    pixels, ids, labels = batch
    inner: Any = getattr(trainee, "module", trainee)
    image, text = trainee(pixels.to(device), inner.tower.shorten(ids).to(device))
    image, text, labels = gather(image), gather(text), gather(labels.to(device))
    parts: dict[str, Tensor] = {}
    for name in cfg.losses:
        if name == "id":
            parts[name] = losses.identity(image, text, labels, *inner.heads.classifier.parameters())
        elif name == "cmt":
            parts[name] = losses.cmt(image, text, labels)
        else:
            parts[name] = getattr(losses, name)(image, text, labels, inner.temperature)
    return parts


def train(cfg: Config) -> dict[str, Any]:
    """Run or resume to the last epoch; returns the last and the best evaluation on each part judged."""
    return loop.run(cfg, build, step_losses, sampler=sampler)


def main() -> None:
    loop.command(Config, train, __doc__)


if __name__ == "__main__":
    main()
