"""IRRA: captions find people, with words guessed from the picture while training.

Paper: Jiang, Ye: Cross-Modal Implicit Relation Reasoning and Aligning for Text-to-Image Person Retrieval,
CVPR 2023, arXiv 2303.12501. Three losses: similarity distribution matching (sdm), identity classification
(id), and implicit relation reasoning (irr), which hides 15 % of the words and guesses them by a cross-modal
encoder over the picture's tokens. Only the two towers are exported.

On real data, with the defaults, those of the authors' code (one GPU with 24 GB):

    python -m train.recipes.irra --data cuhk_pedes --root CUHK-PEDES --out runs/irra-cuhk
    python -m train.recipes.irra --data icfg_pedes --root ICFG-PEDES --out runs/irra-icfg
    python -m train.recipes.irra --data rstpreid --root RSTPReid --out runs/irra-rstp

Published (Rank-1/5/10, mAP, mINP on test, of the epoch that is best there: best_on_test.pt):

    CUHK-PEDES 73.38 89.93 93.71 66.13 50.24   ICFG-PEDES 63.46 80.24 85.82 38.05 7.92
    RSTPReid   60.20 81.30 88.20 47.17 25.28   Not run by us: data and weights don't come with us.

Where we know to differ: the authors cast the weights to fp16, here they stay fp32 under autocast; captions
are padded to the longest of the data, not always to 77; the last batch lacks up to (processes - 1) pairs.
Several GPUs share --batch; the authors saw worse results from larger ones at this lr. Their code feeds the
masked captions to sdm and id as well, by an aliasing that they found to help; --global-text clean is what
the paper says.

Shrunken, from nothing on two CPU cores in minutes (the settings are SMALL, below):

    python -m train.recipes.irra small --data drawn --root DIR --out runs/irra

What each part of it brings: `python -m train.ablate irra --data … --root … --out …` (docs/results.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sdk.errors import InputError
from train import checkpoint, config, heads, loop, losses
from train.config import PublishedConfig
from train.crossmodal import CrossModalEncoder, VocabularyHead, check_tokens
from train.data import Batch, Indices, TrainSet
from train.distributed import gather, mean
from train.encoder import DualEncoder
from train.masking import RATE, VOCABULARY, mask_tokens
from train.model import TwoTower
from train.split import Split, Task

MASKING = 1  # what the random numbers are for, beside those of the picture

TASK: Task | None = None  # what asks: the first that the dataset has
SMALL = config.SMALL
# what train.ablate compares: by name, what each differs in
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "sdm": {"id_weight": 0.0, "irr_weight": 0.0},
    "+ id": {"irr_weight": 0.0},
    "+ irr": {"id_weight": 0.0},
    "all": {},
}


@dataclass(frozen=True)
class Config(PublishedConfig):
    seed: int = 1  # of weights, batches and augmentation
    mask_rate: float = RATE  # a word's chance of being hidden
    global_text: Literal["masked", "clean"] = "masked"  # which captions sdm and id see
    id_weight: float = 1.0
    irr_weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.above_zero("mask_rate")
        if self.mask_rate > 1:
            raise InputError(f"mask_rate: {self.mask_rate} must be at most 1")


class Heads(nn.Module):
    """What training adds. The names decide the learning rates (train/optim.py)."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.classifier = heads.classifier(dim, classes)
        self.irr = CrossModalEncoder(dim)
        self.mlm_head = VocabularyHead(dim, VOCABULARY)


class Trainee(nn.Module):
    """The towers and the heads over `classes` people."""

    def __init__(self, tower: TwoTower, classes: int, temperature: float, learn_temperature: bool) -> None:
        super().__init__()
        self.tower, self.heads = tower, Heads(tower.dim, classes)
        tower.set_temperature(temperature, learn_temperature)

    @property
    def temperature(self) -> Tensor:
        return self.tower.temperature

    def forward(
        self, pixels: Tensor, masked: Tensor, hidden: Tensor, clean: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Features of pictures and texts (b, d), and (k, vocabulary) logits at the hidden words.

        masked: (b, t), of one t in the whole run, since padding is attended to. hidden: (k,) places in it,
        flattened. clean: what the texts' features come from, the masked ids where it isn't given.
        """
        seen, read = self.tower.image_tokens(pixels), self.tower.text_tokens(masked)
        if clean is None:
            text = read[torch.arange(len(masked), device=masked.device), masked.argmax(dim=1)]
        else:
            text = self.tower.encode_text(clean)
        guesses = self.heads.mlm_head(self.heads.irr(read, seen, hidden))
        return seen[:, 0].float(), text.float(), guesses.float()


class MaskedSet(TrainSet):
    """A TrainSet whose captions have hidden words too: pixels, ids, masked ids, targets, labels."""

    rate = RATE

    def batch(self, indices: Indices) -> Batch:
        pixels, ids, labels = super().batch(indices)
        chance = [self.chance(int(index), MASKING) for index in indices]
        return pixels, ids, *mask_tokens(ids, chance, self.rate), labels


def build(cfg: Config, split: Split) -> tuple[DualEncoder, Trainee]:
    """What is exported, and what is trained around it. InputError for towers that give no tokens."""
    encoder = loop.towers("irra", cfg, split)
    check_tokens(encoder)
    return encoder, Trainee(encoder.tower, split.people, cfg.temperature, cfg.learn_temperature)


def build_for_inference(state: Mapping[str, Any]) -> DualEncoder:
    """The module of a checkpoint: what train.checkpoint.load asks every recipe for."""
    return checkpoint.restore(state)


def items(cfg: Config, split: Split, encoder: DualEncoder) -> MaskedSet:
    """Every (picture, caption) pair, with hidden words."""
    made = loop.pairs(cfg, split, encoder, MaskedSet)
    made.rate = cfg.mask_rate
    return made


def step_losses(trainee: nn.Module, batch: Batch, cfg: Config, device: torch.device) -> dict[str, Tensor]:
    """The three losses over the pairs of all processes; every process returns the same numbers."""
    pixels, ids, masked, targets, labels = batch
    inner: Any = getattr(trainee, "module", trainee)
    hidden = targets.flatten().nonzero().squeeze(1)
    inputs = [pixels, masked, hidden]
    if cfg.global_text == "clean":
        inputs.append(inner.tower.shorten(ids))
    image, text, guesses = trainee(*(part.to(device) for part in inputs))
    guessed = losses.irr(guesses, targets.flatten()[hidden].to(device))
    image, text, labels = gather(image), gather(text), gather(labels.to(device))
    return {
        "sdm": losses.sdm(image, text, labels, inner.temperature),
        "id": losses.identity(image, text, labels, *inner.heads.classifier.parameters()),
        "irr": mean(guessed, len(hidden)),
    }


def train(cfg: Config) -> dict[str, Any]:
    """Run or resume to the last epoch; returns the last and the best evaluation on each part judged."""
    weights = {"id": cfg.id_weight, "irr": cfg.irr_weight}
    return loop.run(cfg, build, step_losses, items=items, weights=weights, task=TASK)


def main() -> None:
    loop.command(Config, train, __doc__, SMALL)


if __name__ == "__main__":
    main()
