"""Draw people: pictures, captions, attributes, edit texts, in the layouts of public datasets.

    python -m train.synthesis.draw --out DIR --people 1800 --images-per-person 4 --seed 0

The same arguments give the same pixels on any machine. At the default size about 20 s on two cores; a contact
sheet of test people is DIR/sheet.png, and DIR/draw.json tells what was drawn and how hard it is.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from sdk.errors import DatasetError, InputError, LabradorError

from .camera import cameras_of, photograph
from .captions import without_colours
from .hardness import LIMITS, measure
from .layouts import Shot, shots_of, write_layouts
from .people import MIN_PEOPLE, OUTFIT, PARTS, Person, cast, pairs, unseen_share
from .sheet import save_sheet

FORMAT = 1
RENDERER = 1  # raise it when the same arguments begin to give other pixels or words
MAX_IMAGES = 100
_SERIAL = 1500  # below this many pictures, starting more processes costs more than it saves
_SHEET_PEOPLE = 24


def draw(
    out: Path, people: int = 1800, images_per_person: int = 4, seed: int = 0, colour_words: bool = True
) -> dict[str, Any]:
    """Draw into `out` and return what draw.json says. A folder that already holds this draw is left as it is.

    Raises InputError for numbers out of range and DatasetError when `out` holds anything else.

    Args:
        out: folder to write; it may exist when it is empty.
        people: identities, a twelfth of them in val and a twelfth in test.
        images_per_person: pictures of each, from as many cameras as there are.
        seed: another seed draws other people.
        colour_words: False leaves the colours out of the captions (not of the edits), so that a training
            shows how much they carry.
    """
    arguments = {
        "people": people,
        "images_per_person": images_per_person,
        "seed": seed,
        "colour_words": colour_words,
    }
    _check(arguments)
    console = Console(stderr=True)
    out = out.expanduser().resolve()
    done = _already(out, arguments)
    if done is not None:
        console.print(f"{out} already holds this draw ({done['counts']['images']} pictures); nothing to do")
        return done
    out.parent.mkdir(parents=True, exist_ok=True)
    # Drawn beside the goal and moved there at the end, so that DIR is whole or isn't there.
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as beside:
        work = Path(beside) / out.name
        work.mkdir()
        record = _draw_into(work, arguments, console)
        os.replace(work, out)  # an empty folder gives way, anything else refuses
    _report(record, console)
    return record


def _check(arguments: dict[str, int]) -> None:
    for name, low, high in (
        ("people", MIN_PEOPLE, 90_000),
        ("images_per_person", 2, MAX_IMAGES),
        ("seed", 0, 2**63 - 1),
    ):
        if not low <= arguments[name] <= high:
            raise InputError(f"{name}: got {arguments[name]}; it must be from {low} to {high}")


def _already(out: Path, arguments: dict[str, int]) -> dict[str, Any] | None:
    """The record of an equal draw in `out`; None when there is nothing."""
    if out.exists() and not out.is_dir():
        raise DatasetError(f"out: {out} is not a folder; name one that is empty or doesn't exist")
    if not out.exists() or not any(out.iterdir()):
        return None
    try:
        record: dict[str, Any] = json.loads((out / "draw.json").read_text(encoding="utf-8"))
        held = (record["format"], record["renderer"], record["arguments"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"out: {out} isn't empty and holds no draw; name another folder or empty this one"
        ) from error
    if held != (FORMAT, RENDERER, arguments):
        raise DatasetError(
            f"out: {out} holds another draw ({held[2]}, format {held[0]}, renderer {held[1]}); asked for is "
            f"{arguments} with format {FORMAT}, renderer {RENDERER}. Name another folder or remove this one"
        )
    return record


def _draw_into(root: Path, arguments: dict[str, int], console: Console) -> dict[str, Any]:
    people, images, seed = arguments["people"], arguments["images_per_person"], arguments["seed"]
    everyone = cast(people, seed)
    for part in PARTS:
        (root / "imgs" / part).mkdir(parents=True)
    columns = (TextColumn("drawing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=people * images)
        for drawn in _all_pictures(root, arguments, everyone):
            progress.advance(bar, drawn)
    shots = {p.pid: shots_of(p, cameras_of(p, images, seed), seed) for p in everyone}
    if not arguments["colour_words"]:
        shots = {
            pid: [replace(s, captions=[without_colours(c) for c in s.captions]) for s in taken]
            for pid, taken in shots.items()
        }
    rows = write_layouts(root, everyone, shots, seed)
    test = [shot for p in everyone if p.part == "test" for shot in shots[p.pid]]
    files = [root / "imgs" / shot.path for shot in test]
    save_sheet(root / "sheet.png", _sheet_rows(root, everyone, shots))
    record = {
        "format": FORMAT,
        "renderer": RENDERER,
        "arguments": arguments,
        "counts": {
            "people": {part: sum(p.part == part for p in everyone) for part in PARTS},
            "pairs": {part: sum(a.part == part for a, _ in pairs(everyone)) for part in PARTS},
            **rows,
        },
        "unseen_combinations": {
            "all_slots": unseen_share(everyone),
            "outfit": unseen_share(everyone, OUTFIT),
        },
        "hardness": measure(files, [s.person.pid for s in test], [s.camera for s in test]),
    }
    (root / "draw.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record


def _all_pictures(root: Path, arguments: dict[str, int], everyone: list[Person]) -> Iterator[int]:
    """Draw everybody, in as many processes as pay off; yields each finished person's count."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers == 1 or arguments["people"] * arguments["images_per_person"] < _SERIAL:
        for person in everyone:
            yield _pictures(root, person, everyone, arguments)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start_worker, (root, arguments)) as pool:
        yield from pool.map(_worker_pictures, range(len(everyone)), chunksize=16)


