"""The record of an indexing job: what is to be done, in which order, and what became of each file.

One SQLite file per gallery, ``jobs.sqlite``, with a job per source. The listing is written whole, in one
transaction, before any work; its order is the order of insertion for good, so a job that was killed goes
on where it was and new files come last. The gallery is the truth about what it holds: a file counts as
done only after the gallery's own commit, and the job looks again in the gallery before it skips one.

A file's ``state`` says what is left to do and outlives runs:
``new`` (never finished), ``changed`` (size, time or path differ from what was indexed), ``metadata``
(only its metadata differ), ``done``. Its ``outcome`` says what this run made of it: ok, updated, skipped,
corrupt, refused, or "" when not reached.
"""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from .errors import JobError
from .listing import Item
from .types import Id

Outcome: TypeAlias = Literal["ok", "updated", "skipped", "corrupt", "refused"]
FILE_NAME = "jobs.sqlite"
_VERSION = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS job (job INTEGER PRIMARY KEY, source TEXT NOT NULL UNIQUE, run INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS file (
    job INTEGER NOT NULL, seq INTEGER NOT NULL, id NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL,
    mtime INTEGER NOT NULL, metadata TEXT NOT NULL, state TEXT NOT NULL, ours INTEGER NOT NULL,
    listed INTEGER NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (job, seq)) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS file_id ON file (job, id);
"""
_KNOWN = """UPDATE file SET
    state = CASE WHEN (size, mtime, path) IS NOT (:size, :mtime, :path) THEN 'changed'
                 WHEN metadata IS NOT :metadata AND state <> 'changed' THEN 'metadata' ELSE state END,
    size = :size, mtime = :mtime, path = :path, metadata = :metadata,
    listed = :run, outcome = :outcome, reason = :reason
    WHERE job = :job AND id = :id AND listed < :run"""
_NEW = """INSERT INTO file VALUES
    (:job, :seq, :id, :path, :size, :mtime, :metadata, 'new', 0, :run, :outcome, :reason)"""


@dataclass(frozen=True)
class Entry:
    """One listed file. ``ours``: this job put it into the gallery, at some time."""

    seq: int
    id: Id
    path: str
    metadata: dict[str, Any]
    state: str
    ours: bool
    outcome: str


@dataclass(frozen=True)
class Settled:
    """What became of the file at ``seq``; ``reason`` is "" unless it is corrupt or refused."""

    seq: int
    outcome: Outcome
    reason: str = ""


class JobRecord:
    """The job of one source. Raises JobError when the file is damaged or newer than this Labrador."""

    def __init__(self, file: Path, source: str) -> None:
        self.file = file
        with self._readable():
            self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
            try:
                version = self._db.execute("PRAGMA user_version").fetchone()[0]
                if version > _VERSION:
                    raise JobError(
                        f"{file} was written by a newer Labrador (version {version}, known {_VERSION})"
                    )
                # Behind the gallery after a power cut is fine, ahead of it never: see the module's docstring.
                self._db.executescript(
                    f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA secure_delete=ON;"
                    f"BEGIN; {_TABLES} PRAGMA user_version={_VERSION}; COMMIT;"
                )
                self._db.execute("INSERT OR IGNORE INTO job (source, run) VALUES (?, 0)", (source,))
                found = self._db.execute("SELECT job, run FROM job WHERE source = ?", (source,)).fetchone()
            except BaseException:
                self._db.close()
                raise
        self._job, self._run = found

    def close(self) -> None:
        self._db.close()

    def write_listing(self, items: Iterable[Item]) -> None:
        """Begin a run: all items or, on an error, none. Raises JobError when an id comes twice."""
        with self._transaction():
            run, job = self._run + 1, self._job
            self._db.execute("UPDATE job SET run = ? WHERE job = ?", (run, job))
            seq = self._db.execute(
                "SELECT coalesce(max(seq) + 1, 0) FROM file WHERE job = ?", (job,)
            ).fetchone()[0]
            for item in items:
                row = {
                    "job": job, "run": run, "seq": seq, "id": item.id, "path": item.path, "size": item.size,
                    "mtime": item.mtime, "metadata": json.dumps(item.metadata),
                    "outcome": "refused" if item.refused else "", "reason": item.refused,
                }  # fmt: skip
                if self._db.execute(_KNOWN, row).rowcount:
                    continue
                try:
                    self._db.execute(_NEW, row)
                except sqlite3.IntegrityError as error:
                    raise JobError(
                        f"source: the id {item.id!r} comes twice, the second time for {item.path!r}; ids are "
                        "unique, so give each row its own in an id column"
                    ) from error
                seq += 1
        self._run = run

    def chunks(self, size: int) -> Iterator[list[Entry]]:
        """The listed files in order. A chunk is a fixed range of places, whatever was done before.

        So a picture is embedded beside the same neighbours in a resumed job, and gets the same bits.
        """
        last = self._one("SELECT coalesce(max(seq), -1) FROM file WHERE job = ?", self._job)
        for start in range(0, last + 1, size):
            rows = self._db.execute(
                "SELECT seq, id, path, metadata, state, ours, outcome FROM file "
                "WHERE job = ? AND seq >= ? AND seq < ? AND listed = ? ORDER BY seq",
                (self._job, start, start + size, self._run),
            ).fetchall()
            if rows:
                yield [Entry(r[0], r[1], r[2], json.loads(r[3]), r[4], bool(r[5]), r[6]) for r in rows]

    def settle(self, settled: Sequence[Settled]) -> None:
        """Write down outcomes; those now in the gallery become ``done``."""
        with self._transaction():
            for s in settled:
                done = s.outcome in ("ok", "updated", "skipped")
                self._db.execute(
                    "UPDATE file SET outcome = ?, reason = ?, ours = ours OR ?, "
                    "state = CASE WHEN ? THEN 'done' ELSE state END WHERE job = ? AND seq = ?",
                    (s.outcome, s.reason, done, done, self._job, s.seq),
                )

    def forget(self, held: Callable[[Id], bool]) -> int:
        """Drop files that are neither listed nor held by the gallery; how many are still held.

        So a person's file names leave the record once the pictures are gone from folder and gallery.
        """
        rows = self._db.execute(
            "SELECT seq, id FROM file WHERE job = ? AND listed < ?", (self._job, self._run)
        ).fetchall()
        lost = [(self._job, seq) for seq, id in rows if not held(id)]
        if lost:
            with self._transaction():
                self._db.executemany("DELETE FROM file WHERE job = ? AND seq = ?", lost)
        return len(rows) - len(lost)

    def total(self) -> int:
        """Files listed in this run."""
        return self._one("SELECT count(*) FROM file WHERE job = ? AND listed = ?", self._job, self._run)

    def counts(self) -> dict[str, int]:
        """Outcome → files of this run; "" counts those not reached."""
        return dict(
            self._db.execute(
                "SELECT outcome, count(*) FROM file WHERE job = ? AND listed = ? GROUP BY outcome",
                (self._job, self._run),
            ).fetchall()
        )

    def failures(self, limit: int) -> list[tuple[Id, str]]:
        """(id, reason) of the first corrupt or refused files of this run, in order."""
        return self._db.execute(
            "SELECT id, reason FROM file WHERE job = ? AND listed = ? AND outcome IN ('corrupt', 'refused') "
            "ORDER BY seq LIMIT ?",
            (self._job, self._run, limit),
        ).fetchall()

    def write_report(self, path: str | Path) -> None:
        """A CSV with a line per file of this run: id, path, status, reason."""
        rows = self._db.execute(
            "SELECT id, path, CASE outcome WHEN '' THEN 'not reached' ELSE outcome END, reason FROM file "
            "WHERE job = ? AND listed = ? ORDER BY seq",
            (self._job, self._run),
        )
        try:
            with closing(rows), open(path, "w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(["id", "path", "status", "reason"])
                writer.writerows(rows)
        except OSError as error:
            raise JobError(f"report: can't write {str(path)!r} ({error.strerror})") from error

    def _one(self, sql: str, *values: object) -> int:
        return int(self._db.execute(sql, values).fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._readable():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:  # a full disk has rolled back by itself
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise JobError(
                f"the job record {self.file} can't be used ({error}); with room on the disk and nobody else "
                "indexing, delete it and run the job again: what the gallery holds is kept and skipped"
            ) from error


def jobs_in(gallery: Path) -> dict[str, str]:
    """The sources indexed into a gallery → how many files of each are done."""
    if not (gallery / FILE_NAME).is_file():
        return {}
    query = (
        "SELECT source, sum(state IS 'done'), count(state) FROM job LEFT JOIN file USING (job) GROUP BY job"
    )
    with closing(sqlite3.connect((gallery / FILE_NAME).resolve().as_uri() + "?mode=ro", uri=True)) as db:
        try:
            return {
                source: f"{done or 0:,} of {files:,} files done" for source, done, files in db.execute(query)
            }
        except sqlite3.DatabaseError as error:
            return {FILE_NAME: f"can't be read ({error})"}


def erase_from_jobs(gallery: Path, ids: Sequence[Id]) -> None:
    """Take ids, with their paths and metadata, out of every job's record and out of its file's bytes."""
    if not (gallery / FILE_NAME).is_file():
        return
    with closing(sqlite3.connect(gallery / FILE_NAME, isolation_level=None)) as db:
        db.execute("PRAGMA secure_delete = ON")
        db.executemany("DELETE FROM file WHERE id = ?", [(id,) for id in ids])
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
