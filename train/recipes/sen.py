"""SEN, first called UIT: captions find people, with masked pictures restored from words while training.

Paper: Liu, Li, Zhao, Dong: Text-guided Image Restoration and Semantic Enhancement for Text-to-Image Person
Retrieval, arXiv 2307.09059, Neural Networks 184, 2025. To IRRA's similarity distribution matching (sdm) and
identity classification (id) come text-guided image restoration (tir, train/tir.py) and a cross-modal triplet
loss (cmt), captions pruned to attribute words, and one picture or two of each person in a batch.
Only the two towers are exported.

On real data, with the defaults, those of the authors' code (one GPU; they publish the script for CUHK-PEDES):

    python -m train.recipes.sen --data cuhk_pedes --root CUHK-PEDES --out runs/sen-cuhk
    python -m train.recipes.sen --data icfg_pedes --root ICFG-PEDES --out runs/sen-icfg
    python -m train.recipes.sen --data rstpreid --root RSTPReid --out runs/sen-rstp

Published (Rank-1/5/10, mAP, mINP on test, of the epoch that is best there: best_on_test.pt), of this and of
SEN-XL, which is --model ViT-L-14 (--height 378 --width 126 here, where only whole patches are taken):

    CUHK-PEDES 75.00 89.98 94.09 67.23 51.45   XL 76.64 91.33 94.66 69.19 53.88
    ICFG-PEDES 64.56 80.49 85.88 40.80  9.51   XL 66.76 81.57 86.55 44.28 12.26
    RSTPReid   61.60 81.75 88.05 48.62 26.43   XL 62.70 83.60 89.15 49.89 27.56

Not run by us: data and weights don't come with us. Their code masks words of every caption, nouns and
adjectives most, which the paper doesn't say: --no-mask-words is the paper. Where we know to differ: weights
stay fp32 under autocast, not fp16; captions are padded to the longest of the data, not to 77; batches hold
nobody twice but as a pair (train/sampling.py); parts of speech are told by word lists where NLTK or its data
is missing, which log.jsonl's first line says.

Shrunken, from nothing on two CPU cores in minutes (the settings are SMALL, below):

    python -m train.recipes.sen small --data drawn --root DIR --out runs/sen

What each part of it brings: `python -m train.ablate sen --data … --root … --out …` (docs/results.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from sdk.errors import InputError
from train import checkpoint, config, heads, loop, losses, tir
from train.config import PublishedConfig
from train.crossmodal import check_tokens
from train.data import Batch, Indices, TrainSet
from train.distributed import gather
from train.encoder import DualEncoder
from train.masking import mask_tokens
from train.model import TwoTower
from train.pruning import Tagger, TaggerName, find_tagger, mask_rates, prune
from train.sampling import OneOrTwoSampler
from train.split import Split, Task

WORDS = 1  # what the random numbers are for, beside those of the picture

TASK: Task | None = None  # what asks: the first that the dataset has
# from nothing, the weight of 10 on the hardest pairs makes all features fall together: cmt stays at 2 margins
SMALL = {**config.SMALL, "cmt_weight": 1.0}
_PLAIN: Mapping[str, Any] = {"losses": ("sdm", "id"), "prune": 0.0, "mask_words": False}
# what train.ablate compares: by name, what each differs in
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "base": _PLAIN,
    "+ tir": {**_PLAIN, "losses": ("sdm", "id", "tir")},
    "+ cmt": {**_PLAIN, "losses": ("sdm", "id", "cmt")},
    "+ words": {"losses": ("sdm", "id")},
    "all": {},
}


@dataclass(frozen=True)
class Config(PublishedConfig):
    batch: int = 128  # pairs a step, over all processes
    seed: int = 42  # of weights, batches and augmentation
    losses: tuple[Literal["sdm", "id", "tir", "cmt"], ...] = ("sdm", "id", "tir", "cmt")
    tir_weight: float = 10.0
    cmt_weight: float = 10.0
    mask_ratio: float = 0.7  # of a picture's tokens, for tir
    cmt_positives: Literal["paired", "hardest"] = "paired"  # "hardest": the person's least similar one
    cmt_form: Literal["hinge", "soft"] = "hinge"  # of margin 0.05; "soft" has temperature 0.02
    prune: float = 0.2  # chance of a caption to be cut down to its nouns, adjectives and pronouns
    mask_words: bool = True  # hide 30 % of nouns and adjectives, 5 % of other words, from every loss
    tagger: TaggerName = "auto"  # who tells parts of speech: nltk, lexicon, or the first that is there

    def __post_init__(self) -> None:
        super().__post_init__()
        self.above_zero("mask_ratio")
        for name in ("mask_ratio", "prune"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: {getattr(self, name)} must be from 0 to 1")
        if not self.losses:
            raise InputError("losses: none given; choose from sdm, id, tir, cmt")


class Trainee(nn.Module):
    """The towers, and the heads of the chosen losses; names decide the learning rates (train/optim.py)."""

    heads: Any  # a Module, of which mypy can't tell the parts

    def __init__(self, tower: TwoTower, classes: int, cfg: Config) -> None:
        super().__init__()
        self.tower = tower
        self.heads: Any = nn.Module()
        if "id" in cfg.losses:
            self.heads.classifier = heads.classifier(tower.dim, classes)
        if "tir" in cfg.losses:
            grid, (height, width) = tower.patch_grid, tower.image_size
            values = 3 * (height // grid[0]) * (width // grid[1])
            self.heads.tir = tir.Restorer(tower.dim, grid, values)
        tower.set_temperature(cfg.temperature, cfg.learn_temperature)

    @property
    def temperature(self) -> Tensor:
        return self.tower.temperature

    def forward(self, pixels: Tensor, ids: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features of pictures and texts, (b, d), and the errors (b,) of restoring pictures, 0 without tir.

        kept: (b, k) patches that are shown to the tower when it restores.
        """
        image = self.tower.encode_image(pixels).float()
        if not hasattr(self.heads, "tir"):
            return image, self.tower.encode_text(self.tower.shorten(ids)).float(), image.new_zeros(len(ids))
        read = self.tower.text_tokens(ids)  # not cut to this batch's: the restorer attends to padding as well
        text = read[torch.arange(len(ids), device=ids.device), ids.argmax(dim=1)].float()
        restored = self.heads.tir(self.tower.some_patches(tir.grey(pixels), kept), read, kept)
        return image, text, tir.masked_errors(restored, pixels, kept, self.tower.patch_grid)


