"""The SQLite side of a gallery: which rows exist, where they lie, their metadata.

SQLite decides what is committed: a row is there when its transaction is, and the vectors it points at
were fsynced before that. WAL mode lets readers go on while a writer commits.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import GalleryDamagedError, GalleryError
from ..types import Id, Space
from .segments import BLOCK_ROWS, SEGMENT_ROWS, Layout

DATABASE = "gallery.db"
FORMAT = 1
_APPLICATION = 0x4C616247  # "LabG", so that another program's database is not taken for a gallery
_CHUNK = 500  # SQLite before 3.32 takes at most 999 variables

# rows.place: rank in insertion order. rows.slot: where the vector lies. columns.data: see columns.py.
# segments: vectors and places have one CRC-32 per block; `dead` is one bit per row, NULL when all live;
# `ordered` when places ascend; `generation` when it last changed.
_SCHEMA = f"""
CREATE TABLE state (
    space TEXT NOT NULL, segment_rows INTEGER NOT NULL, block_rows INTEGER NOT NULL, id_kind TEXT,
    generation INTEGER NOT NULL, count INTEGER NOT NULL, next_place INTEGER NOT NULL,
    next_segment INTEGER NOT NULL, created TEXT NOT NULL);
CREATE TABLE rows (
    place INTEGER PRIMARY KEY, id NOT NULL UNIQUE, slot INTEGER NOT NULL, engine INTEGER,
    metadata TEXT NOT NULL);
CREATE TABLE segments (
    id INTEGER PRIMARY KEY, rows INTEGER NOT NULL, ordered INTEGER NOT NULL, dead BLOB,
    vector_crcs BLOB NOT NULL, place_crcs BLOB NOT NULL, generation INTEGER NOT NULL);
