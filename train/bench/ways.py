"""The training steps that are compared, each over towers of its own that begin with the same weights.

open_clip's is written as its own training script (open_clip_train/train.py) does it: normalised features,
its ClipLoss, backward, the optimiser, the logit scale clamped; no gradient is clipped and no loss but the
whole is read. A recipe's goes through `train.loop.take_step`, which also measures the gradient's norm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from open_clip import ClipLoss
from torch import Tensor, nn

from train import config, loop, optim
from train.config import RunConfig
from train.data import Batch, TrainSet
from train.model import TwoTower
from train.recipes import aima, clip, irra, sen

Name: TypeAlias = Literal["irra", "sdm", "sdm+cmt", "sen", "aima"]
Pictures: TypeAlias = npt.NDArray[np.int64]  # places in the split's samples
Settings: TypeAlias = Mapping[str, Any]  # of every recipe's Config: data, root, model, height, width, batch …

OPEN_CLIP = "open_clip"  # captions padded to the tower's context, as open_clip's tokenizer gives them
CUT_TO_DATA = "open_clip, ids cut to the data"  # after the longest caption of all
CUT_TO_BATCH = "open_clip, ids cut to the batch"  # after the batch's longest

_RECIPES: Mapping[Name, tuple[Any, Settings, str]] = {  # and the plain step whose ids are as long
    "irra": (irra, {}, CUT_TO_DATA),
    "sdm": (clip, {"losses": ("sdm",)}, CUT_TO_BATCH),
    "sdm+cmt": (clip, {"losses": ("sdm", "cmt")}, CUT_TO_BATCH),
    "sen": (sen, {"tagger": "lexicon"}, CUT_TO_DATA),
    "aima": (aima, {}, CUT_TO_DATA),
}
# The weights hardly move, so that no step meets other ones; no gradient is clipped, as open_clip's isn't.
_FIXED: Settings = {**config.SMALL, "lr": 1e-6, "clip_norm": math.inf, "cache": False, "seed": 0}


@dataclass(frozen=True)
class Way:
    """One kind of training step. ``step`` takes it and returns the loss."""

    name: str
    beside: str | None  # the open_clip step with ids of the same length
    cfg: RunConfig
    items: Callable[[bool], TrainSet]  # its training set, with pictures kept in memory or not
    epoch: Callable[[TrainSet, int], list[Any]]  # the batches of an epoch as the recipe lays them out
    place: Pictures  # (pictures,) the item that each picture and its first caption are
    module: Any  # what is trained, with its towers as `tower`
    cut: Callable[[Tensor], Tensor]  # a batch's ids (b, t), its second part, to those the text tower reads
    step: Callable[[Batch], float]


class Plain(nn.Module):
    """What open_clip's model gives its loss, from towers that also take shortened ids."""

    def __init__(self, tower: TwoTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, pixels: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised features (b, d) of pictures and texts, and the logits' scale."""
        image, text = self.tower(pixels, ids)
        return F.normalize(image, dim=-1), F.normalize(text, dim=-1), self.tower.clip.logit_scale.exp()


def ways(names: tuple[Name, ...], accelerator: Any, settings: Settings) -> list[Way]:
    """open_clip's three steps, which share their towers, and those of the named recipes.

    Raises what building a recipe raises.
    """
    return [*_plain(accelerator, settings), *(_recipe(name, accelerator, settings) for name in names)]


def _plain(accelerator: Any, settings: Settings) -> list[Way]:
    cfg = clip.Config(out="", **{**_FIXED, **settings})
    split = loop.load(cfg, "train", None)
    encoder = loop.towers("clip", cfg, split)
    tower, context = encoder.tower, encoder.tokenizer.context_length
    module, optimizer = _ready(Plain(tower), cfg, accelerator)
    measure = ClipLoss()

    def whole(ids: Tensor) -> Tensor:
        return F.pad(ids, (0, context - ids.shape[1]))

    def step(cut: Callable[[Tensor], Tensor], batch: Batch) -> float:
        pixels, ids = (part.to(accelerator.device) for part in (batch[0], cut(batch[1])))
        optimizer.zero_grad()
        with accelerator.autocast():
            loss = measure(*module(pixels, ids))
        accelerator.backward(loss)
        optimizer.step()
        with torch.no_grad():
            tower.clip.logit_scale.clamp_(0, math.log(100))
        value: float = loss.item()
        return value

    cuts: Mapping[str, Callable[[Tensor], Tensor]]
    cuts = {OPEN_CLIP: whole, CUT_TO_DATA: torch.as_tensor, CUT_TO_BATCH: tower.shorten}
    made = partial(Way, beside=None, cfg=cfg, module=module, **_sets(clip, cfg, split, encoder))
    return [made(name=name, cut=cut, step=partial(step, cut)) for name, cut in cuts.items()]


def _recipe(name: Name, accelerator: Any, settings: Settings) -> Way:
    recipe, own, beside = _RECIPES[name]
    cfg = recipe.Config(out="", **{**_FIXED, **own, **settings})
    split = loop.load(cfg, "train", getattr(recipe, "TASK", None))
    encoder, inner = recipe.build(cfg, split)
    module, optimizer = _ready(inner, cfg, accelerator)

    def step(batch: Batch) -> float:
        return loop.take_step(accelerator, module, optimizer, batch, cfg, recipe.step_losses, {})["loss"]

    cut = encoder.tower.shorten if beside == CUT_TO_BATCH else torch.as_tensor
    made = _sets(recipe, cfg, split, encoder)
    return Way(name=name, beside=beside, cfg=cfg, module=module, cut=cut, step=step, **made)


def _ready(inner: Any, cfg: RunConfig, accelerator: Any) -> tuple[Any, Any]:
    """The module and its optimiser, prepared as train.loop.run prepares them."""
    inner.tower.clip.visual.to(memory_format=torch.channels_last)
    groups = optim.param_groups(inner.named_parameters(), cfg.lr, cfg.weight_decay, cfg.rule)
    module, optimizer = accelerator.prepare(inner, optim.build_optimizer(groups, cfg.rule, cfg.eps))
    return module.train(), optimizer


def _sets(recipe: Any, cfg: RunConfig, split: Any, encoder: Any) -> dict[str, Any]:
    """A way's `items`, `epoch` and `place`."""
    making = getattr(recipe, "items", loop.pairs)
    sampling = getattr(recipe, "sampler", loop.shuffled)

    def items(cache: bool) -> TrainSet:
        made: TrainSet = making(replace(cfg, cache=cache), split, encoder)
        return made

    def epoch(data: TrainSet, number: int) -> list[Any]:
        return [batch for batch in sampling(cfg, data, 0, 1).batches(number) if len(batch) == cfg.batch]

    each = np.array([1 if recipe is aima else len(sample.captions) for sample in split.samples])
    return {"items": items, "epoch": epoch, "place": np.cumsum(each) - each}
