"""Erasing a person leaves none of their bytes in any file of the gallery."""

from __future__ import annotations

import sqlite3
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdk.errors import GalleryError, GalleryWriteError
from sdk.gallery.local import LocalGallery
from sdk.gallery.transaction import Transaction
from sdk.types import Space


def bytes_of(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(folder.iterdir()))


def secrets(rng: np.random.Generator, n: int, tag: str) -> tuple[list[str], np.ndarray, list[dict[str, Any]]]:
    """Ids, vectors and metadata that are found nowhere by chance; long and short, so that pages split."""
    words = [f"{tag}{rng.integers(2**60):x}" for _ in range(n)]
    texts = ["".join(f"{x:x}" for x in rng.integers(2**60, size=rng.integers(1, 6))) for _ in words]
    metadata = [{"note": f"note {t}", f"field {w}": True, "n": 1} for w, t in zip(words, texts, strict=True)]
    return [f"id {w}" for w in words], rng.random((n, 4), dtype=np.float32), metadata


def needles(ids: list[str], vectors: np.ndarray, metadata: list[dict[str, Any]]) -> list[bytes]:
    texts = [text for m in metadata for text in (m["note"], next(k for k in m if k.startswith("field")))]
    return [t.encode() for t in (*ids, *texts)] + [v.tobytes() for v in vectors]


