"""An archive of crops, as ``python -m train.ablate … --pack FILE`` writes it: some people of another dataset.

    FILE.zip        splits.json, which says what the splits hold, and the crops it names
    FILE.zip.files/ the same, unpacked beside it when it is first read

It has the parts and the one task that it was written with; `text` where none is asked for.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdk.attributes import Schema
from sdk.errors import AttributeValueError, DatasetError
from train.datasets._source import Source
from train.split import Query, Sample, Split

PARTS = ("train", "val", "test")
TASKS = ("text", "attributes", "image", "composed")
FORMAT = 1
SOURCE = Source(
    "packed",
    "one .zip with splits.json and the crops it names",
    "python -m train.ablate RECIPE … --pack FILE writes it",
)


def load(root: str | Path, part: str, task: str = "text") -> Split:
    """Parse ``part``; raises DatasetError for another task than the archive's, or what isn't one."""
    path = Path(root)
    try:
        with zipfile.ZipFile(path) as archive:
            listed = json.loads(archive.read("splits.json"))
            if listed["format"] != FORMAT:
                raise DatasetError(f"packed: {path} has format {listed['format']}; known is {FORMAT}")
            held, made_for = listed["parts"], listed["task"]
            if task != made_for or part not in held:
                raise DatasetError(
                    f"packed: {path} holds {', '.join(held)} for the task {made_for!r}, "
                    f"not {part!r} for {task!r}"
                )
            return _split(held[part], _unpacked(path, archive))
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeValueError) as error:
        raise SOURCE.lacks(f"{path} can't be read ({type(error).__name__}: {error})") from error


def _unpacked(path: Path, archive: zipfile.ZipFile) -> Path:
    """The folder with the archive's files; made beside it, whole or not at all."""
    members = archive.infolist()
    mark = " ".join(f"{m.filename}:{m.CRC:08x}" for m in members)
    folder = path.with_name(path.name + ".files")
    done = folder / "unpacked.txt"
    if done.is_file() and done.read_text("utf-8") == mark:
        return folder
    made = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        archive.extractall(made)
        (made / done.name).write_text(mark, "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def _split(held: Mapping[str, Any], folder: Path) -> Split:
    by_set = held["match"] == "attributes"
    samples = {entry["id"]: _sample(entry, folder) for entry in held["samples"] + held["gallery"]}
    gallery = tuple(samples[entry["id"]] for entry in held["gallery"])
    sets = [Schema.as_set(s.attributes or {}) for s in gallery] if by_set else held["gallery_keys"]
    queries = tuple(
        Query(
            Schema.as_set(entry["attributes"]) if by_set else entry["key"],
            entry["text"],
            None if entry["image"] is None else folder / entry["image"],
            entry["attributes"],
            entry["camera"],
            entry["person"],
        )
        for entry in held["queries"]
    )
    return Split(
        name=held["name"],
        samples=tuple(samples[entry["id"]] for entry in held["samples"]),
        queries=queries,
        gallery=gallery,
        match=held["match"],
        gallery_keys=tuple(sets),
        schema=None if held["schema"] is None else Schema.from_json(held["schema"]),
        notes=tuple(held["notes"]),
    )


def _sample(entry: Mapping[str, Any], folder: Path) -> Sample:
    return Sample(
        entry["id"],
        folder / entry["image"],
        entry["person"],
        tuple(entry["captions"]),
        entry["camera"],
        entry["attributes"],
        entry["view"],
    )
