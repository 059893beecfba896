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

Shrunken, on drawn people, on two CPU cores in minutes:

    python -m train.recipes.irra --data drawn --root DIR --out runs/irra --model labrador-tiny
        --pretrained None --height 128 --width 64 --epochs 3 --warmup 1 --schedule step --rule plain --lr 1e-3
        --weight-decay 0.05 --eps 1e-8 --clip-norm 1 --temperature 0.05 --learn-temperature --erase 0
        --judge val --cache --workers 0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sdk.errors import InputError
from train import checkpoint, heads, loop, losses, optim
from train.config import RunConfig
from train.crossmodal import CrossModalEncoder, VocabularyHead, check_tokens
from train.data import Batch, Indices, TrainSet
from train.distributed import gather, mean
from train.encoder import DualEncoder
from train.masking import RATE, VOCABULARY, mask_tokens
from train.model import TwoTower
from train.split import Split

MASKING = 1  # what the random numbers are for, beside those of the picture


@dataclass(frozen=True)
class Config(RunConfig):
    model: str = "ViT-B-16"  # with OpenAI's weights it runs QuickGELU
    pretrained: str | None = "openai"  # open_clip tag or weight file; None: from nothing
    height: int = 384  # pixels
    width: int = 128  # pixels
    epochs: int = 60  # each holds every (picture, caption) pair once
    lr: float = 1e-5  # peak, of the towers; the rule makes it 5 x for the new modules
    weight_decay: float = 4e-5  # L2
    eps: float = 1e-3  # of Adam
    rule: optim.Rule = "irra"  # which parameters learn faster or don't decay: train/optim.py
    warmup: float = 5.0  # epochs
    schedule: Literal["step", "epoch"] = "epoch"  # when the cosine moves
    clip_norm: float = float("inf")  # of the gradient; inf turns it off
    erase: float = 0.5  # chance of an erased rectangle
    cache: bool = False  # keep decoded pictures in memory: 3 bytes a pixel
    workers: int = 8  # loader processes
    judge: tuple[Literal["val", "test"], ...] = ("val", "test")  # each keeps its best checkpoint
    eval_every: int = 1  # epochs between evaluations; the last epoch is always evaluated
    seed: int = 1  # of weights, batches and augmentation
    temperature: float = 0.02  # of the cosines in sdm; the first value if learned
    learn_temperature: bool = False  # from nothing, it has to sharpen as the towers do
    mask_rate: float = RATE  # a word's chance of being hidden
    global_text: Literal["masked", "clean"] = "masked"  # which captions sdm and id see
    id_weight: float = 1.0
    irr_weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.above_zero("temperature", "mask_rate")
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
    return loop.run(cfg, build, step_losses, items=items, weights=weights)


def main() -> None:
    loop.command(Config, train, __doc__)


if __name__ == "__main__":
    main()
