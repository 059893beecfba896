"""When codes are made, what happens when they can't be, and when they go."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cpp_ext
from sdk.errors import GalleryDamagedError, GalleryWriteError
from sdk.gallery import rows, transaction
from sdk.gallery.codes import CodesLayout
from sdk.gallery.local import LocalGallery

QUERY = np.ones((1, 4), np.float32)


@pytest.fixture
def folder(opened: LocalGallery, tmp_path: Path) -> Path:
    return tmp_path / "g"


def coded(folder: Path) -> list[int]:
    """The segments with a codes file; nothing else of that kind may lie about."""
    names = sorted(p.name for p in folder.iterdir() if "codes" in p.name)
    assert names == [f"{int(name[:8]):08d}.codes" for name in names]
    return [int(name[:8]) for name in names]


def screens(gallery: LocalGallery) -> list[Any]:
    with gallery._view() as (_, snapshot):
        return [s.screen for s in snapshot.segments if s.screen]


def no_codes(*_: Any) -> None:
    pass


def test_codes_are_there_when_a_reader_sees_a_segment_full(
    opened: LocalGallery, items: Any, folder: Path
) -> None:
    """Also when it was filled bit by bit, by one call or by several writers."""
    with LocalGallery(folder, write=False) as reader:
        for first, n, full in [(0, 31, []), (31, 1, [1]), (32, 40, [1, 2]), (72, 100, [1, 2, 3, 4, 5])]:
            opened.add(*items(first, n))
            assert coded(folder) == full
            reader.search(QUERY, 3)
            assert [s.is_stored() for s in screens(reader)] == [True] * len(full)
            assert not any(s._made for s in screens(reader))
            opened.close()
            opened = LocalGallery(folder)
        opened.close()


def test_what_is_sealed_is_never_written_again(opened: LocalGallery, items: Any, folder: Path) -> None:
    opened.add(*items(0, 70))
    before = {p.name: p.stat().st_mtime_ns for p in folder.glob("*.codes")}
    opened.add(*items(70, 70))
    opened.compact()
    opened.remove(["139"])
    after = {p.name: p.stat().st_mtime_ns for p in folder.glob("*.codes")}
    assert {name: after[name] for name in before} == before
    assert len(after) == 4


def test_compaction_leaves_codes_for_full_segments_alone(
    opened: LocalGallery, items: Any, folder: Path, twin: Any, same: Any
) -> None:
    opened.add(*items(0, 150))
    twin.add(*items(0, 150))
    assert coded(folder) == [1, 2, 3, 4]
    with LocalGallery(folder, write=False) as reader, reader._view() as (connection, old):
        opened.remove(["5", "70"])  # of the first and third
        del twin.rows["5"], twin.rows["70"]
        opened.compact()
        assert coded(folder) == [2, 4, 6, 7]  # 22 + 31 + 31 rows are two full ones and a tail
        assert opened.info()["coded"] == 4
        same(opened, twin)
        same(reader, twin)
        # An older moment is searched by codes of its own making, as its files were never mapped.
        from sdk.gallery.search import best

        masks = [s.live for s in old.segments]
        places, _ = best(connection, old, masks, QUERY, 150, None, None, 1)
        assert sorted(places[0].tolist()) == list(range(150))
        assert [len(s.screen._made) for s in old.segments if s.screen] == [4, 0, 4, 0]


def test_segments_without_codes_get_them_at_a_compaction(
    opened: LocalGallery, items: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as those of a gallery that an earlier version filled. A reader goes over to the new files."""
    with monkeypatch.context() as patch:
        patch.setattr(transaction, "seal", no_codes)
        opened.add(*items(0, 300))
    assert (coded(folder), opened.info()["coded"]) == ([], 0)
    with LocalGallery(folder, write=False) as reader:
        expected = reader.search(QUERY, 9)
        assert [len(s._made) for s in screens(reader)] == [4] * 9
        opened.compact()
        assert coded(folder) == list(range(1, 10))
        again = reader.search(QUERY, 9)
        assert again.ids.tolist() == expected.ids.tolist()
        assert again.scores.tobytes() == expected.scores.tobytes()
        assert not any(s._made for s in screens(reader))
        assert reader.info()["coded"] == 9


