"""Drawn people, as ``python -m train.synthesis.draw`` writes them: layouts of public datasets side by side.

    imgs/<part>/<person>_c<camera>_<index>.jpg
    reid_raw.json     as CUHK-PEDES: a list of {split, captions, file_path (below imgs/), id}
    attributes.csv    a row per picture: file_path, id, camera, view, split, then a column per slot
    schema.json       the slots, their values and the prompt sentence
    query.json        as ITCPR: {file_path (below the root), person_id, instance_id, caption}, test only
    gallery.json      the same without caption; instance_id -1 is a distractor

Tasks:

- text: every caption of the part asks for its person among all pictures of the part.
- attributes: each attribute set that occurs in the part asks for everyone who has it.
- image: every picture asks for its person on other cameras; pictures of the same person by the same
  camera, itself among them, are left out of its ranking.
- composed: a picture and the wish of what should differ ask for the gallery pictures of that instance.
"""

from __future__ import annotations

import csv
from pathlib import Path

from sdk.attributes import Schema
from sdk.errors import AttributeValueError, DatasetError
from train.datasets._captions import read_json, read_list
from train.datasets._source import Source
from train.split import Query, Sample, Split

PARTS = ("train", "val", "test")
TASKS = ("text", "attributes", "image", "composed")
SOURCE = Source(
    "drawn",
    "imgs/, reid_raw.json, attributes.csv and schema.json (query.json and gallery.json for composed queries)",
    "python -m train.synthesis.draw --out FOLDER draws and writes them",
)


def load(root: str | Path, part: str, task: str = "text") -> Split:
    """Parse ``part`` for ``task``; raises DatasetError that names the file and what it lacks."""
    if part not in PARTS:
        raise DatasetError(f"drawn: no part {part!r}; it has {', '.join(PARTS)}")
    if task not in TASKS:
        raise DatasetError(f"drawn: no task {task!r}; it has {', '.join(TASKS)}")
    root = Path(root)
    schema = _schema(root)
    samples = _samples(root, part, schema)
    if task == "composed":
        return _composed(root, part, samples, schema)
    if task == "attributes":
        known = {Schema.as_set(s.attributes or {}): s.attributes or {} for s in samples}
        queries = tuple(Query(key, text=schema.sentence(a), attributes=a) for key, a in known.items())
    elif task == "image":
        queries = tuple(Query(s.person, image=s.image, camera=s.camera, person=s.person) for s in samples)
    else:
        queries = tuple(Query(s.person, text=text, person=s.person) for s in samples for text in s.captions)
    return Split(
        name=f"drawn/{part}",
        samples=samples,
        queries=queries,
        gallery=samples,
        match="attributes" if task == "attributes" else "other_camera" if task == "image" else "person",
        gallery_keys=tuple(
            Schema.as_set(s.attributes or {}) if task == "attributes" else s.person for s in samples
        ),
        schema=schema,
    )


def _samples(root: Path, part: str, schema: Schema) -> tuple[Sample, ...]:
    table = _table(root, schema)
    samples = []
    for entry in read_list(SOURCE, root / "reid_raw.json", ("split", "captions", "file_path", "id")):
        if entry["split"] != part:
            continue
        name = entry["file_path"]
        row = table.get(name)
        if row is None:
            raise DatasetError(
                f"drawn: {root / 'attributes.csv'} has no row for {name}, which reid_raw.json lists"
            )
        try:
            person, camera, same = int(entry["id"]), int(row["camera"]), int(row["id"]) == int(entry["id"])
        except (TypeError, ValueError) as error:
            raise DatasetError(f"drawn: {name}: id and camera must be integers ({error})") from error
        if not same or row["split"] != part:
            raise DatasetError(f"drawn: {name}: attributes.csv and reid_raw.json differ in its id or split")
        attributes = {slot: row[slot] for slot in schema.slots}
        try:
            schema.check(attributes)
        except AttributeValueError as error:
            raise DatasetError(f"drawn: {root / 'attributes.csv'}, {name}: {error}") from error
        captions = tuple(entry["captions"])
        samples.append(Sample(name, root / "imgs" / name, person, captions, camera, attributes, row["view"]))
    if not samples:
        raise DatasetError(f"drawn: {root / 'reid_raw.json'} lists no picture of the part {part!r}")
    SOURCE.check_pictures([s.image for s in samples])
    return tuple(samples)


def _composed(root: Path, part: str, samples: tuple[Sample, ...], schema: Schema) -> Split:
    if part != "test":
        raise DatasetError(f"drawn: composed queries are drawn for the part 'test' only, not for {part!r}")
    known = {s.image: s for s in samples}
    queries, gallery, keys = [], [], []
    for entry in read_list(SOURCE, root / "query.json", ("file_path", "person_id", "instance_id", "caption")):
        image, person = root / entry["file_path"], int(entry["person_id"])
        queries.append(Query(int(entry["instance_id"]), entry["caption"], image, person=person))
    for entry in read_list(SOURCE, root / "gallery.json", ("file_path", "person_id", "instance_id")):
        image, instance = root / entry["file_path"], int(entry["instance_id"])
        gallery.append(known.get(image) or Sample(entry["file_path"], image, int(entry["person_id"])))
        keys.append(None if instance == -1 else instance)
    SOURCE.check_pictures([q.image for q in queries if q.image] + [s.image for s in gallery])
    return Split("drawn/test", samples, tuple(queries), tuple(gallery), "instance", tuple(keys), schema)


def _schema(root: Path) -> Schema:
    try:
        return Schema.from_json(read_json(SOURCE, root / "schema.json"))
    except AttributeValueError as error:
        raise DatasetError(f"drawn: {root / 'schema.json'}: {error}") from error


def _table(root: Path, schema: Schema) -> dict[str, dict[str, str]]:
    """file_path → its row of attributes.csv."""
    path = root / "attributes.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            needed = ["file_path", "id", "camera", "view", "split", *schema.slots]
            missing = [name for name in needed if name not in (reader.fieldnames or ())]
            if missing:
                raise DatasetError(f"drawn: {path} lacks the columns {', '.join(missing)}")
            return {row["file_path"]: row for row in reader}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SOURCE.lacks(f"{path} can't be read ({error})") from error
