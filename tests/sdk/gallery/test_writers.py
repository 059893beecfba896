"""One writer, many readers, in one process and in several; and what happens around a compaction."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdk.errors import GalleryError, GalleryLockedError, GalleryWriteError
from sdk.gallery.filters import parse
from sdk.gallery.local import LocalGallery
from sdk.types import Space

QUERY = np.ones((1, 4), np.float32)
WRITING = """
import sys
from sdk.gallery import open_gallery
gallery = open_gallery(sys.argv[1], write=True)
print("ready", flush=True)
sys.stdin.read()
"""


def test_the_second_writer_is_told_of_the_first(opened: LocalGallery, items: Any, tmp_path: Path) -> None:
    folder = tmp_path / "g"
    opened.add(*items(0, 1))
    with pytest.raises(GalleryLockedError, match=rf"this process \({os.getpid()}\).*write=False"):
        LocalGallery(folder, write=True)
    with LocalGallery(folder) as second:
        assert len(second) == 1
        for call in (
            lambda: second.add(*items(1, 1)),
            lambda: second.update(["0"], QUERY),
            lambda: second.remove(["0"]),
            lambda: second.compact(),
            lambda: second.erase(["0"]),
        ):
            with pytest.raises(GalleryLockedError):
                call()
        opened.add(*items(1, 1))
        assert second.search(QUERY, 3, where={"n": 1}).ids.tolist() == [["1", None, None]]
        opened.close()
        second.add(*items(2, 1))
        assert len(second) == 3


def test_opening_takes_the_lock_only_when_asked(opened: LocalGallery, items: Any, tmp_path: Path) -> None:
    with LocalGallery(tmp_path / "g", write=True), pytest.raises(GalleryLockedError):
        opened.add(*items(0, 1))
    opened.add(*items(0, 1))


def test_opened_for_reading_it_never_writes(opened: LocalGallery, items: Any, tmp_path: Path) -> None:
    with LocalGallery(tmp_path / "g", write=False) as reader:
        with pytest.raises(GalleryError, match="opened with write=False"):
            reader.add(*items(0, 1))
        with pytest.raises(GalleryError, match="opened with write=False"):
            reader.compact()
        opened.add(*items(0, 1))


def test_another_process_holds_the_lock_until_it_dies(
    opened: LocalGallery, items: Any, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", WRITING, tmp_path / "g"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(GalleryLockedError, match=rf"by process {process.pid}\."):
            opened.add(*items(0, 1))
        assert len(opened) == 0
        process.kill()
    opened.add(*items(0, 1))


def test_many_at_once_make_one_gallery(tmp_path: Path) -> None:
    for attempt in range(8):
        made: list[Any] = []

        def make(folder: Path = tmp_path / str(attempt), made: list[Any] = made) -> None:
            try:
                made.append(LocalGallery(folder, Space("5pace", 4)))
            except BaseException as error:
                made.append(error)

        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [type(g) for g in made] == [LocalGallery] * 4, made
        made[0].add(["a"], QUERY)
        assert [len(g) for g in made] == [1] * 4
        for gallery in made:
            gallery.close()


def test_threads_of_one_gallery_write_in_turn(opened: LocalGallery, items: Any) -> None:
    threads = [threading.Thread(target=lambda n=n: opened.add(*items(n, 10))) for n in range(0, 80, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 80
    assert all(opened.get([str(i) for i in range(80)]))


def test_compaction_replaces_only_what_it_must(opened: LocalGallery, items: Any, tmp_path: Path) -> None:
    opened.add(*items(0, 100))
    names = {p.name for p in (tmp_path / "g").glob("*.seg")}
    assert len(names) == 4
    opened.compact()
    assert {p.name for p in (tmp_path / "g").glob("*.seg")} == names
    opened.remove(["40"])
    assert opened.info()["removed"] == 1
    opened.compact()
    left = {p.name for p in (tmp_path / "g").glob("*.seg")}
    assert names - left == {"00000002.seg", "00000004.seg"}  # the one that lost a row, and the tail
    assert opened.info() | {"removed": 0, "rows": 99} == opened.info()
    opened.remove([str(i) for i in range(100) if i != 40])
    opened.compact()
    assert not list((tmp_path / "g").glob("*.seg"))
    opened.add(*items(100, 1))
    assert opened.search(QUERY, 1).ids.tolist() == [["100"]]


def test_order_is_kept_where_it_can_be_and_restored_by_compaction(opened: LocalGallery, items: Any) -> None:
    def ordered() -> list[bool]:
        with opened._view() as (_, snapshot):
            return [segment.ordered for segment in snapshot.segments]

    ids, vectors, metadata = items(0, 32)
    opened.add(ids, vectors, metadata)
    opened.update(ids[::-1], vectors)
    assert ordered() == [True, True]
    opened.update(["7"], QUERY)
    opened.update(["3"], QUERY)
    assert ordered() == [True, True, False]
    opened.compact()
    assert ordered() == [True]


def test_a_filter_on_an_older_snapshot_still_sees_its_rows(opened: LocalGallery, items: Any) -> None:
    """A thread may evaluate a filter after another has evaluated it for a later moment."""
    opened.add(*items(0, 13))
    node = parse({"n": {"$gte": 7}})
    with opened._view() as (connection, snapshot):
        opened.remove(["8", "12"])
        assert len(opened.search(QUERY, 20, where={"n": {"$gte": 7}})[0]) == 4
        (bits,) = opened._masks.of(connection, snapshot, node)
        assert bits is not None
        assert np.unpackbits(bits, bitorder="little").nonzero()[0].tolist() == list(range(7, 13))


def test_what_is_kept_of_a_filter_goes_with_its_segments(opened: LocalGallery, items: Any) -> None:
    for n in range(0, 100, 50):
        opened.add(*items(n, 50))
        opened.remove([str(n)])
        opened.search(QUERY, 1, where={"n": 7})
        opened.compact()
        opened.search(QUERY, 1, where={"n": 7})
        with opened._view() as (_, snapshot):
            live = {segment.id for segment in snapshot.segments}
        assert {number for kept in opened._masks._full.values() for number in kept} == live
        assert opened._masks._tails.keys() <= live


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_uses_none_of_its_parents_connections(opened: LocalGallery, items: Any) -> None:
    opened.add(*items(0, 2))
    opened.search(QUERY, 1)
    parents = {id(c) for c in (*opened._snapshots._connections._free, opened._writer.start())}
    child = os.fork()
    if child == 0:
        opened.search(QUERY, 1)
        used = {id(c) for c in opened._snapshots._connections._free}
        os._exit(0 if used and not used & parents and opened._writer._connection is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_reader_keeps_its_files_through_a_compaction(
    opened: LocalGallery, items: Any, tmp_path: Path
) -> None:
    opened.add(*items(0, 100))
    with LocalGallery(tmp_path / "g", write=False) as reader, reader._view() as (_, snapshot):
        before = [segment.mapped.vectors.copy() for segment in snapshot.segments]
        opened.remove([str(i) for i in range(0, 100, 2)])
        opened.compact()
        opened.add(*items(100, 100))
        for segment, vectors in zip(snapshot.segments, before, strict=True):
            np.testing.assert_array_equal(segment.mapped.vectors, vectors)
        assert len(reader.search(QUERY, 200)[0]) == 150


def test_the_files_of_a_killed_writer_are_swept(opened: LocalGallery, items: Any, tmp_path: Path) -> None:
    opened.add(*items(0, 10))
    opened.close()
    segment = tmp_path / "g" / "00000001.seg"
    size = segment.stat().st_size
    with segment.open("ab") as file:
        file.write(b"written but never committed")
    (tmp_path / "g" / "00000002.seg").write_bytes(b"so was this")
    with LocalGallery(tmp_path / "g", write=True) as gallery:
        assert segment.stat().st_size == size
        assert not (tmp_path / "g" / "00000002.seg").exists()
        gallery.add(*items(10, 90))
        assert all(gallery.get([str(i) for i in range(100)]))


def test_the_engine_of_each_row_is_kept(opened: LocalGallery, items: Any, tmp_path: Path) -> None:
    opened.add(*items(0, 3))
    opened.close()
    with LocalGallery(tmp_path / "g", engine="onnxruntime cuda fp16") as gallery:
        gallery.add(*items(3, 4))
        gallery.update(["0"], QUERY)
        gallery.update(["1"], metadata=[{"n": 1}])
        gallery.compact()
        assert gallery.info()["engines"] == {None: 2, "onnxruntime cuda fp16": 5}


def test_a_folder_without_leave_to_write(
    opened: LocalGallery, items: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write anywhere, so the refusals of a read-only disk are acted."""
    opened.add(*items(0, 3))
    opened.close()
    open_file = os.open

    def refuse(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path, flags, *rest, **named)

    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(os, "open", refuse)
    with LocalGallery(tmp_path / "g") as gallery:
        assert gallery.search(QUERY, 5, where={"n": 2}).ids[0, 0] == "2"
        with pytest.raises(GalleryWriteError, match=r"Permission denied.*write=False"):
            gallery.add(*items(3, 1))
        assert not list((tmp_path / "g").glob("*-wal"))
