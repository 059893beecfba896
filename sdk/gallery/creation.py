"""Making a new gallery."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from ..errors import GalleryError, GalleryLockedError, GalleryWriteError, InputError, SpaceMismatchError
from ..types import Space
from . import rows
from .locks import WriterLock
from .segments import sync_folder

_WAIT = 10.0  # seconds for another process that is just making the same gallery


def create(folder: Path, space: Space | None, write: bool | None) -> None:
    """Make an empty gallery in a missing or empty directory; does nothing if another process just did."""
    if space is None or write is False:
        raise GalleryError(
            f"path: there is no gallery at {folder}; to make one, open it with its space and for writing"
        )
    for name in ("dim", "tokens", "top_tokens"):
        checked = getattr(space, name)
        if not isinstance(checked, int) or checked < 1:
            raise InputError(f"space.{name}: {checked!r}; an integer of at least 1")
    if space.top_tokens > space.tokens:
        raise InputError(
            f"space.top_tokens: {space.top_tokens} of {space.tokens} tokens; at most all of them"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _locked(folder)
        try:
            if not rows.is_gallery(folder):
                rows.create(folder, space)
                sync_folder(folder)
                sync_folder(folder.resolve().parent)
        finally:
            lock.release()
    except (OSError, sqlite3.Error) as error:
        raise GalleryWriteError(f"path: a gallery can't be made at {folder}: {error}") from error


def same_space(folder: Path, recorded: Space, asked: Space | None) -> None:
    """Refuse a gallery whose vectors another model made."""
    if asked not in (None, recorded):
        told = [
            f"space {s.hash or '(your own vectors)'}, d {s.dim}, t {s.tokens}, top {s.top_tokens}"
            for s in (recorded, asked)
            if s
        ]
        raise SpaceMismatchError(
            f"{folder} holds vectors of {told[0]}; you asked for {told[1]}. "
            "Open it with the model that made it, or index your items again into a new gallery."
        )


def _locked(folder: Path) -> WriterLock:
    lock, until = WriterLock(folder / "writer.lock"), time.monotonic() + _WAIT
    while True:
        try:
            lock.acquire()
            return lock
        except GalleryLockedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
