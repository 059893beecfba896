"""What goes into a gallery: pictures or vectors with an id and metadata each, checked before any work."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .decode import ImageSource, describe
from .errors import IdError, InputError
from .queries import check_vectors
from .types import Floats, Id, Metadata, Space


@dataclass(frozen=True)
class Intake:
    """n items. ``vectors`` is None for pictures; ``paths``: index → where a picture lies, if in a file."""

    ids: list[Id]
    sources: list[ImageSource]
    vectors: Floats | None
    metadata: list[dict[str, Any]]
    paths: dict[int, str]

    @classmethod
    def of(
        cls,
        images: tuple[list[ImageSource], bool] | None,
        ids: Id | Sequence[Id] | None,
        metadata: Metadata | Sequence[Metadata] | None,
        vectors: Any,
        space: Space,
    ) -> Intake:
        """Check and align; ``images`` is (pictures, whether it was a single one).

        Raises InputError for both or neither of images and vectors, for lists of different length, for a
        picture without a name (IdError) and for ids given twice (IdError); VectorError.
        """
        if (images is None) == (vectors is None):
            came = "neither" if images is None else "both"
            raise InputError(f"images, vectors: got {came}; give one of them")
        sources: list[ImageSource] = []
        checked: Floats | None = None
        if images is not None:
            sources = images[0]
        else:
            item = (space.dim,) if space.tokens == 1 else (space.tokens, space.dim)
            lone = np.ndim(vectors) == len(item)
            checked = check_vectors("vectors", np.asarray(vectors)[None] if lone else vectors, item)
        count = len(sources) if checked is None else len(checked)
        names = _names(sources) if ids is None and checked is None else as_list(ids, (str, int))
        if ids is None and checked is not None:
            raise IdError("ids: vectors have no name of their own; give one id each")
        notes = [{} for _ in range(count)] if metadata is None else as_list(metadata, (Mapping,))
        for name, values in (("ids", names), ("metadata", notes)):
            if len(values) != count:
                raise InputError(f"{name}: got {len(values)} for {count} items; give one each")
        for index, note in enumerate(notes):
            if not isinstance(note, Mapping):
                raise InputError(f"metadata[{index}]: got {type(note).__name__}; give a dict")
        _check_once(names)
        paths = {
            i: os.fspath(source) for i, source in enumerate(sources) if isinstance(source, (str, os.PathLike))
        }
        elsewhere = {i: path for i, path in paths.items() if path != names[i]}
        noted = [
            ({"path": elsewhere[i]} if i in elsewhere else {}) | dict(note) for i, note in enumerate(notes)
        ]
        return cls(names, sources, checked, noted, paths)

    def over(self, known: Sequence[Mapping[str, Any]]) -> Intake:
        """The same with the metadata that the items have, but for where their picture lies now."""
        moved = [
            dict(note) | ({"path": self.paths[i]} if self._is_told(i, note) else {})
            for i, note in enumerate(known)
        ]
        return replace(self, metadata=moved)

    def _is_told(self, index: int, note: Mapping[str, Any]) -> bool:
        """Whether the metadata must say where the picture lies: its id doesn't, or the metadata did."""
        return index in self.paths and (self.paths[index] != self.ids[index] or "path" in note)


def as_list(values: Any, one: tuple[type, ...]) -> list[Any]:
    """A single value of these types as a list of one; several as a list."""
    if values is None or isinstance(values, one):
        return [values]
    if isinstance(values, (np.ndarray, np.integer)):  # of ids: numpy's numbers and strings become Python's
        return list(np.atleast_1d(values).tolist())
    try:
        return list(values)
    except TypeError:
        return [values]


def _names(sources: Sequence[ImageSource]) -> list[Id]:
    names: list[Id] = []
    for index, source in enumerate(sources):
        if not isinstance(source, (str, os.PathLike)):
            raise IdError(f"ids: images[{index}] is {describe(source)}; only a path names itself, give ids")
        names.append(os.fspath(source))
    return names


def _check_once(ids: Sequence[Id]) -> None:
    seen: set[tuple[type, Id]] = set()
    for index, identity in enumerate(ids):
        if not isinstance(identity, (str, int)) or isinstance(identity, bool):
            raise IdError(f"ids[{index}]: got {identity!r}; an id is a string or a whole number")
        if (type(identity), identity) in seen:
            raise IdError(f"ids[{index}]: {identity!r} is given twice")
        seen.add((type(identity), identity))