CREATE TABLE fields (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE columns (
    field INTEGER NOT NULL, segment INTEGER NOT NULL, block INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (field, segment, block));
CREATE TABLE engines (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {FORMAT};
"""


@dataclass
class State:
    """The gallery's one-row table; a writer changes it and stores it at its commit."""

    space: Space
    layout: Layout
    id_kind: str | None  # "str" or "int", from the first add on
    generation: int  # rises with every commit
    count: int
    next_place: int
    next_segment: int  # never used twice: readers remember files by it


def connect(folder: Path, mode: str = "ro") -> sqlite3.Connection:
    """``mode``: ro, rw, rwc (create). A connection moves between threads but serves one at a time."""
    uri = (folder.resolve() / DATABASE).as_uri()
    if mode == "ro" and not (folder / (DATABASE + "-wal")).exists() and not os.access(folder, os.W_OK):
        uri += "?immutable=1"  # a read-only disk, where SQLite can't put its shared index
    else:
        uri += f"?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
    if mode != "ro":
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
    return connection


def commit(connection: sqlite3.Connection) -> None:
    connection.execute("COMMIT")


def is_gallery(folder: Path) -> bool:
    """False for a missing or empty place and for a creation that was cut short; else checks that it is a
    gallery this version can read, and raises GalleryError."""
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise GalleryError(f"path: {folder} is a file; a local gallery is a directory")
    if not (folder / DATABASE).exists():
        ours = ("writer.lock", DATABASE)  # the database where another process makes it just now
        if any(not entry.name.startswith(ours) for entry in folder.iterdir()):
            raise GalleryError(f"path: {folder} holds other files and no {DATABASE}: it isn't a gallery")
        return False
    connection = connect(folder)
    try:
        connection.execute("BEGIN")
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        raise GalleryDamagedError(f"{folder / DATABASE} can't be read: {error}") from error
    finally:
        connection.close()
    if application != _APPLICATION and tables:
        raise GalleryError(f"path: {folder / DATABASE} isn't a gallery's database")
    if version > FORMAT:
        raise GalleryError(
            f"{folder} has gallery format {version}; this version of Labrador reads up to {FORMAT}. "
            "Upgrade labrador-retriever."
        )
    return bool(tables)


def create(folder: Path, space: Space) -> None:
    """Write an empty gallery's tables; the caller holds the writer lock."""
    connection = connect(folder, "rwc")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA}")
        connection.execute(
            "INSERT INTO state VALUES (?, ?, ?, NULL, 1, 0, 0, 1, datetime('now'))",
            (json.dumps(asdict(space)), SEGMENT_ROWS, BLOCK_ROWS),
        )
        commit(connection)
    finally:
        connection.close()


def read_state(connection: sqlite3.Connection) -> State:
    text, segment_rows, block_rows, *rest = connection.execute(
        "SELECT space, segment_rows, block_rows, id_kind, generation, count, next_place, next_segment "
        "FROM state"
    ).fetchone()
    space = Space(**json.loads(text))
    return State(space, Layout(space.dim, space.tokens, segment_rows, block_rows), *rest)


def write_state(connection: sqlite3.Connection, state: State) -> None:
    connection.execute(
        "UPDATE state SET id_kind = ?, generation = ?, count = ?, next_place = ?, next_segment = ?",
        (state.id_kind, state.generation, state.count, state.next_place, state.next_segment),
    )


def find(connection: sqlite3.Connection, ids: Sequence[Id], columns: str) -> dict[Id, tuple[Any, ...]]:
    """``columns`` of the rows with these ids, by id; unknown ids are left out."""
    return {row[0]: row[1:] for row in _among(connection, f"id, {columns}", "id", ids)}


def at_places(
    connection: sqlite3.Connection, places: Sequence[int], columns: str
) -> dict[int, tuple[Any, ...]]:
    """``columns`` of the rows at these places, by place."""
    return {row[0]: row[1:] for row in _among(connection, f"place, {columns}", "place", places)}


def in_slots(connection: sqlite3.Connection, first: int, last: int, column: str) -> dict[int, Any]:
    """Slot → ``column`` of the rows that lie in slots first..last-1, in insertion order. Reads the whole
    table: for repairs, where the places in a segment file can't be trusted."""
    query = f"SELECT slot, {column} FROM rows WHERE slot >= ? AND slot < ? ORDER BY place"
    return dict(connection.execute(query, (first, last)).fetchall())


def name_id(connection: sqlite3.Connection, table: str, name: str) -> int:
    """The number of a name in ``fields`` or ``engines``; a new name gets one."""
    connection.execute(f"INSERT OR IGNORE INTO {table} (name) VALUES (?)", (name,))
    found: int = connection.execute(f"SELECT id FROM {table} WHERE name = ?", (name,)).fetchone()[0]
    return found


def documents(texts: Iterable[str]) -> list[dict[str, Any]]:
    """Metadata texts parsed, in one go because that is three times as fast."""
    parsed: list[dict[str, Any]] = json.loads(f"[{','.join(texts)}]")
    return parsed


def engines(connection: sqlite3.Connection) -> dict[str | None, int]:
    """How many rows each engine wrote; None for rows written without saying."""
    query = "SELECT name, count(*) FROM rows LEFT JOIN engines ON engines.id = rows.engine GROUP BY name"
    return dict(connection.execute(query).fetchall())


def _among(connection: sqlite3.Connection, columns: str, key: str, values: Sequence[Any]) -> Iterable[Any]:
    for start in range(0, len(values), _CHUNK):
        chunk = values[start : start + _CHUNK]
        marks = ",".join("?" * len(chunk))
        yield from connection.execute(f"SELECT {columns} FROM rows WHERE {key} IN ({marks})", chunk)


class Connections:
    """Read connections, one per search at a time, kept for the next one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._free: list[sqlite3.Connection] = []
        self._closed = False

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection inside a read transaction: everything read through it is one snapshot."""
        if self._closed:
            raise GalleryError(f"{self._folder}: this gallery is closed; open it again")
        connection = None
        try:
            try:
                connection = self._free.pop()  # list.pop and append are atomic
            except IndexError:
                connection = connect(self._folder)
            connection.execute("BEGIN")
            yield connection
        except sqlite3.OperationalError as error:
            raise GalleryError(f"{self._folder / DATABASE} can't be read: {error}") from error
        except sqlite3.DatabaseError as error:
            raise GalleryDamagedError(
                f"{self._folder / DATABASE} is damaged: {error}. Restore it from a copy, or index again."
            ) from error
        finally:
            if connection is not None:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self._free.append(connection)
            if self._closed:
                self.close()

    def forget(self) -> None:
        """After fork: these connections are the parent's."""
        abandon(*self._free)
        self._free = []

    def close(self) -> None:
        self._closed = True
        while self._free:
            self._free.pop().close()


_abandoned: list[sqlite3.Connection] = []


def abandon(*connections: sqlite3.Connection) -> None:
    """Leave a parent's connections alone: even closing one here would disturb the parent's."""
    _abandoned.extend(connections)
