"""AIMA: attribute sets find people, as prompt sentences whose attributes are guessed from the picture.

Paper: Wang, Liu, Li, Guo: Attribute-Aware Implicit Modality Alignment for Text Attribute Person Search, arXiv
2406.03721. An attribute set becomes one sentence by its schema's template. Five losses, weight 1 each:
InfoNCE and similarity distribution matching (sdm) between pictures and sentences; classification of attribute
categories (id); masked attribute prediction (map), which hides slots of the sentence and guesses them by a
cross-modal encoder over the picture's tokens; A-IoU guided intra-modal contrast (imc), which lays sentences
as far apart as their attribute sets are. The towers are exported, and with --head class map's classifiers as
the optional graph `attributes`, by which sdk's `explain` tells what a hit seems to have.

On real data, with the defaults (one GPU with 24 GB):

    python -m train.recipes.aima --data market1501 --root Market-1501-v15.09.15 --out runs/aima-market
    python -m train.recipes.aima --data peta --root PETA --out runs/aima-peta
    python -m train.recipes.aima --data pa100k --root PA-100K --out runs/aima-pa100k

Published (Rank-1, mAP): Market-1501 Attribute 57.0, 44.4; those of PETA and PA-100K aren't known to us. No
code is public, and of the settings we know what stands above: encoder, optimiser and schedule are IRRA's, the
rest was chosen, with the other readings as options. Not run by us: data and weights don't come with us.

Shrunken, from nothing on two CPU cores in minutes (the settings are SMALL, below):

    python -m train.recipes.aima small --data drawn --root DIR --out runs/aima --head class --in-part

What each part of it brings: `python -m train.ablate aima --data … --root … --out …` (docs/results.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sdk.errors import InputError
from train import checkpoint, config, heads, loop, losses
from train.attribute_head import AttributeEncoder, AttributeHead, guessing, restore_head
from train.config import PublishedConfig
from train.crossmodal import CrossModalEncoder, VocabularyHead, check_tokens
from train.data import Batch
from train.distributed import gather, mean
from train.encoder import DualEncoder
from train.masking import VOCABULARY
from train.model import TwoTower
from train.overlap import Divergence, Target, a_iou_imc
from train.prompted import PromptSet
from train.prompts import by_category
from train.split import Split, Task

LINEAR_TEMPERATURE = 0.2  # of imc's linear target, which falls together at that of the cosines
Name = Literal["infonce", "sdm", "id", "map", "imc"]

TASK: Task | None = "attributes"  # what asks
SMALL = config.SMALL
# what train.ablate compares: by name, what each differs in
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "base": {"losses": ("infonce", "sdm", "id")},
    "+ map": {"losses": ("infonce", "sdm", "id", "map")},
    "+ imc": {"losses": ("infonce", "sdm", "id", "imc")},
    "all": {},
}


@dataclass(frozen=True)
class Config(PublishedConfig):
    seed: int = 1  # of weights, batches and augmentation
    losses: tuple[Name, ...] = ("infonce", "sdm", "id", "map", "imc")  # summed
    identity: Literal["category", "person"] = "category"  # who is the same for infonce, sdm and id
    repeats: Literal["positives", "masked"] = "positives"  # infonce's other pairs of the same identity
    hidden: float = 0.3  # a slot's chance of being hidden from map
    head: Literal["vocabulary", "class"] = "vocabulary"  # map guesses words, or each slot's value
    global_text: Literal["clean", "masked"] = "clean"  # which sentences the other losses see
    overlap_target: Target = "softmax"  # of imc: train/overlap.py
    overlap_divergence: Divergence = "pq"  # of imc
    overlap_temperature: float | None = None  # of imc; None: `temperature`, for the linear target 0.2
    in_part: bool = False  # pictures also bring a sentence of 3 to 6 attributes, for searches that name few

    def __post_init__(self) -> None:
        super().__post_init__()
        self.above_zero("hidden")
        if self.overlap_temperature is not None:
            self.above_zero("overlap_temperature")
        if not self.losses:
            raise InputError("losses: none given; choose from infonce, sdm, id, map, imc")


class Trainee(nn.Module):
    """The towers and the heads that the losses want; names decide the learning rates (train/optim.py)."""

    def __init__(self, encoder: DualEncoder, classes: int, cfg: Config) -> None:
        super().__init__()
        self.tower: TwoTower = encoder.tower
        self.heads: Any = nn.Module()
        dim = encoder.tower.dim
        if "id" in cfg.losses:
            self.heads.classifier = heads.classifier(dim, classes)
        if "map" in cfg.losses:
            self.heads.map = CrossModalEncoder(dim)
            if cfg.head == "class":
                assert encoder.schema is not None  # by_category has seen to it
                self.heads.attributes = AttributeHead(encoder.schema, dim)
            else:
                self.heads.mlm_head = VocabularyHead(dim, VOCABULARY)
        self.reuse = cfg.global_text == "masked"
        self.tower.set_temperature(cfg.temperature, cfg.learn_temperature)

    @property
    def temperature(self) -> Tensor:
        return self.tower.temperature

    def forward(
        self, pixels: Tensor, ids: Tensor, hidden: Tensor, places: Tensor
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Features of pictures and sentences (b, d), and what map guesses.

        ids: (b, t). hidden: the same sentences with slots hidden, of one t in the whole run, since padding
        is attended to. places: (k,) the masked tokens in it, flattened. The guesses are (k, vocabulary)
        logits, or (b, s, w) ones of every slot, from the hidden sentence with the picture and from the
        picture's own vector.
        """
        if not hasattr(self.heads, "map"):
            image, text = self.tower(pixels, hidden if self.reuse else ids)
            return image.float(), text.float(), []
        seen, read = self.tower.image_tokens(pixels), self.tower.text_tokens(hidden)
        ends = torch.arange(len(hidden), device=hidden.device), hidden.argmax(dim=1)
        text = read[ends] if self.reuse else self.tower.encode_text(ids)
        if hasattr(self.heads, "attributes"):
            fused = self.heads.map(read, seen, ends[0] * hidden.shape[1] + ends[1])
            guesses = [self.heads.attributes.logits(states) for states in (fused, seen[:, 0])]
        else:
            guesses = [self.heads.mlm_head(self.heads.map(read, seen, places))]
        return seen[:, 0].float(), text.float(), [logits.float() for logits in guesses]


