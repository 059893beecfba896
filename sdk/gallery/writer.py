"""The one writer of a gallery."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import GalleryWriteError
from . import rows
from .codes import SUFFIX, codes_name
from .compaction import scrub
from .locks import WriterLock
from .segments import SegmentFile, segment_name
from .transaction import Transaction


class Writer:
    """Holds the writer lock from the first write on, and runs one transaction at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = WriterLock(folder / "writer.lock")
        self._turn = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._unsettled = False
        self._trusted: set[int] = set()

    def start(self) -> sqlite3.Connection:
        """Take the lock and sweep what a killed writer left; raises GalleryLockedError."""
        with self._turn:
            if self._connection is None:
                self._lock.acquire()
                self._trusted = set()
                try:
                    self._connection = rows.connect(self._folder, "rw")
                    self._sweep(self._connection)
                except (sqlite3.Error, OSError) as error:
                    self.close()
                    raise GalleryWriteError(f"{self._folder} can't be opened for writing: {error}") from error
            return self._connection

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """All of the body's writes or none; a refusing disk becomes GalleryWriteError."""
        with self._turn:
            connection = self.start()
            current = None
            try:
                self._settle(connection)
                connection.execute("BEGIN IMMEDIATE")
                current = Transaction(connection, self._folder, self._trusted)
                yield current
                self._unsettled = True
                current.commit()
                self._unsettled = False
            except BaseException as error:
                self._undo(connection, current)
                if isinstance(error, (OSError, sqlite3.Error)):
                    raise GalleryWriteError(
                        f"{self._folder}: the write failed ({error}); nothing of this call was kept, the "
                        "gallery is as before. Free some space or check the disk, then call again."
                    ) from error
                raise
            current.finish()

    def scrub(self) -> None:
        """Rewrite the database so that nothing deleted is left in its files."""
        with self._turn:
            scrub(self.start())

    def forget(self) -> None:
        """After fork: the parent goes on writing; this process would have to open the gallery anew."""
        if self._connection is not None:
            rows.abandon(self._connection)
        self._connection = None
        self._turn = threading.RLock()
        self._lock.forget()

    def close(self) -> None:
        with self._turn:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            self._lock.release()

    def _undo(self, connection: sqlite3.Connection, current: Transaction | None) -> None:
        with contextlib.suppress(sqlite3.Error):
            if current is not None and current.is_committed():  # Ctrl-C came while COMMIT was returning
                self._unsettled = False
                current.finish()
                return
            self._settle(connection)
        if current is not None:
            current.close() if self._unsettled else current.undo()

    def _settle(self, connection: sqlite3.Connection) -> None:
        """End what an error left open. A COMMIT that failed may still lie whole in SQLite's log, and would
        count after a power loss: only another commit on top of it frees the bytes that it points at."""
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if self._unsettled:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE state SET generation = generation + 1")
            rows.commit(connection)
            self._unsettled = False

    def _sweep(self, connection: sqlite3.Connection) -> None:
        layout = rows.read_state(connection).layout
        counts = dict(connection.execute("SELECT id, rows FROM segments").fetchall())
        known = {segment_name(number): count for number, count in counts.items()}
        for path in self._folder.glob("*.seg"):
            if path.name not in known:
                path.unlink()
            elif path.stat().st_size > layout.length(known[path.name]):
                file = SegmentFile(path, layout)
                file.truncate(known[path.name])
                file.close()
        full = {codes_name(number) for number, count in counts.items() if count == layout.segment_rows}
        for path in self._folder.glob(f"*{SUFFIX}*"):
            if path.name not in full:
                path.unlink()