_worker: tuple[Path, dict[str, int], list[Person]]


def _start_worker(root: Path, arguments: dict[str, int]) -> None:
    global _worker
    _worker = (root, arguments, cast(arguments["people"], arguments["seed"]))


def _worker_pictures(position: int) -> int:
    root, arguments, everyone = _worker
    return _pictures(root, everyone[position], everyone, arguments)


def _pictures(root: Path, person: Person, everyone: list[Person], arguments: dict[str, int]) -> int:
    """Draw and write all pictures of one person."""
    images, seed = arguments["images_per_person"], arguments["seed"]
    taken = cameras_of(person, images, seed)
    for index, (shot, (camera, view)) in enumerate(zip(shots_of(person, taken, seed), taken, strict=True)):
        picture = photograph(person, index, camera, view, everyone, seed)
        (root / "imgs" / shot.path).write_bytes(picture.jpeg())
    return images


def _sheet_rows(root: Path, everyone: list[Person], shots: dict[int, list[Shot]]) -> list[list[Path]]:
    test = [p for p in everyone if p.part == "test"][:_SHEET_PEOPLE]
    return [[root / "imgs" / shot.path for shot in shots[p.pid][:6]] for p in test]


def _report(record: dict[str, Any], console: Console) -> None:
    counts, share = record["counts"], record["unseen_combinations"]
    table = Table(title="drawn people", show_header=False)
    table.add_row("people: train, val, test", ", ".join(str(counts["people"][part]) for part in PARTS))
    table.add_row("pictures, captions", f"{counts['images']}, {counts['captions']}")
    table.add_row("composed queries, gallery", f"{counts['composed_queries']}, {counts['composed_gallery']}")
    table.add_row("training triplets", str(counts["triplets"]))
    table.add_row("test combinations unseen in training", f"{share['all_slots']:.0%}")
    table.add_row("… of gender, garments and their colours only", f"{share['outfit']:.0%}")
    for name, value in record["hardness"].items():
        mark = "✓" if value <= LIMITS[name] else "✗"
        table.add_row(f"nearest neighbour, {name}", f"{mark} Rank-1 {value:.1%} (limit {LIMITS[name]:.0%})")
    console.print(table)


if __name__ == "__main__":
    try:
        tyro.cli(draw, description=__doc__)
    except (LabradorError, OSError) as error:
        sys.exit(f"draw: {error}")
