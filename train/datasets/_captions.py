"""Datasets of captioned pictures in one JSON list, as CUHK-PEDES began them: text asks for a person.

An entry is {split, captions (a list), file_path (below imgs/), id}; other fields are left alone. Every
caption of a part asks for its person among all pictures of the part, the captioned picture included and no
camera left out: IRRA's rule.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sdk.errors import DatasetError
from train.datasets._source import Source, differences
from train.split import Query, Sample, Split


class Published(NamedTuple):
    """What a part holds by its owners' count; ``first``: its people are numbered from here without a gap."""

    pictures: int
    people: int
    captions: int
    first: int | None = None


def load_captions(
    source: Source, path: Path, part: str, published: Mapping[str, Published], picture: str = "file_path"
) -> Split:
    """The part of the JSON list ``path``, whose pictures lie in imgs/ beside it.

    published: part → its counts; what differs is in the split's notes. picture: the field with the picture's
    place. A part is named in any case; blank captions are left out, and said. Raises DatasetError that names
    the entry for one without the fields, and one for all missing pictures.
    """
    samples, other, blank = [], Counter[str](), 0
    for place, entry in enumerate(read_list(source, path, ("split", "captions", picture, "id"))):
        kind = str(entry["split"]).lower()
        if kind != part:
            other[kind] += kind not in published
            continue
        captions, file = entry["captions"], entry[picture]
        if not isinstance(captions, list) or not all(isinstance(c, str) for c in [*captions, file]):
            raise DatasetError(
                f"{source.name}: {path}, entry {place}: captions must be a list of strings, "
                f"{picture} a string"
            )
        try:
            person = int(entry["id"])
        except (TypeError, ValueError) as error:
            raise DatasetError(
                f"{source.name}: {path}, entry {place}: id must be an integer ({error})"
            ) from error
        spoken = tuple(caption for caption in captions if caption.strip())
        blank += len(captions) - len(spoken)
        samples.append(Sample(file, path.parent / "imgs" / file, person, spoken))
    if not samples:
        raise DatasetError(f"{source.name}: {path} lists no picture of the part {part!r}")
    source.check_pictures([s.image for s in samples])
    notes = [f"{count:,} pictures of the part {kind!r} are not used" for kind, count in (+other).items()]
    notes += [f"{blank:,} blank captions are left out"] if blank else []
    return Split(
        name=f"{source.name}/{part}",
        samples=tuple(samples),
        queries=tuple(Query(s.person, text=text, person=s.person) for s in samples for text in s.captions),
        gallery=tuple(samples),
        gallery_keys=tuple(s.person for s in samples),
        notes=(*_differences(samples, part, published[part]), *notes),
    )


def _differences(samples: list[Sample], part: str, known: Published) -> tuple[str, ...]:
    people = sorted({s.person for s in samples})
    pictures = len({s.image for s in samples})
    notes = differences(
        [
            (f"{part} pictures", pictures, known.pictures),
            (f"{part} people", len(people), known.people),
            (f"{part} captions", sum(len(s.captions) for s in samples), known.captions),
        ]
    )
    if pictures < len(samples):
        notes += (f"{len(samples) - pictures:,} entries of {part} show a picture again",)
    if known.first is not None and people != [*range(known.first, known.first + len(people))]:
        notes += (f"{part} people aren't numbered from {known.first:,} on without a gap, as published",)
    return notes


def read_json(source: Source, path: Path) -> Any:
    """The file's content; DatasetError with the layout when it isn't there or isn't JSON."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise source.lacks(f"{path} can't be read ({error})") from error


def read_list(source: Source, path: Path, fields: tuple[str, ...]) -> list[Mapping[str, Any]]:
    """A JSON list of objects that all have ``fields``; DatasetError names the first that hasn't."""
    entries = read_json(source, path)
    if not isinstance(entries, list):
        raise DatasetError(
            f"{source.name}: {path} holds {type(entries).__name__}; needed is a list of objects"
        )
    for place, entry in enumerate(entries):
        missing = [f for f in fields if f not in entry] if isinstance(entry, dict) else list(fields)
        if missing:
            raise DatasetError(f"{source.name}: {path}, entry {place} lacks {', '.join(missing)}")
    return entries