def test_no_byte_of_an_erased_row_is_left(opened: LocalGallery, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    old, new = secrets(rng, 900, "old"), secrets(rng, 900, "new")
    for start in range(0, 900, 90):
        part = slice(start, start + 90)
        opened.add(old[0][part], old[1][part], old[2][part])
    changed = rng.permutation(900)[:300]
    opened.update([old[0][i] for i in changed], new[1][changed], [new[2][i] for i in changed])
    opened.search(np.ones((1, 4), np.float32), 1, where={"note": "x"})

    gone = [int(i) for i in rng.permutation(900)[:60]]
    theirs = [
        needle
        for data in (old, new)
        for needle in needles([old[0][i] for i in gone], data[1][gone], [data[2][i] for i in gone])
    ]
    present = bytes_of(tmp_path / "g")
    used = [needle for needle in theirs if needle in present]
    assert len(used) > len(gone) * 4

    with LocalGallery(tmp_path / "g", write=False) as reader:
        reader.search(np.ones((1, 4), np.float32), 1)
        opened.erase([old[0][i] for i in gone])
        left = bytes_of(tmp_path / "g")
        assert [needle for needle in theirs if needle in left] == []
        assert len(reader) == len(opened) == 840

    kept = [i for i in range(900) if i not in gone]
    rows = opened.get([old[0][i] for i in kept])
    for i, row in zip(kept, rows, strict=True):
        data = new if i in changed else old
        assert row is not None
        assert row.vector.tolist() == data[1][i].tolist()
        assert row.metadata == data[2][i]


def test_no_copy_is_left_on_a_page_that_was_split(tmp_path: Path) -> None:
    """With these ids, SQLite's secure_delete by itself leaves three copies on pages that were split."""
    ids = [f"{x:016x}" for x in np.random.default_rng(4).integers(2**60, size=3000)]
    with LocalGallery(tmp_path / "g", Space("", 1)) as gallery:
        for start in range(0, 3000, 100):
            gallery.add(ids[start : start + 100], np.ones((100, 1), np.float32))
        gallery.erase(ids[::2])
        left = bytes_of(tmp_path / "g")
        assert [i for i in ids[::2] if i.encode() in left] == []
        assert ids[1].encode() in left


def test_rows_removed_earlier_go_with_the_next_erase(opened: LocalGallery, tmp_path: Path) -> None:
    data = secrets(np.random.default_rng(0), 70, "x")
    opened.add(*data)
    opened.remove(data[0][:35])
    assert data[1][3].tobytes() in bytes_of(tmp_path / "g")
    opened.erase([])
    left = bytes_of(tmp_path / "g")
    assert not [n for n in needles(data[0][:35], data[1][:35], data[2][:35]) if n in left]


def test_erasing_everyone_leaves_an_empty_gallery(opened: LocalGallery, tmp_path: Path) -> None:
    data = secrets(np.random.default_rng(0), 70, "x")
    opened.add(*data)
    opened.erase(data[0])
    left = bytes_of(tmp_path / "g")
    assert not [n for n in needles(*data) if n in left]
    assert len(opened) == 0
    opened.add(*data)
    assert len(opened) == 70


def test_the_records_of_indexing_jobs_forget_too(opened: LocalGallery, tmp_path: Path) -> None:
    data = secrets(np.random.default_rng(0), 3, "x")
    opened.add(*data)
    with sqlite3.connect(tmp_path / "g" / "jobs.sqlite") as jobs:
        jobs.execute("CREATE TABLE file (id, path)")
        jobs.executemany("INSERT INTO file VALUES (?, 'path')", [(i,) for i in data[0]])
    jobs.close()
    opened.erase(data[0][:1])
    left = bytes_of(tmp_path / "g")
    assert data[0][0].encode() not in left
    assert data[0][1].encode() in left


def test_an_interrupted_erase_can_be_finished(
    opened: LocalGallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are gone at the commit; a search that won't end keeps their bytes from being overwritten."""
    data = secrets(np.random.default_rng(0), 40, "x")
    opened.add(*data)
    opened.remove(data[0][1:2])
    connection = opened._writer.start()
    connection.execute("PRAGMA busy_timeout = 100")
    with LocalGallery(tmp_path / "g", write=False) as reader, reader._view():
        with pytest.raises((GalleryError, GalleryWriteError), match=r"call erase\(\[\]\) to go on"):
            opened.erase(data[0][:1])
        assert data[0][0] not in opened
    opened.erase([])
    left = bytes_of(tmp_path / "g")
    assert not [n for n in needles(data[0][:2], data[1][:2], data[2][:2]) if n in left]


def test_an_erase_that_fails_removes_nothing(
    opened: LocalGallery, monkeypatch: pytest.MonkeyPatch, items: Any, twin: Any, same: Any
) -> None:
    opened.add(*items(0, 40))
    twin.add(*items(0, 40))

    def commit(self: Transaction) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "commit", commit)
        with pytest.raises(GalleryWriteError, match="nothing of this call was kept"):
            opened.erase(["3"])
    same(opened, twin)


def test_codes_go_with_the_rows_they_were_made_of(opened: LocalGallery, tmp_path: Path) -> None:
    """Whatever a codes file tells of a row (its checksum stands for all) is of a row that is still there."""
    ids, vectors, metadata = secrets(np.random.default_rng(8), 200, "x")
    opened.add(ids, vectors, metadata)
    before = {path: path.read_bytes() for path in (tmp_path / "g").glob("*.codes")}
    checksum = {zlib.crc32(vector.tobytes()): i for i, vector in enumerate(vectors)}
    opened.remove(ids[40:41])
    opened.erase([ids[i] for i in range(70, 130, 7)])
    told: list[int] = []
    for path in (tmp_path / "g").glob("*.codes"):
        raw = path.read_bytes()
        of = [checksum[crc] for crc in np.frombuffer(raw, np.uint32, 32, 8192).tolist()]
        mean = np.frombuffer(raw, np.float32, 4, 52)
        np.testing.assert_allclose(mean, vectors[of].mean(axis=0), rtol=1e-6)
        told += of
    assert len(told) == 160  # of 190
    assert set(told) <= set(range(200)) - {40, *range(70, 130, 7)}
    left = {path: path.read_bytes() for path in before if path.exists()}
    assert sorted(path.name for path in left) == ["00000001.codes", "00000005.codes", "00000006.codes"]
    assert left == {path: before[path] for path in left}


def test_late_items_are_erased_whole(small: None, tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).random((40, 5, 3), dtype=np.float32)
    with LocalGallery(tmp_path / "g", Space("", 3, tokens=5, top_tokens=2)) as gallery:
        gallery.add(list(range(40)), vectors)
        gallery.erase([7])
        left = bytes_of(tmp_path / "g")
        assert not [token for token in vectors[7] if token.tobytes() in left]
        assert vectors[8].tobytes() in left
