"""What a training step costs beside open_clip's own, and how long it waits for its batch.

    python -m train.bench                                              # labrador-tiny on people drawn for it
    python -m train.bench --model ViT-B-16 --height 384 --width 128 --batch 8 --rounds 6 --steps irra
    python -m train.bench --data cuhk_pedes --root CUHK-PEDES --steps irra sdm sdm+cmt sen

All steps are taken in turns in one process, each round on the same pictures and captions, from the same
random weights, with the same optimiser, precision and threads; aima's sentences are its own. Three are
open_clip's: with captions padded to the context, as its tokenizer gives them; cut after the longest of the
data, as irra and sen take them; cut after the longest of the batch, as clip takes them. "over open_clip"
compares with the one whose ids are as long as the step's own: what heads, losses and loop add to the towers.
Figures are medians over the rounds, in brackets the least and the most; of a ratio, where its median lies
with 95 % confidence. The second table is of trainings whose batches the loop's own loader makes.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

import tyro

from sdk.errors import InputError, LabradorError
from train.bench import table
from train.bench.turns import in_turns
from train.bench.waits import waits
from train.bench.ways import Name, ways
from train.distributed import accelerator as start
from train.memory import keep_freed_memory
from train.synthesis.draw import draw

PEOPLE = 240  # drawn where no data are given; 200 of them to train on, in 800 pictures with 1,600 captions
WATCHED = ("sdm", "irra")  # the steps whose waiting is measured: the shortest, which waits first, and IRRA's


def bench(
    model: str = "labrador-tiny",
    height: int = 128,
    width: int = 64,
    batch: int = 64,
    steps: tuple[Name, ...] = get_args(Name),
    rounds: int = 21,
    data: str = "drawn",
    root: Path | None = None,
    workers: int = 2,
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
) -> None:
    """Measure and print both tables.

    Args:
        model: towers, by their open_clip name.
        height: of the pictures, in pixels.
        width: of the pictures, in pixels.
        batch: pictures a step.
        steps: which recipes' steps beside open_clip's; each holds towers of its own in memory.
        rounds: of one step each, and steps of which waiting is measured.
        data: a module of train/datasets that has captions; aima wants attributes as well.
        root: its folder; None draws people for the time of the run.
        workers: loader processes that decode pictures.
        precision: auto is bf16 or fp16 where a GPU has it, else fp32.
    """
    for name, value in (("batch", batch), ("rounds", rounds)):
        if value < 1:
            raise InputError(f"{name}: {value} must be above 0")
    keep_freed_memory()
    accelerator = start(precision)
    with people(data, root) as folder:
        settings = {"data": data, "root": str(folder), "model": model, "height": height, "width": width}
        made = ways(steps, accelerator, {**settings, "batch": batch, "precision": precision})
        print(table.header(accelerator, sys.argv[1:]), flush=True)
        print(f"\n{table.of_steps(made, in_turns(made, rounds))}", flush=True)
        found = [one for way in made if way.name in WATCHED for one in waits(way, rounds, workers)]
        print(f"\n{table.of_waits(found)}")


@contextmanager
def people(data: str, root: Path | None) -> Iterator[Path]:
    """The data's folder; for None one of drawn people, which goes away afterwards."""
    if root is not None:
        yield root
        return
    if data != "drawn":
        raise InputError(f"root: None draws people; {data} is read from a folder, name it")
    with tempfile.TemporaryDirectory() as beside:
        draw(Path(beside) / "people", PEOPLE)
        yield Path(beside) / "people"


if __name__ == "__main__":
    try:
        tyro.cli(bench, description=__doc__)
    except LabradorError as error:
        sys.exit(f"error: {error}")