class PrunedSet(TrainSet):
    """A TrainSet of captions pruned and masked by chance, with patches to show: pixels, ids, kept, labels."""

    patches: tuple[int, int]  # of a picture, and how many of them are shown

    def prepare(self, chance: float, mask: bool, tokenizer: Any, tagger: Tagger) -> None:
        """Make the captions as they are when pruned, which happens by this chance, and the masking rates."""
        self.chance_of_pruning, self.pruned, self.rates = chance, self._ids, None
        if chance:
            pruned = torch.as_tensor(tokenizer([prune(text, tagger) for text in self.texts])).long()
            fits = pruned.argmax(dim=1) < self._ids.shape[1]  # odd characters may take more tokens alone
            self.pruned = torch.where(fits[:, None], pruned[:, : self._ids.shape[1]], self._ids)
        if mask:
            self.rates = mask_rates(torch.cat([self._ids, self.pruned]).numpy(), tokenizer, tagger)

    def batch(self, indices: Indices) -> Batch:
        pixels, ids, labels = super().batch(indices)
        chance = [self.chance(int(index), WORDS) for index in indices]
        cut = torch.tensor([rng.random() < self.chance_of_pruning for rng in chance])
        ids = torch.where(cut[:, None], self.pruned[self.text_of[np.asarray(indices)]], ids)
        if self.rates is not None:
            ids, _ = mask_tokens(ids, chance, self.rates[ids.numpy()])
        patches, shown = self.patches
        kept = np.stack([rng.permutation(patches)[:shown] for rng in chance])
        return pixels, ids, torch.from_numpy(kept), labels


def build(cfg: Config, split: Split) -> tuple[DualEncoder, Trainee]:
    """What is exported, and what is trained around it. InputError for towers that can't leave patches out."""
    encoder = loop.towers("sen", cfg, split)
    trainee = Trainee(encoder.tower, split.people, cfg)
    if "tir" in cfg.losses or cfg.mask_words:
        check_tokens(encoder)
    return encoder, trainee


def build_for_inference(state: Mapping[str, Any]) -> DualEncoder:
    """The module of a checkpoint: what train.checkpoint.load asks every recipe for."""
    return checkpoint.restore(state)


def items(cfg: Config, split: Split, encoder: DualEncoder) -> PrunedSet:
    """Every (picture, caption) pair, with what its caption may become; the run's log names the tagger."""
    made, tower, tagger = loop.pairs(cfg, split, encoder, PrunedSet), encoder.tower, find_tagger(cfg.tagger)
    if cfg.prune or cfg.mask_words:
        tower.notes += (f"parts of speech are told by: {tagger.name}",)
    made.prepare(cfg.prune, cfg.mask_words, encoder.tokenizer, tagger)
    patches = math.prod(tower.patch_grid) if "tir" in cfg.losses else 0
    made.patches = patches, tir.visible(patches, cfg.mask_ratio) if patches else 0
    return made


def sampler(cfg: Config, data: TrainSet, rank: int, world: int) -> OneOrTwoSampler:
    """One pair or two of each person in a batch."""
    return OneOrTwoSampler(data.labels, cfg.batch, cfg.seed, rank, world)


def step_losses(trainee: nn.Module, batch: Batch, cfg: Config, device: torch.device) -> dict[str, Tensor]:
    """Each chosen loss over the pairs of all processes; every process returns the same numbers."""
    pixels, ids, kept, labels = (part.to(device) for part in batch)
    inner: Any = getattr(trainee, "module", trainee)
    image, text, errors, labels = (gather(part) for part in (*trainee(pixels, ids, kept), labels))
    parts: dict[str, Tensor] = {}
    for name in cfg.losses:
        if name == "sdm":
            parts[name] = losses.sdm(image, text, labels, inner.temperature)
        elif name == "id":
            parts[name] = losses.identity(image, text, labels, *inner.heads.classifier.parameters())
        elif name == "tir":
            parts[name] = errors.mean()
        else:
            how: Any = {"form": cfg.cmt_form, "positives": cfg.cmt_positives}
            parts[name] = losses.cmt(image, text, labels, **how)
    return parts


def train(cfg: Config) -> dict[str, Any]:
    """Run or resume to the last epoch; returns the last and the best evaluation on each part judged."""
    weights = {"tir": cfg.tir_weight, "cmt": cfg.cmt_weight}
    return loop.run(cfg, build, step_losses, items=items, sampler=sampler, weights=weights, task=TASK)


def main() -> None:
    loop.command(Config, train, __doc__, SMALL)


if __name__ == "__main__":
    main()