def build(cfg: Config, split: Split) -> tuple[DualEncoder, Trainee]:
    """What is exported, and what is trained around it. InputError for towers that give no tokens."""
    categories = by_category(split).people
    encoder = loop.towers("aima", cfg, split)
    check_tokens(encoder)
    trainee = Trainee(encoder, categories if cfg.identity == "category" else split.people, cfg)
    head = getattr(trainee.heads, "attributes", None)
    return encoder if head is None else AttributeEncoder(encoder, head), trainee


def build_for_inference(state: Mapping[str, Any]) -> DualEncoder:
    """The module of a checkpoint: what train.checkpoint.load asks every recipe for."""
    return restore_head(checkpoint.restore(state), state.get("extras", {}))


def items(cfg: Config, split: Split, encoder: DualEncoder) -> PromptSet:
    """Every picture with its sentence."""
    made = by_category(split) if cfg.identity == "category" else split
    return PromptSet(
        made, encoder.image_spec, encoder.tokenizer, cfg.augment, cfg.seed, cfg.cache, cfg.erase,
        hidden=cfg.hidden, hide="mask" if cfg.head == "vocabulary" else "leave out", in_part=cfg.in_part,
        shorten=encoder.tower.shorten,
    )  # fmt: skip


def step_losses(trainee: nn.Module, batch: Batch, cfg: Config, device: torch.device) -> dict[str, Tensor]:
    """Each chosen loss over the pairs of all processes; every process returns the same numbers."""
    pixels, ids, labels, said, codes, hidden, answers = batch
    inner: Any = getattr(trainee, "module", trainee)
    places = (answers.flatten() > 0).nonzero().squeeze(1)  # of no use to the class head
    inputs = (pixels, inner.tower.shorten(ids), hidden, places)
    image, text, guesses = trainee(*(part.to(device) for part in inputs))
    guessed = {"map": prediction(guesses, codes, answers, places, device)} if guesses else {}
    image, text, labels = gather(image), gather(text), gather(labels.to(device))
    scale = cfg.overlap_temperature
    if scale is None:
        scale = cfg.temperature if cfg.overlap_target == "softmax" else LINEAR_TEMPERATURE
    parts = {
        "infonce": lambda: losses.infonce(image, text, labels, inner.temperature, cfg.repeats),
        "sdm": lambda: losses.sdm(image, text, labels, inner.temperature),
        "id": lambda: losses.identity(image, text, labels, *inner.heads.classifier.parameters()),
        "map": lambda: guessed["map"],
        "imc": lambda: a_iou_imc(
            text, gather(said.to(device, torch.uint8)), scale, cfg.overlap_target, cfg.overlap_divergence
        ),
    }
    return {name: parts[name]() for name in cfg.losses}


def prediction(
    guesses: list[Tensor], codes: Tensor, answers: Tensor, places: Tensor, device: torch.device
) -> Tensor:
    """Masked attribute prediction: the mean cross-entropy of what was hidden, over all processes.

    By the class head it is the mean of two: of the slots left out, and of all slots read off the picture's
    own vector by the same classifiers, as the id loss shares its one between pictures and texts. This is
    what lets `explain` ask vectors that a gallery stores.
    """
    if len(guesses) == 1:
        return mean(losses.irr(guesses[0], answers.flatten()[places].to(device)), len(places))
    each = [
        mean(guessing(logits, wanted.to(device)), int((wanted >= 0).sum()))
        for logits, wanted in zip(guesses, (answers, codes), strict=True)
    ]
    return torch.stack(each).mean()


def train(cfg: Config) -> dict[str, Any]:
    """Run or resume to the last epoch; returns the last and the best evaluation on each part judged."""
    return loop.run(cfg, build, step_losses, items=items, task=TASK)


def main() -> None:
    loop.command(Config, train, __doc__, SMALL)


if __name__ == "__main__":
    main()
