"""A disk that refuses a write: nothing of the call is kept, the gallery goes on."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sdk.errors import GalleryWriteError
from sdk.gallery import rows
from sdk.gallery.local import LocalGallery


def failing(call: Callable[..., Any], at: int, error: Exception) -> Callable[..., Any]:
    """``call``, but its call number ``at`` (from 0) does half of what it should, if it writes, and raises."""
    calls = iter(range(1_000_000))

    def wrapper(first: Any, *rest: Any) -> Any:
        if next(calls) != at:
            return call(first, *rest)
        if call is os.pwrite:
            call(first, rest[0][: len(rest[0]) // 2], rest[1])
        raise error

    return wrapper


FULL = OSError(errno.ENOSPC, "No space left on device")
SICK = OSError(errno.EIO, "Input/output error")
CALLS: dict[str, Callable[..., None]] = {  # on 50 rows in segments of 32; with their writes and syncs
    "add": lambda gallery, items: gallery.add(*items(50, 60)),
    "update": lambda gallery, items: gallery.update([str(i) for i in range(0, 50, 3)], items(7, 17)[1]),
    "erase": lambda gallery, items: gallery.erase([str(i) for i in range(0, 50, 3)]),
}
WRITES = {"add": (0, 3, 5), "update": (0, 3), "erase": (0, 9)}  # the first, one between, the last
SYNCS = {"add": (0, 3), "update": (0, 2), "erase": (1, 2)}  # of a file, of the folder


def refusals() -> Iterator[Any]:
    for call in CALLS:
        for at in WRITES[call]:
            yield pytest.param(call, os, "pwrite", at, FULL, id=f"{call}-write-{at}")
        for at in SYNCS[call]:
            yield pytest.param(call, os, "fsync", at, SICK, id=f"{call}-sync-{at}")
        error = sqlite3.OperationalError("database or disk is full")
        yield pytest.param(call, rows, "commit", 0, error, id=f"{call}-commit")


@pytest.mark.parametrize(("call", "module", "name", "at", "error"), list(refusals()))
def test_a_refusing_disk_keeps_nothing_of_the_call(
    call: str,
    module: Any,
    name: str,
    at: int,
    error: Exception,
    opened: LocalGallery,
    tmp_path: Path,
    items: Any,
    twin: Any,
    same: Any,
) -> None:
    for first in (items(0, 20), items(20, 30)):
        opened.add(*first)
        twin.add(*first)
    sizes = segment_sizes(tmp_path / "g")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, failing(getattr(module, name), at, error))
        with pytest.raises(GalleryWriteError, match="nothing of this call was kept"):
            CALLS[call](opened, items)
    assert segment_sizes(tmp_path / "g") == sizes
    same(opened, twin)
    with LocalGallery(tmp_path / "g", write=False) as reader:
        same(reader, twin)
    opened.add(*items(50, 60))
    twin.add(*items(50, 60))
    same(opened, twin)


def segment_sizes(folder: Path) -> dict[str, int]:
    """Of segments and of their codes."""
    return {p.name: p.stat().st_size for p in folder.iterdir() if ".seg" in p.name or ".codes" in p.name}


def test_a_disk_that_stays_full(
    opened: LocalGallery, tmp_path: Path, items: Any, twin: Any, same: Any
) -> None:
    """While not even a small commit succeeds, nothing that a failed one points at may be touched."""
    opened.add(*items(0, 40))
    twin.add(*items(0, 40))
    sizes = segment_sizes(tmp_path / "g")
    with pytest.MonkeyPatch.context() as patch:

        def commit(connection: sqlite3.Connection) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        patch.setattr(rows, "commit", commit)
        with pytest.raises(GalleryWriteError, match="disk is full"):
            opened.add(*items(40, 60))
        kept = segment_sizes(tmp_path / "g")
        assert kept != sizes
        with pytest.raises(GalleryWriteError, match="disk is full"):
            opened.add(*items(40, 1))
        assert segment_sizes(tmp_path / "g") == kept
        same(opened, twin)
    opened.add(*items(40, 1))
    twin.add(*items(40, 1))
    same(opened, twin)
    opened.close()
    with LocalGallery(tmp_path / "g", write=True) as gallery:
        same(gallery, twin)
        assert segment_sizes(tmp_path / "g").keys() == sizes.keys()


def test_a_database_that_may_not_grow(opened: LocalGallery, items: Any, twin: Any, same: Any) -> None:
    """SQLite itself runs out of space in the middle of each kind of call."""
    opened.add(*items(0, 50))
    twin.add(*items(0, 50))
    connection = opened._writer.start()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    many = [{"text": "x" * 5000}] * 50
    for call in (
        lambda: opened.add(items(50, 50)[0], items(50, 50)[1], many),
        lambda: opened.update(list(twin.rows), metadata=many),
        lambda: opened.update(list(twin.rows), items(7, 50)[1], many),
    ):
        with pytest.raises(GalleryWriteError, match=r"full.*nothing of this call was kept"):
            call()
        same(opened, twin)
    connection.execute("PRAGMA max_page_count = 1000000")
    opened.add(*items(50, 50))
    twin.add(*items(50, 50))
    same(opened, twin)


def test_an_interrupt_after_the_commit_keeps_the_rows(
    opened: LocalGallery, items: Any, twin: Any, same: Any
) -> None:
    commit = rows.commit

    def interrupted(connection: sqlite3.Connection) -> None:
        commit(connection)
        raise KeyboardInterrupt

    for call in (lambda: opened.add(*items(0, 40)), lambda: opened.erase(["0"])):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rows, "commit", interrupted)
            with pytest.raises(KeyboardInterrupt):
                call()
    twin.add(*items(0, 40))
    del twin.rows["0"]
    same(opened, twin)
    opened.add(*items(40, 40))
    twin.add(*items(40, 40))
    same(opened, twin)


LIMITED = """
import resource, sys, numpy as np
from sdk.errors import GalleryWriteError
from sdk.gallery.local import LocalGallery
from sdk.types import Space
folder, dim, text = sys.argv[1], int(sys.argv[2]), "x" * int(sys.argv[3])
gallery, done, refused = LocalGallery(folder, Space("", dim)), 0, 0
resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, resource.RLIM_INFINITY))
while refused < 3:
    ids = list(range(done, done + 40))
    try:
        gallery.add(ids, np.ones((40, dim), np.float32) * done, [{"text": text, "n": i} for i in ids])
        done += 40
    except GalleryWriteError:
        refused += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
assert 0 < done < 40_000 and len(gallery) == done
ids = list(range(done, done + 40))
gallery.add(ids, np.ones((40, dim), np.float32) * done, [{"text": text, "n": i} for i in ids])
print(done + 40)
"""


@pytest.mark.parametrize(("dim", "text"), [(512, 1), (1, 900)], ids=["the vectors", "the database"])
def test_a_file_size_limit_stops_a_file(dim: int, text: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, tmp_path / "g", str(dim), str(text)]
    done = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    with LocalGallery(tmp_path / "g") as gallery:
        assert len(gallery) == done
        for i, row in enumerate(gallery.get(range(done))):
            assert row is not None
            assert row.vector.tolist() == [i // 40 * 40] * dim
            assert row.metadata["n"] == i
        assert gallery.get([done]) == [None]
