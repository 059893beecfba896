"""What a dataset is once parsed: samples, queries, gallery, and which gallery items count as right.

A loader in ``train/datasets/<name>.py`` exposes ``load(root, part, task) -> Split``; ``part`` is
train, val or test, ``task`` one of TASKS. It only parses: it never downloads and never decodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from sdk.attributes import Schema
from sdk.errors import InputError

Task: TypeAlias = Literal["text", "attributes", "image", "composed"]
Match: TypeAlias = Literal["person", "attributes", "other_camera", "instance"]


@dataclass(frozen=True)
class Sample:
    """One picture of one person. ``image_id`` is unique within the dataset."""

    image_id: str
    image: Path
    person: int
    captions: tuple[str, ...] = ()
    camera: int | None = None
    attributes: Mapping[str, str] | None = None
    view: str | None = None


@dataclass(frozen=True)
class Query:
    """One question with what is needed to judge its answers. ``key`` is what ``match`` compares."""

    key: object
    text: str | None = None
    image: Path | None = None
    attributes: Mapping[str, str] | None = None
    camera: int | None = None
    person: int | None = None


@dataclass(frozen=True)
class Split:
    """A parsed part of a dataset.

    ``match`` is the rule of relevance. "person": equal person. "attributes": equal attribute set.
    "other_camera": equal person, and items of the same person *and* camera are ignored, as are junk
    items (person -1). "instance": equal ``instance`` of the gallery item.
    ``notes`` say where counts differ from the published ones.
    """

    name: str
    samples: tuple[Sample, ...]
    queries: tuple[Query, ...] = ()
    gallery: tuple[Sample, ...] = ()
    match: Match = "person"
    gallery_keys: tuple[object, ...] = ()
    schema: Schema | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def people(self) -> int:
        """How many different people the samples show."""
        return len({s.person for s in self.samples})

    def relevant(self) -> npt.NDArray[np.bool_]:
        """(n, m): gallery item j answers query i. Ignored items are not relevant."""
        keys: dict[object, int] = {}
        query = np.array([keys.setdefault(q.key, len(keys)) for q in self.queries], np.int64)
        item = np.array([keys.get(key, -1) for key in self.gallery_keys], np.int64)
        return (query[:, None] == item[None, :]) & ~self.ignored()

    def ignored(self) -> npt.NDArray[np.bool_]:
        """(n, m): gallery item j is taken out of query i's ranking before anything is counted."""
        if self.match != "other_camera":
            return np.zeros((len(self.queries), len(self.gallery)), bool)
        person = np.array([s.person for s in self.gallery], np.int64)
        camera = np.array([-1 if s.camera is None else s.camera for s in self.gallery], np.int64)
        own = np.array([-2 if q.person is None else q.person for q in self.queries], np.int64)
        seen = np.array([-2 if q.camera is None else q.camera for q in self.queries], np.int64)
        same = (own[:, None] == person[None, :]) & (seen[:, None] == camera[None, :])
        return same | (person == -1)[None, :]


def of_people(split: Split, people: int) -> Split:
    """What shows or asks for `people` of the split's people, evenly spaced in the order of their ids.

    The same ones whenever it is asked. Junk, distractors, and queries that nothing in the smaller gallery
    answers are left out. InputError for more people than there are.
    """
    known = sorted({s.person for s in split.samples})
    if not 1 <= people <= len(known):
        raise InputError(f"people: {people} were asked for; {split.name} has 1 to {len(known)}")
    chosen = {known[place * len(known) // people] for place in range(people)}
    shown = [s.person in chosen for s in split.gallery]
    keys = tuple(key for key, kept in zip(split.gallery_keys, shown, strict=True) if kept)
    answered = set(keys)
    return replace(
        split,
        name=f"{split.name}, {people:,} of {len(known):,} people",
        samples=tuple(s for s in split.samples if s.person in chosen),
        queries=tuple(
            q for q in split.queries if q.key in answered and (q.person is None or q.person in chosen)
        ),
        gallery=tuple(s for s, kept in zip(split.gallery, shown, strict=True) if kept),
        gallery_keys=keys,
    )
