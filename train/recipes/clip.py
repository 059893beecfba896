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

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from sdk.errors import InputError, LabradorError
from train import checkpoint, datasets, losses, optim
from train.data import Batch, IdentitySampler, TrainSet
from train.distributed import accelerator as start
from train.distributed import gather
from train.encoder import DualEncoder, image_spec
from train.evaluate import evaluate_module
from train.memory import keep_freed_memory
from train.model import TwoTower
from train.runlog import RunLog
from train.selection import BEST, Selection
from train.split import Split

FREE = ("out", "workers", "cache")  # may change when a run is resumed


@dataclass(frozen=True)
class Config:
    """One run. Anything but `out`, `workers` and `cache` must be the same when it is resumed."""

    data: str  # a module of train/datasets
    root: str  # its folder
    out: str  # run folder; a ckpt.pt found there is resumed
    model: str = "labrador-tiny-conv"  # or labrador-tiny, or any open_clip name
    pretrained: str | None = None  # open_clip tag or weight file; none: from nothing
    height: int = 128  # pixels
    width: int = 64  # pixels
    losses: tuple[Literal["infonce", "sdm", "id", "cmt"], ...] = ("infonce",)  # summed, weight 1 each
    temperature: float = 0.05  # of the cosines in infonce and sdm; the first value if learned
    learn_temperature: bool = True  # from nothing, it has to sharpen as the towers do
    epochs: int = 3  # each holds every (picture, caption) pair about once
    batch: int = 64  # pairs a step, over all processes
    instances: int = 1  # pairs of one person in a batch
    lr: float = 1e-3  # peak, of the whole batch
    weight_decay: float = 0.05  # AdamW's for rule plain, L2 for irra
    eps: float = 1e-8  # of Adam; IRRA's 1e-3 shrinks its steps a lot and belongs to its lr
    rule: optim.Rule = "plain"  # which parameters learn faster or don't decay: train/optim.py
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
        for name in ("epochs", "batch", "instances", "lr", "temperature", "eval_every", "save_every"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name}: {getattr(self, name)} must be above 0")
        if not self.losses:
            raise InputError("losses: none given; choose from infonce, sdm, id, cmt")


