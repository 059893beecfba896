"""The loop that every recipe runs: data, resuming, precision, schedule, steps, evaluation, checkpoints.

A recipe gives it functions (`run` lists them) and a `Trainee`: the towers, which are evaluated, saved and
exported, with the heads that only training needs, which are saved for resuming and go no further.
A run resumes from its ``ckpt.pt`` bit for bit on CPU, and processes share a batch such that two of them
are one with the doubled batch.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
import tyro
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from sdk.errors import LabradorError
from train import checkpoint, datasets, optim
from train.config import FREE, RunConfig
from train.data import Batch, Indices, TrainSet
from train.distributed import accelerator as start
from train.encoder import DualEncoder, image_spec
from train.evaluate import evaluate_module
from train.memory import keep_freed_memory
from train.model import TwoTower
from train.runlog import RunLog
from train.sampling import Sampler, ShuffleSampler
from train.selection import BEST, Selection
from train.split import Split, of_people

C = TypeVar("C", bound=RunConfig)


class Trainee(Protocol):
    """An nn.Module with the towers of a DualEncoder as `tower` and every other trained parameter in `heads`.

    `temperature`, a scalar, is logged. Its forward is what runs under mixed precision and what processes
    synchronise, so all that is costly belongs there. Parameters are grouped by their names (train/optim.py).
    """

    tower: TwoTower
    heads: nn.Module

    @property
    def temperature(self) -> Tensor: ...


def load(cfg: RunConfig, part: str, task: str | None) -> Split:
    """A part of the run's data, with as many people as it wants, or all if there are fewer."""
    split = datasets.load(cfg.data, cfg.root, part, task)
    return split if cfg.people is None or cfg.people >= split.people else of_people(split, cfg.people)


def towers(recipe: str, cfg: RunConfig, split: Split) -> DualEncoder:
    """The towers with the picture size and the attribute schema they are trained for, weights by the seed."""
    torch.manual_seed(cfg.seed)
    tower = TwoTower(cfg.model, (cfg.height, cfg.width), cfg.pretrained)
    free = cfg.data == "drawn" and cfg.pretrained is None
    about = {"data": cfg.data, "licence": "Apache-2.0" if free else "that of the data and starting weights"}
    return DualEncoder(tower, image_spec(tower), recipe=recipe, schema=split.schema, provenance=about)


def pairs(cfg: RunConfig, split: Split, encoder: DualEncoder, kind: type[TrainSet] = TrainSet) -> Any:
    """Every (picture, caption) pair, as a `kind`; ids are cut after the longest caption of all."""

    def tokens(texts: list[str]) -> Tensor:
        return encoder.tower.shorten(torch.as_tensor(encoder.tokenizer(texts)))

    return kind(split, encoder.image_spec, tokens, cfg.augment, cfg.seed, cfg.cache, cfg.erase)


def shuffled(cfg: RunConfig, items: TrainSet, rank: int, world: int) -> Sampler:
    """Every item once an epoch, in random order."""
    return ShuffleSampler(len(items), cfg.batch, cfg.seed, rank, world)


class Batches(Dataset[Batch]):
    """A TrainSet read a whole batch at a time."""

    def __init__(self, items: TrainSet) -> None:
        self.items = items

    def __getitem__(self, indices: Indices) -> Batch:  # type: ignore[override]
        return self.items.batch(indices)


def epoch_batches(items: TrainSet, plan: list[Any], epoch: int, workers: int) -> Iterable[Batch]:
    """This process's share of an epoch, the same whenever it is asked for."""
    items.set_epoch(epoch)
    apart = torch.Generator()  # or the loader would draw from the generator that a resumed run continues
    return DataLoader(Batches(items), None, sampler=plan, num_workers=workers, generator=apart)


def resume(cfg: RunConfig, encoder: DualEncoder, trainee: Trainee, optimizer: Any) -> dict[str, Any]:
    """Continue from the run's checkpoint, of the same config; returns its `training` entry."""
    path = Path(cfg.out) / "ckpt.pt"
    defaults = {f.name: f.default for f in fields(cfg) if f.default is not MISSING}
    state = checkpoint.read_same_run(path, encoder.recipe, asdict(cfg), FREE, defaults)
    training: dict[str, Any] = state["training"]
    encoder.tower.load_state_dict(state["model"])
    trainee.heads.load_state_dict(training["heads"])
    optimizer.load_state_dict(training["optimizer"])
    checkpoint.set_random_state(training["random"])
    return training


