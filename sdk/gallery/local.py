"""The gallery in a directory: SQLite rows beside segments of vectors, searched exactly.

Files: ``gallery.db`` (rows.py), ``<number>.seg`` (segments.py), ``<number>.codes`` (codes.py),
``writer.lock`` (locks.py).
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GalleryError, IdError, InputError
from ..jobrecord import erase_from_jobs
from ..types import Floats, Hits, Id, Metadata, Row, Space, Where
from . import checks, rows
from .compaction import compact
from .creation import create, same_space
from .filters import parse
from .masks import Masks
from .search import best
from .snapshot import Snapshot, Snapshots, read_vectors
from .transaction import Transaction
from .writer import Writer


class LocalGallery:
    """Vectors and metadata in a directory; see ``sdk.gallery.open_gallery`` for the arguments.

    Safe to search from many threads and to use after fork; other processes may search while one writes.
    """

    exact = True
    late = True
    durable = True

    def __init__(
        self,
        path: str | Path,
        space: Space | None = None,
        *,
        write: bool | None = None,
        engine: str | None = None,
    ) -> None:
        self._folder = Path(path)
        self._write, self._engine = write, engine
        if not rows.is_gallery(self._folder):
            create(self._folder, space, write)
        self._pid = os.getpid()
        self._closed = False
        self._masks = Masks()
        self._snapshots = Snapshots(self._folder)
        self._writer = Writer(self._folder)
        try:
            if write:
                self._writer.start()
            with self._snapshots.view() as (connection, _):
                self._space = rows.read_state(connection).space
            same_space(self._folder, self._space, space)
        except BaseException:
            self.close()
            raise

    @property
    def space(self) -> Space:
        return self._space

    def add(self, ids: Sequence[Id], vectors: Floats, metadata: Sequence[Metadata] | None = None) -> None:
        """Add rows; they are on the disk when this returns, all of them or (with any error) none.

        ``ids`` n strings of 1 to 256 bytes, or n integers. ``vectors`` (n, d) or (n, t, d) float32; float16
        and float64 are converted. ``metadata`` n dictionaries of what JSON holds, with string keys.
        Raises IdError (kind, duplicate, already there), VectorError, InputError, GalleryLockedError,
        GalleryWriteError.
        """
        plain = checks.ids(ids)
        array = checks.vectors(vectors, self._space, len(plain))
        documents, texts = checks.metadata(metadata, len(plain))
        if not plain:
            return
        with self._writing() as transaction:
            state = transaction.state
            checks.one_kind(plain, state.id_kind)
            state.id_kind = type(plain[0]).__name__
            places = np.arange(state.next_place, state.next_place + len(plain), dtype=np.int64)
            slots = transaction.append(places, array, documents)
            engine = self._engine_id(transaction.connection)
            values = zip(places.tolist(), plain, slots.tolist(), [engine] * len(plain), texts, strict=True)
            try:
                transaction.connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?)", values)
            except sqlite3.IntegrityError:
                known = rows.find(transaction.connection, plain, "place")
                taken = [i for i in plain if i in known and known[i][0] < state.next_place]
                raise IdError(
                    f"ids: {_some(taken)} already in {self._folder}; use update() to replace, and nothing of "
                    "this call was added"
                ) from None
            state.count += len(plain)
            state.next_place += len(plain)

    def update(
        self, ids: Sequence[Id], vectors: Floats | None = None, metadata: Sequence[Metadata] | None = None
    ) -> None:
        """Replace vectors, metadata or both; what is None stays. Rows keep their place in the tie order.

        All or nothing, like ``add``. Each row is written anew: ``compact`` frees the old copies.
        """
        plain = checks.ids(ids)
        if vectors is None and metadata is None:
            raise InputError("update: give vectors, metadata or both")
        array = None if vectors is None else checks.vectors(vectors, self._space, len(plain))
        documents, texts = checks.metadata(metadata, len(plain))
        if not plain:
            return
        with self._writing() as transaction:
            found = self._known(transaction.connection, plain, "place, slot, engine, metadata")
            places, slots, engines, kept = zip(*found, strict=True)
            if metadata is None:
                documents, texts = [json.loads(text) for text in kept], list(kept)
            if array is None:
                array = read_vectors(transaction.connection, self._snapshots.latest(), slots)
            else:
                engines = (self._engine_id(transaction.connection),) * len(plain)
            order = np.argsort(places)  # ascending, to stay in order where possible
            where = np.array(places, np.int64)[order]
            ordered = [documents[i] for i in order]
            transaction.kill(np.array(slots, np.int64))
            new = np.empty(len(plain), np.int64)
            new[order] = transaction.append(where, np.ascontiguousarray(array[order]), ordered)
            transaction.connection.executemany(
                "UPDATE rows SET slot = ?, engine = ?, metadata = ? WHERE place = ?",
                zip(new.tolist(), engines, texts, places, strict=True),
            )

    def remove(self, ids: Sequence[Id]) -> None:
        """Take rows out of every later search; raises IdError when one isn't there, and removes none."""
        plain = checks.ids(ids)
        if plain:
            with self._writing() as transaction:
                self._remove(transaction, plain)

    def compact(self) -> None:
        """Free the disk space of removed and replaced rows; searches go on meanwhile."""
        with self._writing() as transaction:
            compact(transaction, self._snapshots.latest())

    def erase(self, ids: Sequence[Id]) -> None:
        """Remove rows so that no file of the gallery holds their ids, vectors or metadata any more.

        Rewrites the segments that lost rows and the database, and takes the ids out of indexing jobs'
        records. Copies outside (backups, file-system snapshots, the disk's spare blocks) are not reached.
        """
        plain = checks.ids(ids)
        with self._writing() as transaction:
            if plain:
                self._remove(transaction, plain)
                erase_from_jobs(self._folder, plain)
            compact(transaction, self._snapshots.latest())
        self._writer.scrub()

    def get(self, ids: Sequence[Id]) -> list[Row | None]:
        """The rows as stored, None for ids that aren't there; vectors are copies."""
        plain = checks.ids(ids)
        with self._view() as (connection, snapshot):
            checks.one_kind(plain, snapshot.id_kind)
            found = rows.find(connection, plain, "slot, metadata")
            known = [i for i in plain if i in found]
            vectors = read_vectors(connection, snapshot, [found[i][0] for i in known])
            made = {i: Row(i, v, json.loads(found[i][1])) for i, v in zip(known, vectors, strict=True)}
        return [made.get(i) for i in plain]

    def search(
        self,
        queries: Floats,
        k: int,
        where: Where | None = None,
        exclude: Sequence[Sequence[Id]] | None = None,
        min_score: float | None = None,
    ) -> Hits:
        """The k best rows for each query (n, d), exactly: score descending, ties by insertion order.

        ``where``: a filter (filters.py). ``exclude``: per query, ids not to return; unknown ones do no harm.
        ``min_score``: the least score to return. Fewer than k matches are padded with None and -inf.
        """
        array = checks.queries(queries, self._space)
        k, least = checks.count(k), checks.least(min_score)
        without = None if exclude is None else checks.excluded(exclude, len(array))
        node = None if where is None else parse(where)
        with self._view() as (connection, snapshot):
            masks = self._masks.of(connection, snapshot, node)
            never = None
            if without is not None:
                for row in without:
                    checks.one_kind(row, snapshot.id_kind, "exclude")
                known = rows.find(connection, list({i for row in without for i in row}), "place")
                never = [[known[i][0] for i in row if i in known] for row in without]
            places, scores = best(connection, snapshot, masks, array, k, never, least, self._space.top_tokens)
            distinct, inverse = np.unique(places, return_inverse=True)
            named = rows.at_places(connection, [p for p in distinct.tolist() if p >= 0], "id")
        names = np.array([named[p][0] if p >= 0 else None for p in distinct.tolist()], object)
        return Hits(names[inverse.reshape(places.shape)], scores, self._metadata)

    def info(self) -> dict[str, Any]:
        """Rows, dead rows still on the disk, segments, those of them with codes, space, rows per engine."""
        with self._view() as (connection, snapshot):
            return {
                "format": rows.FORMAT,
                "space": self._space,
                "rows": snapshot.count,
                "removed": sum(s.rows for s in snapshot.segments) - snapshot.count,
                "segments": len(snapshot.segments),
                "coded": sum(s.screen is not None and s.screen.is_stored() for s in snapshot.segments),
                "engines": rows.engines(connection),
            }

    def __contains__(self, id: object) -> bool:
        try:
            plain = checks.ids([id])
        except IdError:
            return False
        with self._view() as (connection, _):
            return bool(rows.find(connection, plain, "slot"))

    def __len__(self) -> int:
        with self._view() as (_, snapshot):
            return snapshot.count

    def __enter__(self) -> LocalGallery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the writer lock and the files; calling it again does nothing."""
        self._after_fork()
        self._closed = True
        self._snapshots.close()
        self._writer.close()

    @contextmanager
    def _view(self) -> Iterator[tuple[sqlite3.Connection, Snapshot]]:
        self._after_fork()
        with self._snapshots.view() as seen:
            yield seen

    @contextmanager
    def _writing(self) -> Iterator[Transaction]:
        self._after_fork()
        if self._closed:
            raise GalleryError(f"{self._folder}: this gallery is closed; open it again")
        if self._write is False:
            raise GalleryError(
                f"{self._folder} was opened with write=False; open it again without that to change it"
            )
        with self._writer.transaction() as transaction:
            yield transaction

    def _after_fork(self) -> None:
        """In a forked child: start over with its own connections and locks; the parent keeps writing."""
        if os.getpid() != self._pid:
            self._pid = os.getpid()
            self._snapshots.forget()
            self._writer.forget()
            self._masks.forget()

    def _engine_id(self, connection: sqlite3.Connection) -> int | None:
        return None if self._engine is None else rows.name_id(connection, "engines", self._engine)

    def _known(self, connection: sqlite3.Connection, plain: list[Id], columns: str) -> list[tuple[Any, ...]]:
        """``columns`` of each id's row; raises IdError when one has none."""
        checks.one_kind(plain, rows.read_state(connection).id_kind)
        found = rows.find(connection, plain, columns)
        if len(found) < len(plain):
            raise IdError(f"ids: {_some([i for i in plain if i not in found])} not in {self._folder}")
        return [found[i] for i in plain]

    def _remove(self, transaction: Transaction, plain: list[Id]) -> None:
        found = self._known(transaction.connection, plain, "place, slot")
        transaction.kill(np.array([slot for _, slot in found], np.int64))
        transaction.connection.executemany(
            "DELETE FROM rows WHERE place = ?", [(place,) for place, _ in found]
        )
        transaction.state.count -= len(plain)

    def _metadata(self, ids: Sequence[Id]) -> list[dict[str, Any] | None]:
        with self._view() as (connection, _):
            found = rows.find(connection, list(dict.fromkeys(ids)), "metadata")
        return [json.loads(found[i][0]) if i in found else None for i in ids]


def _some(ids: Sequence[Id]) -> str:
    shown = ", ".join(repr(i) for i in ids[:5])
    return shown + (f" and {len(ids) - 5} more are" if len(ids) > 5 else " are" if len(ids) > 1 else " is")
