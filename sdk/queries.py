"""The forms of a search: which arguments make one, how many queries they are, and the vector of each.

| form | arguments | vector |
|---|---|---|
| text | ``text`` | text tower |
| attributes | ``attributes`` | the schema's sentence, text tower |
| image | ``image`` | image tower |
| composed | ``image`` + ``text`` | the bundle's composer, or with ``compose="sum"`` unit(image + text) |
| vector | ``vector`` | as it is |

``without`` (a text) changes any form but the last to unit(query - without). A list is a batch; single
arguments beside a list serve every query of the batch.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from .encoder import Encoder
from .errors import InputError, MissingRoleError, VectorError
from .types import Floats, Query, QueryKind

FORMS = "text, attributes, image, image and text, or vector"


@dataclass(frozen=True)
class Asked:
    """A search call taken apart: every list holds one entry, or one per query."""

    kind: QueryKind
    n: int
    text: list[Any] = field(default_factory=list)
    attributes: list[Any] = field(default_factory=list)
    image: list[Any] = field(default_factory=list)
    without: list[Any] = field(default_factory=list)
    vector: Floats | None = None
    compose: Literal["bundle", "sum"] | None = None

    def queries(self) -> tuple[Query, ...]:
        """One Query per row, without its vector."""

        def pick(values: list[Any], i: int) -> Any:
            return values[i if len(values) > 1 else 0] if values else None

        return tuple(
            Query(
                self.kind,
                text=pick(self.text, i),
                image=pick(self.image, i),
                attributes=pick(self.attributes, i),
                without=pick(self.without, i),
                compose=self.compose,
            )
            for i in range(self.n)
        )


def take_apart(
    *,
    text: Any = None,
    attributes: Any = None,
    image: Any = None,
    vector: Any = None,
    without: Any = None,
    compose: str = "auto",
    dim: int,
    roles: Mapping[str, str],
) -> Asked:
    """Check the arguments of a search; raises InputError, VectorError or MissingRoleError."""
    given = {
        name
        for name, value in {"text": text, "attributes": attributes, "image": image, "vector": vector}.items()
        if value is not None
    }
    kinds: dict[frozenset[str], QueryKind] = {
        frozenset({"text"}): "text",
        frozenset({"attributes"}): "attributes",
        frozenset({"image"}): "image",
        frozenset({"image", "text"}): "composed",
        frozenset({"vector"}): "vector",
    }
    if frozenset(given) not in kinds:
        came = " and ".join(sorted(given)) or "nothing to search with"
        raise InputError(f"search: got {came}; give one of: {FORMS}")
    kind = kinds[frozenset(given)]
    if compose not in ("auto", "sum"):
        raise InputError(f"compose: got {compose!r}; allowed are 'auto' and 'sum'")
    if compose == "sum" and kind != "composed":
        raise InputError(f"compose: 'sum' joins an image and a text, but the query is {kind} only")
    if without is not None and kind == "vector":
        raise InputError("without: a vector is searched as it is; subtract before, or describe it otherwise")
    vectors, lone_vector = _vectors(vector, dim) if vector is not None else (None, True)
    lists = {
        "text": _many(text, (str,)),
        "attributes": _many(attributes, (Mapping,)),
        "image": _many_images(image),
        "without": _many(without, (str,)),
    }
    sizes = {name: len(values) for name, (values, lone) in lists.items() if not lone}
    if vectors is not None and not lone_vector:
        sizes["vector"] = len(vectors)
    if len(set(sizes.values())) > 1:
        raise InputError(f"search: the lists differ in length ({_counts(sizes)}); give one entry per query")
    how: Literal["bundle", "sum"] | None = None
    if kind == "composed":
        how = "sum" if compose == "sum" else "bundle"
        if how == "bundle" and "query.composed" not in roles:
            raise MissingRoleError(
                "search: this bundle has no composer graph (role 'query.composed') for image and text; "
                "compose='sum' searches with unit(image + text) instead"
            )
    n = next(iter(sizes.values()), 1)
    asked = {name: values for name, (values, _) in lists.items()}
    return Asked(kind, n, vector=vectors, compose=how, **asked)


def encode(asked: Asked, encoder: Encoder) -> dict[str, Floats]:
    """The query as a sum of named terms, each (n, d): their sum is the vector to search with."""
    terms: dict[str, Floats] = {}
    if asked.n == 0:
        return {asked.kind: np.zeros((0, encoder.bundle.space.dim), np.float32)}
    if asked.vector is not None:
        terms["vector"] = asked.vector
    elif asked.kind == "composed" and asked.compose == "bundle":
        images, texts = (v * asked.n if len(v) == 1 else v for v in (asked.image, asked.text))
        terms["composed"] = encoder.composed(images, texts)
    else:
        if asked.attributes:
            terms["attributes"] = encoder.attributes(asked.attributes)
        if asked.image:
            terms["image"] = encoder.images(asked.image, role="query.image")
        if asked.text:
            terms["text"] = encoder.texts(asked.text)
    terms = {name: np.broadcast_to(v, (asked.n, v.shape[1])) for name, v in terms.items()}
    if len(terms) > 1:
        terms = _scaled(terms, "image and text point in opposite directions; their sum says nothing")
    if asked.without:
        without = encoder.texts(asked.without)
        terms["without"] = np.broadcast_to(-without, (asked.n, without.shape[1]))
        terms = _scaled(terms, "without: takes away the whole query; ask for something else than it excludes")
    return terms


def total(terms: Mapping[str, Floats]) -> Floats:
    """(n, d): the sum of the terms; of a single term, it itself."""
    vectors = list(terms.values())
    return np.ascontiguousarray(
        vectors[0] if len(vectors) == 1 else np.sum(vectors, axis=0, dtype=np.float32)
    )


def with_vectors(queries: Sequence[Query], vectors: Floats) -> tuple[Query, ...]:
    return tuple(replace(query, vector=vector) for query, vector in zip(queries, vectors, strict=True))


def excluded(exclude: Any, asked: Asked) -> list[list[Any]] | None:
    """``exclude`` per query: a list of ids serves every query, a list of n lists gives each its own."""
    if exclude is None:
        return None
    if isinstance(exclude, (str, bytes, int)) or not isinstance(exclude, Iterable):
        raise InputError(f"exclude: got {exclude!r}; give a list of ids, or one list per query")
    entries = [entry.tolist() if isinstance(entry, np.generic | np.ndarray) else entry for entry in exclude]
    nested = [not isinstance(entry, (str, int)) for entry in entries]
    if not any(nested):
        return [entries] * asked.n
    if not all(nested) or len(entries) != asked.n:
        raise InputError(
            f"exclude: got {len(entries)} lists for {asked.n} queries; give one list of ids, or one per query"
        )
    return [[i.tolist() if isinstance(i, np.generic) else i for i in entry] for entry in entries]


def is_single_image(value: object) -> bool:
    """Whether this is one picture rather than many."""
    if isinstance(value, np.ndarray):
        return value.ndim != 4
    return isinstance(value, (str, os.PathLike, bytes, bytearray, memoryview, Image.Image))


def whole(name: str, value: Any) -> int:
    """A whole number from 1, numpy's included; raises InputError."""
    try:
        number = -1 if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        number = -1
    if number < 1:
        raise InputError(f"{name}: got {value!r}; allowed are whole numbers from 1")
    return number