def run(
    cfg: C,
    build: Callable[[C, Split], tuple[DualEncoder, Any]],
    step_losses: Callable[[Any, Batch, C, torch.device], dict[str, Tensor]],
    *,
    items: Callable[[C, Split, DualEncoder], TrainSet] = pairs,
    sampler: Callable[[C, TrainSet, int, int], Sampler] = shuffled,
    weights: Mapping[str, float] | None = None,
    task: str | None = None,
) -> dict[str, Any]:
    """Run or resume to the last epoch; returns the last and the best evaluation on each part judged.

    build(cfg, split): what is exported, and the Trainee around its towers (`towers` makes the first; build
    draws weights, nothing before it does). step_losses(trainee, batch, cfg, device): the parts of the loss by
    name, the same numbers on every process (train.distributed.gather); `trainee` may be wrapped by
    DistributedDataParallel. items(cfg, split, encoder): the training set. sampler(cfg, items, rank, world).
    weights: factors of the parts in the sum, 1 where not given; parts are logged without them. task: what
    asks when it is judged (train/datasets); None: the first that the dataset has.
    Raises what those raise, CheckpointError for a run with other settings, LabradorError when the loss ends
    being finite.
    """
    keep_freed_memory()
    accelerator = start(cfg.precision)
    main, device = accelerator.is_main_process, accelerator.device
    split = load(cfg, "train", task)
    known = [part for part in cfg.judge if part in datasets.parts(cfg.data)]
    judged = {part: load(cfg, part, task) for part in known}
    encoder, inner = build(cfg, split)
    data = items(cfg, split, encoder)
    order = sampler(cfg, data, accelerator.process_index, accelerator.num_processes)
    encoder.tower.clip.visual.to(memory_format=torch.channels_last)  # convolutions run a third faster
    groups = optim.param_groups(inner.named_parameters(), cfg.lr, cfg.weight_decay, cfg.rule)
    optimizer = optim.build_optimizer(groups, cfg.rule, cfg.eps)
    path = Path(cfg.out) / "ckpt.pt"
    training: dict[str, Any] = {"epoch": 0, "step": 0, "selection": None, "scaler": None}
    if path.exists():
        training = resume(cfg, encoder, inner, optimizer)
    if accelerator.num_processes > 1 and device.type == "cuda":
        inner = nn.SyncBatchNorm.convert_sync_batchnorm(inner)
    trainee, optimizer = accelerator.prepare(inner, optimizer)
    if accelerator.scaler and training["scaler"]:
        accelerator.scaler.load_state_dict(training["scaler"])
    first, step, kept = training["epoch"], training["step"], Selection(training["selection"])
    total = step + (cfg.epochs - first) * len(order)
    with RunLog(cfg.out, asdict(cfg), total, step, main) as log:
        about = {"device": str(device), "people": data.classes, "notes": encoder.tower.notes}
        log.write("start", step, parameters=sum(p.numel() for p in inner.parameters()), **about)
        for epoch in range(first, cfg.epochs):
            trainee.train()
            plan = list(order.batches(epoch))
            for place, batch in enumerate(epoch_batches(data, plan, epoch, cfg.workers)):
                began, steps = time.perf_counter(), len(plan)
                at = epoch if cfg.schedule == "epoch" else (epoch * steps + place) / steps
                optim.set_factor(optimizer, optim.warmup_cosine(at, cfg.epochs, cfg.warmup))
                values = take_step(accelerator, trainee, optimizer, batch, cfg, step_losses, weights or {})
                if not math.isfinite(values["loss"]):
                    raise LabradorError(f"the loss is {values['loss']} at step {step}; lower --lr")
                values |= {"lr": optimizer.param_groups[0]["lr"], "temperature": inner.temperature.item()}
                step += 1
                log.write("step", step, epoch=epoch, **values, seconds=time.perf_counter() - began)
            done = epoch + 1
            for part, other in judged.items() if main else ():
                if done % cfg.eval_every == 0 or done == cfg.epochs:
                    figures = evaluate_module(encoder, other, device).to_json()
                    log.write("eval", step, part=part, epoch=done, **figures)
                    if best := kept.add(part, done, figures):
                        checkpoint.save(path.with_name(BEST[part]), encoder, asdict(cfg), None, best)
            if main and (done % cfg.save_every == 0 or done == cfg.epochs):
                training = {"epoch": done, "step": step, "selection": kept.state}
                training |= {"heads": inner.heads.state_dict(), "optimizer": optimizer.state_dict()}
                training |= {"random": checkpoint.random_state()}
                training |= {"scaler": accelerator.scaler.state_dict() if accelerator.scaler else None}
                checkpoint.save(path, encoder, asdict(cfg), training, f"last, epoch {done}")
            accelerator.wait_for_everyone()
        log.write("end", step, **kept.state)
    return kept.state


def take_step(
    accelerator: Any,
    trainee: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    cfg: C,
    step_losses: Callable[[Any, Batch, C, torch.device], dict[str, Tensor]],
    weights: Mapping[str, float],
) -> dict[str, float]:
    """One step; the loss, its parts, and the norm of the gradient before it is clipped."""
    parts = step_losses(trainee, batch, cfg, accelerator.device)
    weighted = [part * weights[name] if name in weights else part for name, part in parts.items()]
    loss = torch.stack(weighted).sum()
    optimizer.zero_grad()
    accelerator.backward(loss)
    norm = accelerator.clip_grad_norm_(trainee.parameters(), cfg.clip_norm)
    optimizer.step()
    values = {"loss": loss.item(), **{name: part.item() for name, part in parts.items()}}
    return values | {"norm": float(norm)}


def parse(
    config: type[C],
    args: Sequence[str],
    description: str | None = None,
    small: Mapping[str, Any] | None = None,
) -> C:
    """The settings of a command line: ``--name value`` for every field, defaults where it doesn't say.

    small: the defaults when the word ``small`` comes first; None: the recipe has one set of them.
    """
    if small is None or list(args[:1]) != ["small"]:
        return tyro.cli(config, args=args, description=description)
    required = {name: tyro.MISSING for name in ("data", "root", "out")}
    return tyro.cli(config, args=args[1:], default=config(**required, **small), description=description)


def command(
    config: type[C],
    train: Callable[[C], Any],
    description: str | None,
    small: Mapping[str, Any] | None = None,
) -> None:
    """A recipe's command: parse what it was started with and train; our errors end it with one line."""
    try:
        train(parse(config, sys.argv[1:], description, small))
    except LabradorError as error:
        raise SystemExit(f"error: {error}") from None