class Trainee(nn.Module):
    """The towers, and the classifier over `classes` people that the id loss wants (none for 0)."""

    def __init__(self, tower: TwoTower, classes: int, temperature: float, learn_temperature: bool) -> None:
        super().__init__()
        self.tower = tower
        self.heads = nn.Module()
        if classes:
            self.heads.classifier = nn.Linear(tower.dim, classes)
            nn.init.normal_(self.heads.classifier.weight, std=0.001)
            nn.init.zeros_(self.heads.classifier.bias)
        scale = tower.clip.logit_scale
        scale.data.fill_(math.log(1 / temperature))
        scale.requires_grad_(learn_temperature)
        if getattr(tower.clip, "logit_bias", None) is not None:
            tower.clip.logit_bias.requires_grad_(False)  # of the sigmoid loss, which isn't used here

    @property
    def temperature(self) -> Tensor:
        """1 / exp(scale), the scale kept at 100 or below as CLIP does."""
        scale: Tensor = self.tower.clip.logit_scale
        return 1 / scale.clamp(max=math.log(100)).exp().squeeze()

    def forward(self, pixels: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        image, text = self.tower(pixels, ids)
        return image.float(), text.float()


class Batches(Dataset[Batch]):
    """A TrainSet read a whole batch at a time."""

    def __init__(self, items: TrainSet) -> None:
        self.items = items

    def __getitem__(self, indices: Any) -> Batch:
        return self.items.batch(indices)


def build(cfg: Config, split: Split) -> DualEncoder:
    """The towers with the picture size and the attribute schema they are trained for."""
    torch.manual_seed(cfg.seed)
    tower = TwoTower(cfg.model, (cfg.height, cfg.width), cfg.pretrained)
    free = cfg.data == "drawn" and cfg.pretrained is None
    about = {"data": cfg.data, "licence": "Apache-2.0" if free else "that of the data and starting weights"}
    return DualEncoder(tower, image_spec(tower), recipe="clip", schema=split.schema, provenance=about)


def build_for_inference(state: Mapping[str, Any]) -> DualEncoder:
    """The module of a checkpoint: what train.checkpoint.load asks every recipe for."""
    return checkpoint.restore(state)


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


def epoch_batches(items: TrainSet, sampler: IdentitySampler, epoch: int, workers: int) -> Iterable[Batch]:
    """This process's share of an epoch, the same whenever it is asked for."""
    items.set_epoch(epoch)
    plan = list(sampler.batches(epoch))
    apart = torch.Generator()  # or the loader would draw from the generator that a resumed run continues
    return DataLoader(Batches(items), None, sampler=plan, num_workers=workers, generator=apart)


def resume(cfg: Config, path: Path, trainee: Trainee, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Continue from a checkpoint of the same config; returns its `training` entry."""
    state = checkpoint.read_same_run(path, "clip", asdict(cfg), FREE)
    training: dict[str, Any] = state["training"]
    trainee.tower.load_state_dict(state["model"])
    trainee.heads.load_state_dict(training["heads"])
    optimizer.load_state_dict(training["optimizer"])
    checkpoint.set_random_state(training["random"])
    return training


def train(cfg: Config) -> dict[str, Any]:
    """Run or resume to the last epoch; returns the last and the best evaluation on each part judged."""
    keep_freed_memory()
    accelerator = start(cfg.precision)
    main, device = accelerator.is_main_process, accelerator.device
    data = datasets.load(cfg.data, cfg.root, "train")
    judged = {p: datasets.load(cfg.data, cfg.root, p) for p in cfg.judge if p in datasets.parts(cfg.data)}
    encoder = build(cfg, data)
    items = TrainSet(data, encoder.image_spec, encoder.tokenizer, cfg.augment, cfg.seed, cfg.cache, cfg.erase)
    world = (accelerator.process_index, accelerator.num_processes)
    sampler = IdentitySampler(items.labels, cfg.batch, cfg.instances, cfg.seed, *world)
    classes = items.classes if "id" in cfg.losses else 0
    inner = Trainee(encoder.tower, classes, cfg.temperature, cfg.learn_temperature)
    inner.tower.clip.visual.to(memory_format=torch.channels_last)  # convolutions run a third faster
    groups = optim.param_groups(inner.named_parameters(), cfg.lr, cfg.weight_decay, cfg.rule)
    optimizer = optim.build_optimizer(groups, cfg.rule, cfg.eps)
    path = Path(cfg.out) / "ckpt.pt"
    training: dict[str, Any] = {"epoch": 0, "selection": None, "scaler": None}
    if path.exists():
        training = resume(cfg, path, inner, optimizer)
    if accelerator.num_processes > 1 and device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(inner)
    trainee, optimizer = accelerator.prepare(inner, optimizer)
    if accelerator.scaler and training["scaler"]:
        accelerator.scaler.load_state_dict(training["scaler"])
    first, steps, kept = training["epoch"], len(sampler), Selection(training["selection"])
    with RunLog(cfg.out, asdict(cfg), cfg.epochs * steps, first * steps, main) as log:
        about = {"device": str(device), "people": items.classes, "notes": encoder.tower.notes}
        log.write("start", first * steps, parameters=sum(p.numel() for p in inner.parameters()), **about)
        for epoch in range(first, cfg.epochs):
            trainee.train()
            for step, batch in enumerate(epoch_batches(items, sampler, epoch, cfg.workers), epoch * steps):
                began, at = time.perf_counter(), epoch if cfg.schedule == "epoch" else step / steps
                optim.set_factor(optimizer, optim.warmup_cosine(at, cfg.epochs, cfg.warmup))
                parts = step_losses(trainee, batch, cfg, device)
                loss = torch.stack(list(parts.values())).sum()
                optimizer.zero_grad()
                accelerator.backward(loss)
                norm = accelerator.clip_grad_norm_(trainee.parameters(), cfg.clip_norm)
                optimizer.step()
                values = {"loss": loss.item(), **{name: part.item() for name, part in parts.items()}}
                if not math.isfinite(values["loss"]):
                    raise LabradorError(f"the loss is {values['loss']} at step {step}; lower --lr")
                values |= {"norm": float(norm), "lr": optimizer.param_groups[0]["lr"]}
                values |= {"temperature": inner.temperature.item(), "seconds": time.perf_counter() - began}
                log.write("step", step + 1, epoch=epoch, **values)
            done = epoch + 1
            for part, split in judged.items() if main else ():
                if done % cfg.eval_every == 0 or done == cfg.epochs:
                    figures = evaluate_module(encoder, split, device).to_json()
                    log.write("eval", done * steps, part=part, epoch=done, **figures)
                    if best := kept.add(part, done, figures):
                        checkpoint.save(path.with_name(BEST[part]), encoder, asdict(cfg), None, best)
            if main and (done % cfg.save_every == 0 or done == cfg.epochs):
                training = {"epoch": done, "selection": kept.state, "heads": inner.heads.state_dict()}
                training |= {"optimizer": optimizer.state_dict(), "random": checkpoint.random_state()}
                training |= {"scaler": accelerator.scaler.state_dict() if accelerator.scaler else None}
                checkpoint.save(path, encoder, asdict(cfg), training, f"last, epoch {done}")
            accelerator.wait_for_everyone()
        log.write("end", cfg.epochs * steps, **kept.state)
    return kept.state


def main() -> None:
    try:
        train(tyro.cli(Config, description=__doc__))
    except LabradorError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
