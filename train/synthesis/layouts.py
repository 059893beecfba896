"""The files beside the pictures, in the layouts of public datasets, so that their loaders read drawn people.

``reid_raw.json`` is CUHK-PEDES's, ``query.json`` and ``gallery.json`` ITCPR's, ``triplets.json`` SynCPR's.
Paths in the first are relative to ``imgs/``, in the others to the root, as in the originals.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .captions import captions, tokens
from .dice import Dice
from .edits import edit_text
from .people import Person, pairs
from .wardrobe import SCHEMA

TRIPLETS_PER_PAIR = 3  # image pairs of each ordered pair of people
DISTRACTOR = -1  # instance_id of a gallery picture that no query asks for


@dataclass(frozen=True)
class Shot:
    """One picture on disk; ``path`` is relative to ``imgs/``."""

    person: Person
    path: str
    camera: int
    view: str
    captions: list[str]


def shots_of(person: Person, taken: list[tuple[int, str]], seed: int) -> list[Shot]:
    """A person's pictures with paths and captions; `taken` is (camera index, view) of each."""
    return [
        Shot(
            person,
            f"{person.part}/{person.pid:05d}_c{camera + 1}_{index}.jpg",
            camera + 1,
            view,
            captions(person.attributes, view, Dice(seed, 5, person.pid, index)),
        )
        for index, (camera, view) in enumerate(taken)
    ]


def write_layouts(
    root: Path, everyone: list[Person], shots: dict[int, list[Shot]], seed: int
) -> dict[str, int]:
    """Write every table under root; `shots` maps pid to its pictures. Returns how many rows each has."""
    flat = [shot for person in everyone for shot in shots[person.pid]]
    reid = [
        {
            "split": s.person.part,
            "captions": s.captions,
            "file_path": s.path,
            "id": s.person.pid,
            "processed_tokens": [tokens(c) for c in s.captions],
        }
        for s in flat
    ]
    queries, gallery = _composed([p for p in everyone if p.part == "test"], shots, seed)
    triplets = _triplets([p for p in everyone if p.part == "train"], shots, seed)
    _dump(root / "reid_raw.json", reid)
    _dump(root / "query.json", queries)
    _dump(root / "gallery.json", gallery)
    _dump(root / "triplets.json", triplets)
    _dump(root / "schema.json", SCHEMA.to_json())
    with (root / "attributes.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("file_path", "id", "camera", "view", "split", *SCHEMA.slots))
        for s in flat:
            row = (s.path, s.person.pid, s.camera, s.view, s.person.part)
            table.writerow((*row, *(s.person.attributes[slot] for slot in SCHEMA.slots)))
    return {
        "images": len(flat),
        "captions": sum(len(s.captions) for s in flat),
        "composed_queries": len(queries),
        "composed_gallery": len(gallery),
        "triplets": len(triplets),
    }


def _composed(
    people: list[Person], shots: dict[int, list[Shot]], seed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Queries ask for a look-alike: the reference is a person's first picture, the answers are all of the
    other's but its first. No reference is in the gallery; the instance is the person asked for.
    """
    asked = pairs(people)
    queries = [
        {
            "file_path": f"imgs/{shots[a.pid][0].path}",
            "datasets": "drawn",
            "person_id": a.pid,
            "instance_id": b.pid,
            "caption": edit_text(a.attributes, b.attributes, Dice(seed, 6, a.pid, b.pid)),
        }
        for a, b in asked
    ]
    references, targets = {a.pid for a, _ in asked}, {b.pid for _, b in asked}
    gallery = [
        {
            "file_path": f"imgs/{shot.path}",
            "datasets": "drawn",
            "person_id": person.pid,
            "instance_id": person.pid if person.pid in targets else DISTRACTOR,
        }
        for person in people
        for shot in shots[person.pid][1 if person.pid in references else 0 :]
    ]
    return queries, gallery


def _triplets(people: list[Person], shots: dict[int, list[Shot]], seed: int) -> list[dict[str, Any]]:
    """Rows of one ordered pair share its cpr_id; the other direction has its own."""
    rows = []
    for cpr_id, (a, b) in enumerate(pairs(people)):
        for turn in range(TRIPLETS_PER_PAIR):
            dice = Dice(seed, 7, a.pid, b.pid, turn)
            reference, target = dice.pick(shots[a.pid]), dice.pick(shots[b.pid])
            rows.append(
                {
                    "reference_caption": dice.pick(reference.captions),
                    "target_caption": dice.pick(target.captions),
                    "reference_image_path": f"imgs/{reference.path}",
                    "target_image_path": f"imgs/{target.path}",
                    "edit_caption": edit_text(a.attributes, b.attributes, dice),
                    "cpr_id": cpr_id,
                }
            )
    return rows


def _dump(path: Path, data: Any) -> None:
    """One row per line for lists, so that a human can page through them."""
    if isinstance(data, list):
        rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in data)
        path.write_text(f"[\n{rows}\n]\n", encoding="utf-8")
        return
    path.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
