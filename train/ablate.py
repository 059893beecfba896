"""Train a recipe's variants side by side and say what each of its parts brings.

    python -m train.ablate aima --data market1501 --root Market-1501-v15.09.15 --people 300
        --out runs/ablate-aima --seeds 3 --minutes 100

Each variant (VARIANTS of the recipe's file) is trained from every seed, with the same pictures, the same
number of steps and the recipe's small settings; with `published` after the recipe's name, with its published
ones. All settings of the recipe are options. A run is judged once, after its last step, on the test part:
nothing is chosen there. What is finished stands in results.jsonl; started again, the command goes on where it
ended, and `--minutes` lets it end in time. table.md and ablation.png are made anew after every run.

For a machine without the dataset, `--pack FILE` writes the crops that the runs need, 50 MiB at most, and
ends; there `--data packed --root FILE` in place of `--data`, `--root` and `--people` does the very same runs.
"""

from __future__ import annotations

import dataclasses
import fcntl
import importlib
import json
import pkgutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, make_dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro

from cpp_ext.bench.machine import processor
from sdk.errors import InputError, LabradorError
from train import contrast, loop, pack, recipes, runlog
from train.config import FREE, RunConfig
from train.encoder import image_spec
from train.model import TwoTower

PLACES = (*FREE, "data", "root", "people", "seed")  # what the data is, the results say in their own words
RESULTS = "results.jsonl"


@dataclass(frozen=True)
class Plan:
    seeds: int = 3  # runs of each variant, from --seed on
    minutes: float = float("inf")  # no run is begun that would end later, as far as earlier ones tell
    variants: tuple[str, ...] = ()  # names in the recipe's VARIANTS, the first is compared with; none: all
    pack: Path | None = None  # write the crops that the runs need into this archive, and end

    def __post_init__(self) -> None:
        if self.seeds < 1 or not self.minutes > 0:
            raise InputError(f"ablate: seeds {self.seeds} and minutes {self.minutes} must be above 0")


def ablate(recipe: Any, cfg: RunConfig, plan: Plan) -> list[dict[str, Any]]:
    """Do what is missing of the runs; returns the results of all that are finished.

    recipe: a module of train.recipes with VARIANTS. cfg: what all runs share; `out` is the folder.
    Raises InputError for an unknown variant, when the folder holds results of other settings, and when
    another process is at work there.
    """
    cfg = replace(cfg, judge=("test",), eval_every=cfg.epochs)
    chosen, shared, out = _chosen(recipe, plan), _shared(recipe, cfg), Path(cfg.out)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "at-work.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{out}: another process is at work there; wait, or give another --out"
            ) from None
        return _finish(recipe, cfg, plan, chosen, shared)


def _finish(
    recipe: Any, cfg: RunConfig, plan: Plan, chosen: Sequence[str], shared: Mapping[str, Any]
) -> list[dict[str, Any]]:
    began, out = time.monotonic(), Path(cfg.out)
    done = read(out / RESULTS, shared)
    for seed in range(cfg.seed, cfg.seed + plan.seeds):
        for variant in chosen:
            if any(r["variant"] == variant and r["seed"] == seed for r in done):
                continue
            left = plan.minutes * 60 - (time.monotonic() - began)
            took = [r["seconds"] for r in done if r["variant"] == variant] or [r["seconds"] for r in done]
            if left < max(took, default=0):
                print(f"the time is up; started again, this goes on with {variant!r} from seed {seed}")
                return done
            print(f"{variant} from seed {seed}, {left / 60:.0f} minutes left")
            done.append({**_run(recipe, cfg, variant, seed), "shared": shared})
            runlog.write_whole(out / RESULTS, "".join(json.dumps(result) + "\n" for result in done))
            runlog.write_whole(out / "table.md", contrast.table(done, chosen))
            contrast.draw(done, chosen, out / "ablation.png")
    return done