def least(value: Any) -> float | None:
    """``min_score``: None or a finite number; raises InputError."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not np.isfinite(value):
        raise InputError(f"min_score: got {value!r}; give a finite number")
    return float(value)


def check_vectors(name: str, value: Any, shape: tuple[int, ...]) -> Floats:
    """(n, *shape) float32, finite; raises VectorError."""
    array: npt.NDArray[Any] = np.asarray(value)
    wanted = f"(n, {', '.join(map(str, shape))})"
    if array.dtype.kind not in "fiu":
        raise VectorError(f"{name}: got {array.dtype}; give numbers {wanted} float32")
    if array.shape[1:] != shape or array.ndim != len(shape) + 1:
        raise VectorError(f"{name}: got shape {array.shape}; this bundle's vectors are {wanted}")
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(vectors).all():
        rows = np.flatnonzero(~np.isfinite(vectors).reshape(len(vectors), -1).all(axis=1))
        raise VectorError(f"{name}: row {rows[0]} holds NaN or infinity; leave such rows out")
    return vectors


def _vectors(value: Any, dim: int) -> tuple[Floats, bool]:
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of different length
        raise VectorError(f"vector: {error}; give ({dim},) or (n, {dim}) float32") from error
    lone = array.ndim == 1
    return check_vectors("vector", array[None] if lone else array, (dim,)), lone


def _many(value: Any, one: tuple[type, ...]) -> tuple[list[Any], bool]:
    """(values, whether it was a single one)."""
    if value is None:
        return [], True
    if isinstance(value, one) or not isinstance(value, Iterable):
        return [value], True
    return list(value), False


def _many_images(value: Any) -> tuple[list[Any], bool]:
    if value is None:
        return [], True
    if is_single_image(value) or not isinstance(value, Iterable):
        return [value], True
    return list(value), False


def _scaled(terms: Mapping[str, Floats], nothing_left: str) -> dict[str, Floats]:
    """The terms divided by the length of their sum."""
    length = np.linalg.norm(total(terms), axis=1, keepdims=True)
    if length.min(initial=1) < 1e-6:
        raise InputError(f"search: {nothing_left}")
    return {name: vectors / length for name, vectors in terms.items()}


def _counts(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {size}" for name, size in sizes.items())