def test_filling_a_segment_codes_a_few_older_ones_too(
    opened: LocalGallery, items: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(transaction, "seal", no_codes)
        opened.add(*items(0, 200))  # six full ones, and eight rows
    opened.add(*items(200, 20))
    assert coded(folder) == []
    opened.add(*items(220, 10))
    assert coded(folder) == [1, 2, 3, 4, 7]
    opened.add(*items(230, 32))
    assert coded(folder) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_damaged_file_is_made_again_by_the_writer_that_met_it(
    opened: LocalGallery, items: Any, folder: Path
) -> None:
    opened.add(*items(0, 100))
    whole = {p.name: p.read_bytes() for p in folder.glob("*.codes")}
    for name, at in (("00000001.codes", -1), ("00000003.codes", 3)):
        raw = bytearray(whole[name])
        raw[at] ^= 1
        (folder / name).write_bytes(raw)
    expected = opened.search(QUERY, 5).ids.tolist()
    assert opened.info()["coded"] == 1
    opened.compact()
    assert {p.name: p.read_bytes() for p in folder.glob("*.codes")} == whole
    assert opened.info()["coded"] == 3
    assert opened.search(QUERY, 5).ids.tolist() == expected
    assert not any(s._made for s in screens(opened))


def refuse(name: str, when: Callable[[Any], bool], error: BaseException) -> Callable[..., Any]:
    call = getattr(os, name)

    def refused(first: Any, *rest: Any) -> Any:
        path = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else str(first)
        if when(path):
            raise error
        return call(first, *rest)

    return refused


@pytest.mark.parametrize("call", ["pwrite", "fsync", "rename", "open"])
def test_a_disk_that_refuses_codes_still_takes_rows(
    call: str, opened: LocalGallery, items: Any, folder: Path, twin: Any, same: Any
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, call, refuse(call, lambda path: path.endswith(".codes.new"), full))
        for first in (0, 50):
            opened.add(*items(first, 50))
            twin.add(*items(first, 50))
    assert coded(folder) == []
    same(opened, twin)
    opened.add(*items(100, 32))
    twin.add(*items(100, 32))
    assert coded(folder) == [1, 2, 3, 4]
    same(opened, twin)


def test_codes_leave_room_for_the_commit(
    opened: LocalGallery, items: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    need = CodesLayout(rows.read_state(opened._writer.start()).layout).length
    for free, expected in ((2 * need, []), (2 * need + 1, [1, 2])):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage(0, 0, free))
        opened.add(*items(len(opened), 32))
        assert coded(folder) == expected


@pytest.mark.parametrize("moment", ["pack", "commit"])
def test_a_call_that_fails_leaves_no_codes(
    moment: str, opened: LocalGallery, items: Any, folder: Path, twin: Any, same: Any
) -> None:
    opened.add(*items(0, 20))
    twin.add(*items(0, 20))

    def interrupted(*_: Any, **named: Any) -> Any:
        raise KeyboardInterrupt if moment == "pack" else sqlite3.OperationalError("disk is full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*((cpp_ext, "pack") if moment == "pack" else (rows, "commit")), interrupted)
        with pytest.raises(KeyboardInterrupt if moment == "pack" else GalleryWriteError):
            opened.add(*items(20, 60))
    if moment == "pack":
        assert coded(folder) == []  # a commit that failed may still count: what it needs stays for now
    opened.add(*items(20, 9))
    twin.add(*items(20, 9))
    same(opened, twin)
    opened.close()
    with LocalGallery(folder, write=True) as gallery:
        assert coded(folder) == []
        gallery.add(*items(29, 35))
        twin.add(*items(29, 35))
        assert coded(folder) == [1, 2]
        assert gallery.info()["coded"] == 2
        same(gallery, twin)


def test_the_next_writer_sweeps_what_is_nobodys(opened: LocalGallery, items: Any, folder: Path) -> None:
    opened.add(*items(0, 40))
    opened.close()
    strays = ["00000001.codes.new", "00000002.codes", "00000002.codes.new", "00000077.codes"]
    for name in strays:
        (folder / name).write_bytes(b"left by a killed writer")
    with LocalGallery(folder, write=False) as reader:
        reader.search(QUERY, 3)
        assert all((folder / name).exists() for name in strays)
    with LocalGallery(folder, write=True):
        assert coded(folder) == [1]


def test_a_damaged_block_of_the_tail_is_not_hidden_by_codes(
    opened: LocalGallery, items: Any, folder: Path
) -> None:
    """Its vectors were bad before the segment was full; the other blocks get codes all the same."""
    opened.add(*items(0, 14))
    opened.close()
    path = folder / "00000001.seg"
    raw = bytearray(path.read_bytes())
    raw[4096 + 16 * 13] ^= 1
    path.write_bytes(raw)
    with LocalGallery(folder) as gallery:
        gallery.add(*items(14, 30))
        assert coded(folder) == [1]
    with LocalGallery(folder) as gallery:
        with pytest.raises(GalleryDamagedError) as raised:
            gallery.search(QUERY, 3)
        assert raised.value.ids == tuple(str(i) for i in range(8, 14))
        rest = {"n": {"$not": {"$gte": 8, "$lt": 14}}}
        assert len(gallery.search(QUERY, 50, where=rest)[0]) == 38
        gallery.remove([str(i) for i in range(8, 14)])
        assert len(gallery.search(QUERY, 50)[0]) == 38
        gallery.compact()
        assert coded(folder) == [3]
        assert len(gallery.search(QUERY, 50)[0]) == 38


def test_a_vector_that_changed_since_it_was_written_is_not_coded(
    opened: LocalGallery, items: Any, folder: Path
) -> None:
    opened.add(*items(0, 31))
    path = folder / "00000001.seg"
    raw = bytearray(path.read_bytes())
    raw[4096 + 16 * 3 + 2] ^= 1
    with path.open("r+b") as file:  # under the writer, which has the block as it should be in memory
        file.write(raw)
    opened.add(*items(31, 10))
    assert coded(folder) == [1]
    assert len(opened.search(QUERY, 50, where={"n": {"$gte": 8}})[0]) == 33
    with pytest.raises(GalleryDamagedError) as raised:
        opened.search(QUERY, 50)
    assert raised.value.ids == tuple(str(i) for i in range(8))
