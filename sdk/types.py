"""What flows through the SDK: spaces, rows, hits, and the protocols of galleries and sessions.

Letters: n queries, m gallery rows, d dimension, t tokens per item, k hits.
Score: higher is better, everywhere. Best first; ties by insertion order. A query with fewer than k
matches is padded with id ``None`` and score ``-inf``, so that ids and scores are always (n, k).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

Id: TypeAlias = str | int
Metadata: TypeAlias = Mapping[str, Any]
Where: TypeAlias = Mapping[str, Any]
Floats: TypeAlias = npt.NDArray[np.float32]
QueryKind: TypeAlias = Literal["text", "attributes", "image", "composed", "vector"]


@dataclass(frozen=True)
class Space:
    """What makes two vectors comparable: who made them, and how they are scored.

    ``hash`` names the graphs and preprocessing behind the gallery vectors ("" for vectors of one's
    own). An item is (d,) when ``tokens`` is 1, else (t, d); its score for a query is the mean of the
    ``top_tokens`` largest of the t dot products.
    """

    hash: str
    dim: int
    tokens: int = 1
    top_tokens: int = 1


@dataclass(frozen=True)
class Row:
    """One gallery item as stored: ``vector`` is (d,) or (t, d) float32."""

    id: Id
    vector: Floats
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Query:
    """What was asked, kept beside the hits so that they can be drawn and explained."""

    kind: QueryKind
    text: str | None = None
    image: Any = field(default=None, compare=False)  # as given: a path, bytes, a PIL image or an array
    attributes: Mapping[str, str] | None = None
    without: str | None = None
    compose: Literal["bundle", "sum"] | None = None  # how a picture and a text became one vector
    vector: Floats | None = field(default=None, repr=False, compare=False)  # (d,), what was searched with


@dataclass(frozen=True)
class Hit:
    """One found item."""

    id: Id
    score: float
    metadata: dict[str, Any]


class Ranking(Sequence[Hit]):
    """The hits of one query: ``ids`` (k,) object, ``scores`` (k,) float32, ``metadata`` k entries.

    The arrays keep their padding; iterating yields only the found items.
    """

    def __init__(self, hits: Hits, row: int) -> None:
        self._hits, self._row = hits, row
        self.ids: npt.NDArray[np.object_] = hits.ids[row]
        self.scores: Floats = hits.scores[row]

    @property
    def query(self) -> Query | None:
        return self._hits.queries[self._row] if self._hits.queries else None

    @property
    def metadata(self) -> list[dict[str, Any] | None]:
        return self._hits.metadata[self._row]

    def __len__(self) -> int:
        return sum(i is not None for i in self.ids)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        size = len(self)
        if not -size <= place < size:
            raise IndexError(f"place {place} of a ranking with {size} hits")
        place %= size
        return Hit(self.ids[place], float(self.scores[place]), self.metadata[place] or {})

    def __repr__(self) -> str:
        rows = (f"  {i + 1:>3}  {h.score:+.4f}  {h.id}  {h.metadata or ''}" for i, h in enumerate(self))
        return "\n".join([f"Ranking of {len(self)}", *rows])


@dataclass(frozen=True)
class Hits(Sequence[Ranking]):
    """The answer of a search: ``ids`` (n, k) object, ``scores`` (n, k) float32.

    ``metadata`` is fetched on first use, then kept: an item removed before that has ``None``, as has a
    missing place. ``hits[0]`` is the ranking of the first query.
    """

    ids: npt.NDArray[np.object_]
    scores: Floats
    fetch: Callable[[Sequence[Id]], Sequence[dict[str, Any] | None]] | None = None
    queries: tuple[Query, ...] = ()
    _metadata: list[list[dict[str, Any] | None]] = field(default_factory=list, repr=False, compare=False)

    @property
    def metadata(self) -> list[list[dict[str, Any] | None]]:
        if not self._metadata:
            known = list(dict.fromkeys(i for i in self.ids.ravel() if i is not None))
            found = self.fetch(known) if self.fetch and known else [{} for _ in known]
            by_id = dict(zip(known, found, strict=True))
            self._metadata.extend([None if i is None else by_id[i] for i in row] for row in self.ids)
        return self._metadata

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return [Ranking(self, i) for i in range(*row.indices(len(self)))]
        if not -len(self) <= row < len(self):
            raise IndexError(f"query {row} of hits for {len(self)} queries")
        return Ranking(self, row % len(self))

    def __iter__(self) -> Iterator[Ranking]:
        return (Ranking(self, i) for i in range(len(self)))

    def __repr__(self) -> str:
        return "\n".join(repr(r) for r in self) or "Hits of no query"

    def save_sheet(self, path: str | Path, *, columns: int | None = None) -> Path:
        """Draw each query and its hits as a contact sheet (PNG or JPEG by suffix)."""
        from .render import save_sheet

        return save_sheet(self, path, columns=columns)

    def _repr_html_(self) -> str:
        from .render import to_html

        return to_html(self)


@runtime_checkable
class Gallery(Protocol):
    """A place for vectors. ``exact``: the contract's scores and order; ``late``: takes (t, d) items;
    ``durable``: what ``add`` returned from survives power loss. The contract test holds a backend to it.
    """

    exact: bool
    late: bool
    durable: bool

    @property
    def space(self) -> Space: ...
    def add(self, ids: Sequence[Id], vectors: Floats, metadata: Sequence[Metadata] | None = None) -> None: ...
    def remove(self, ids: Sequence[Id]) -> None: ...
    def update(
        self, ids: Sequence[Id], vectors: Floats | None = None, metadata: Sequence[Metadata] | None = None
    ) -> None: ...
    def get(self, ids: Sequence[Id]) -> list[Row | None]: ...
    def search(
        self,
        queries: Floats,
        k: int,
        where: Where | None = None,
        exclude: Sequence[Sequence[Id]] | None = None,
        min_score: float | None = None,
    ) -> Hits: ...
    def compact(self) -> None: ...
    def erase(self, ids: Sequence[Id]) -> None: ...
    def __contains__(self, id: object) -> bool: ...
    def __len__(self) -> int: ...
    def close(self) -> None: ...


@runtime_checkable
class Session(Protocol):
    """An engine that runs a bundle's graphs. ``report`` says what really runs, and why."""

    report: dict[str, Any]

    def run(self, graph: str, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]: ...
    def close(self) -> None: ...
