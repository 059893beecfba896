"""Market-1501 with its attribute table: pedestrian crops from six cameras, 27 attributes per person.

    Market-1501-v15.09.15/
      bounding_box_train/   12,936 pictures of 751 people with 508 different sets of attributes
      bounding_box_test/    19,732 pictures; person -1 is junk (3,819), person 0000 a distractor (2,798)
      query/                3,368 pictures of 750 people with 484 sets, 169 of which occur in training
      market_attribute.mat  (here, in attribute/, or beside the folder)

A picture is called ``0001_c1s1_001051_00.jpg``: person, camera, sequence, frame, box. There is no
validation part. A person's caption is the sentence of their attributes; each training picture brings
another one with some of them, so that a search needn't name all.

Tasks on ``test`` (on ``train`` the same rules over bounding_box_train):

- text: one sentence per person asks for that person. Two people with equal attributes ask the same sentence
  and have different answers. Gallery: bounding_box_test without -1 and 0000 plus query, 16,483 pictures.
- attributes: each attribute set that occurs asks for everyone who has it; same gallery, nothing removed.
- image: each query picture against all of bounding_box_test; -1 ignored, 0000 kept, and the pictures of the
  same person by the same camera left out of that query's ranking.

``python -m train.datasets.market1501 --root FOLDER --list market.csv`` writes both folders as a list for
``python -m sdk index``, so that every protocol is a ``where`` on one gallery.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sdk.attributes import Schema
from sdk.errors import DatasetError, LabradorError
from train.datasets._market1501_attributes import SCHEMA, SOURCE, read_attributes
from train.datasets._source import differences
from train.prompts import in_part
from train.split import Query, Sample, Split

PARTS = ("train", "test")
TASKS = ("text", "attributes", "image")
TRAIN, TEST, QUERY = "bounding_box_train", "bounding_box_test", "query"
JUNK, DISTRACTOR = -1, 0

# some two dozen pictures of the published archive end in .jpg.jpg
_NAME = re.compile(r"(-1|\d{4})_c(\d)s\d_\d{6}_\d{2}(?:\.jpg){1,2}")
# folder -> (pictures, people without junk and distractors), as the data's authors publish them
_PUBLISHED = {TRAIN: (12_936, 751), TEST: (19_732, 750), QUERY: (3_368, 750)}
_JUNK, _DISTRACTORS = 3_819, 2_798
_CATEGORIES = {"train": 508, "test": 484}


def load(root: str | Path, part: str, task: str = "text") -> Split:
    """Parse ``part`` ("train" or "test") for ``task``; raises DatasetError that names the layout."""
    if part not in PARTS:
        raise DatasetError(
            f"market1501: no part {part!r}; it has {', '.join(PARTS)} "
            "(the protocol defines no validation people)"
        )
    if task not in TASKS:
        raise DatasetError(f"market1501: no task {task!r}; it has {', '.join(TASKS)}")
    root = Path(root)
    table = read_attributes(root, part)
    folders = (TRAIN,) if part == "train" else (TEST, QUERY)
    samples = {folder: _samples(root, folder, table) for folder in folders}
    notes = _notes(samples, table, part)
    if part == "train":
        return _train(samples[TRAIN], task, table, notes)
    people = tuple(s for folder in folders for s in samples[folder] if s.person > 0)
    if task == "image":
        queries = tuple(_photo(s) for s in samples[QUERY])
        return _split("test", people, queries, tuple(samples[TEST]), task, notes)
    return _split("test", people, _words(task, people, table), people, task, notes)


def _train(
    samples: list[Sample], task: str, table: Mapping[int, Mapping[str, str]], notes: tuple[str, ...]
) -> Split:
    people = tuple(replace(s, captions=s.captions + _in_part(s)) for s in samples)
    queries = tuple(map(_photo, people)) if task == "image" else _words(task, people, table)
    return _split("train", people, queries, people, task, notes)


def _in_part(sample: Sample) -> tuple[str, ...]:
    """A sentence of some of the attributes: people ask for a woman in a red dress, not for ten slots."""
    return (SCHEMA.sentence(in_part(sample.attributes or {}, sample.image_id)),)


def _split(
    part: str,
    samples: tuple[Sample, ...],
    queries: tuple[Query, ...],
    gallery: tuple[Sample, ...],
    task: str,
    notes: tuple[str, ...],
) -> Split:
    by_attributes = task == "attributes"
    return Split(
        name=f"market1501/{part}",
        samples=samples,
        queries=queries,
        gallery=gallery,
        match="attributes" if by_attributes else "other_camera" if task == "image" else "person",
        gallery_keys=tuple(Schema.as_set(s.attributes or {}) if by_attributes else s.person for s in gallery),
        schema=SCHEMA,
        notes=notes,
    )


def _words(task: str, people: Sequence[Sample], table: Mapping[int, Mapping[str, str]]) -> tuple[Query, ...]:
    present = sorted({s.person for s in people})
    if task == "text":
        return tuple(Query(p, text=SCHEMA.sentence(table[p]), attributes=table[p], person=p) for p in present)
    unique = {Schema.as_set(table[p]): table[p] for p in present}
    return tuple(Query(key, text=SCHEMA.sentence(a), attributes=a) for key, a in unique.items())


def _photo(sample: Sample) -> Query:
    return Query(sample.person, image=sample.image, camera=sample.camera, person=sample.person)


def _samples(root: Path, folder: str, table: Mapping[int, Mapping[str, str]]) -> list[Sample]:
    directory = root / folder
    if not directory.is_dir():
        raise SOURCE.lacks(f"{root} has no folder {folder}/")
    out = []
    for path in sorted(directory.glob("*.jpg")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise DatasetError(
                f"market1501: {path} isn't named like 0001_c1s1_001051_00.jpg (person_camera…)"
            )
        person = int(match[1])
        if person > 0 and person not in table:
            raise DatasetError(
                f"market1501: {path} shows person {person:04d}, of whom market_attribute.mat has no row"
            )
        attributes = table.get(person)
        captions = (SCHEMA.sentence(attributes),) if attributes else ()
        out.append(Sample(f"{folder}/{path.name}", path, person, captions, int(match[2]), attributes))
    if not out:
        raise SOURCE.lacks(f"{directory} holds no .jpg")
    return out


def _notes(
    samples: Mapping[str, Sequence[Sample]], table: Mapping[int, Mapping[str, str]], part: str
) -> tuple[str, ...]:
    """Where the counts differ from the published ones, in words."""
    found = []
    for folder, listed in samples.items():
        people = len({s.person for s in listed if s.person > 0})
        found.append((f"{folder} pictures", len(listed), _PUBLISHED[folder][0]))
        found.append((f"{folder} people", people, _PUBLISHED[folder][1]))
    categories = len({Schema.as_set(a) for a in table.values()})
    found.append((f"{part} attribute categories", categories, _CATEGORIES[part]))
    if part == "test":
        shown = [s.person for s in samples[TEST]]
        found.append(("junk pictures (-1)", shown.count(JUNK), _JUNK))
        found.append(("distractors (0000)", shown.count(DISTRACTOR), _DISTRACTORS))
    return differences(found)


def write_list(root: str | Path, out: str | Path) -> int:
    """Write bounding_box_test and query as CSV for ``sdk index``; returns the number of pictures.

    Columns: id (folder/name), path (absolute), person, camera, folder, then a column per attribute slot,
    empty for junk (person -1) and distractors (person 0).
    """
    root = Path(root).resolve()
    table = read_attributes(root, "test")
    rows = [sample for folder in (TEST, QUERY) for sample in _samples(root, folder, table)]
    with Path(out).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "path", "person", "camera", "folder", *SCHEMA.slots])
        for s in rows:
            values = [(s.attributes or {}).get(slot, "") for slot in SCHEMA.slots]
            writer.writerow([s.image_id, s.image, s.person, s.camera, s.image.parent.name, *values])
    return len(rows)


def main(root: Path, list: Path) -> None:
    """Write the test pictures as a list for ``python -m sdk index``.

    Args:
        root: the folder Market-1501-v15.09.15.
        list: the CSV to write.
    """
    print(f"{write_list(root, list):,} pictures in {list}")


if __name__ == "__main__":
    import tyro

    try:
        tyro.cli(main)
    except LabradorError as error:
        raise SystemExit(f"error: {error}") from None