def read(path: Path, shared: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The finished runs of a results file; InputError names what differs from `shared`."""
    done = runlog.read(path)
    for result in done:
        old = result["shared"]
        differs = [
            f"{name} was {old.get(name)!r}, is {shared.get(name)!r}"
            for name in {**shared, **old}
            if old.get(name) != shared.get(name)
        ]
        if differs:
            raise InputError(f"{path} holds runs that differ: {'; '.join(differs)}; give another --out")
    return done


def _chosen(recipe: Any, plan: Plan) -> list[str]:
    for name in plan.variants:
        if name not in recipe.VARIANTS:
            raise InputError(f"variants: {name!r} isn't one of {', '.join(map(repr, recipe.VARIANTS))}")
    return list(plan.variants or recipe.VARIANTS)


def _shared(recipe: Any, cfg: RunConfig) -> dict[str, Any]:
    """What all runs have in common, as JSON gives it back: settings, and what the data is."""
    parts = {part: loop.load(cfg, part, recipe.TASK) for part in ("train", "test")}
    facts = {"train": f"{parts['train'].name}: {len(parts['train'].samples):,} pictures"}
    test = parts["test"]
    facts["test"] = f"{test.name}: {len(test.queries):,} queries, {len(test.gallery):,} pictures"
    settings = {name: value for name, value in asdict(cfg).items() if name not in PLACES}
    shared: dict[str, Any] = json.loads(json.dumps({**facts, **settings}))
    return shared


def _run(recipe: Any, cfg: Any, variant: str, seed: int) -> dict[str, Any]:
    """One run, resumed if it was interrupted; its checkpoints are removed, its log stays."""
    folder = Path(cfg.out) / f"{variant.replace('+', 'with').replace(' ', '-')}-{seed}"
    began = time.monotonic()
    last = recipe.train(replace(cfg, out=str(folder), seed=seed, **recipe.VARIANTS[variant]))["last"]["test"]
    seconds = time.monotonic() - began
    steps = runlog.read(folder / "log.jsonl")[-1]["step"]
    for file in folder.glob("*.pt"):
        file.unlink()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else processor()
    about = {"steps": steps, "seconds": round(seconds, 1), "machine": f"{device}, torch {torch.__version__}"}
    return {"variant": variant, "seed": seed, **about, "figures": last}


def write_pack(recipe: Any, cfg: RunConfig, path: Path) -> int:
    """Write what the runs need into an archive; returns the number of pictures."""
    task = recipe.TASK or "text"
    splits = {part: loop.load(cfg, part, task) for part in ("train", "test")}
    spec = image_spec(TwoTower(cfg.model, (cfg.height, cfg.width)))
    return pack.write(path, splits, task, spec)


def command(args: Sequence[str]) -> tuple[Any, Any, Plan]:
    """The recipe's module, its Config and the Plan that a command line asks for."""
    modules = [
        importlib.import_module(f"train.recipes.{m.name}") for m in pkgutil.iter_modules(recipes.__path__)
    ]
    known = {module.__name__.rpartition(".")[2]: module for module in modules if hasattr(module, "VARIANTS")}
    if not args or args[0] not in known:
        raise SystemExit(f"usage: python -m train.ablate {{{','.join(known)}}} [published] --data … --help")
    recipe: Any = known[args[0]]
    published = args[1:2] == ["published"]
    required = {name: tyro.MISSING for name in ("data", "root", "out")}
    cfg = recipe.Config(**required, **({} if published else recipe.SMALL))
    run = ("run", recipe.Config, dataclasses.field(default=cfg))
    given: Any = tyro.cli(
        make_dataclass("Ablation", [("plan", Plan), run]),
        args=args[2 if published else 1 :],
        description=__doc__,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    return recipe, given.run, given.plan


def main() -> None:
    try:
        recipe, cfg, plan = command(sys.argv[1:])
        if plan.pack is not None:
            count = write_pack(recipe, cfg, plan.pack)
            print(f"{count:,} pictures in {plan.pack}, {plan.pack.stat().st_size / 2**20:.1f} MiB")
            return
        done = ablate(recipe, cfg, plan)
    except LabradorError as error:
        raise SystemExit(f"error: {error}") from None
    print(contrast.table(done, _chosen(recipe, plan)))


if __name__ == "__main__":
    main()
