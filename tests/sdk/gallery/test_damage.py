"""One error per kind of damage; it names the file or the ids, and what can be done."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdk.errors import GalleryDamagedError, GalleryError
from sdk.gallery import rows
from sdk.gallery.local import LocalGallery
from sdk.types import Space

QUERY = np.ones((1, 4), np.float32)


@pytest.fixture
def folder(opened: LocalGallery, items: Any, tmp_path: Path) -> Path:
    """A closed gallery of 90 rows: two full segments and a tail of 26, which ends in a block of 2."""
    opened.add(*items(0, 61))
    opened.add(*items(61, 29))
    opened.close()
    return tmp_path / "g"


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 16]))


def vector_at(row: int) -> int:
    return 4096 + row * 16  # 32 places in a page, then vectors of 4 floats


@pytest.mark.parametrize(
    ("segment", "at", "row", "bad"),
    [
        (1, vector_at(9), 9, range(8, 16)),
        (2, vector_at(31) + 15, 63, range(56, 64)),
        (3, vector_at(25), 89, range(88, 90)),
        (1, 8 * 17, 17, range(16, 24)),
        (3, 8 * 24 + 1, 88, range(88, 90)),
    ],
    ids=["vector", "last vector", "vector of the tail", "place", "place of the tail"],
)
def test_a_changed_byte_is_found_when_it_is_read(
    segment: int, at: int, row: int, bad: range, folder: Path
) -> None:
    flip(folder / f"{segment:08d}.seg", at)
    with LocalGallery(folder) as gallery:
        fine = [str(i) for i in range(90) if i not in bad]
        assert all(gallery.get(fine))
        if (segment, at) != (3, 8 * 24 + 1):  # which rows the last block holds is told by its places
            assert gallery.search(QUERY, 1, where={"n": bad.start - 1}).ids[0, 0] == str(bad.start - 1)
        for call in (
            lambda: gallery.search(QUERY, 99),
            lambda: gallery.search(QUERY, 1, where={"n": row}),
            lambda: gallery.get([str(bad[-1])]),
            lambda: gallery.update([str(bad[-1])], metadata=[{}]),
        ):
            with pytest.raises(
                GalleryDamagedError, match=rf"{segment:08d}\.seg.*{str(bad.start)!r}"
            ) as raised:
                call()
            assert raised.value.ids == tuple(str(i) for i in bad)
        gallery.update([str(bad.start)], QUERY)
        with pytest.raises(GalleryDamagedError) as raised:
            gallery.compact()
        assert raised.value.ids == tuple(str(i) for i in bad[1:])
        gallery.remove([str(i) for i in bad[2:]])
        gallery.update([str(bad[1])], QUERY)
        for _ in range(2):
            known = gallery.search(QUERY, 99, where={"n": {"$gte": bad.start}})[0]
            assert {h.id for h in known} == {str(i) for i in range(bad.start, 90) if i not in bad[2:]}
            hits = gallery.search(np.zeros((1, 4), np.float32), 99)
            assert [i for i in hits.ids[0] if i] == [str(i) for i in range(90) if i not in bad[2:]]
            gallery.compact()


def test_rows_added_to_a_damaged_tail_are_not_lost_with_it(folder: Path, items: Any) -> None:
    for damage in (vector_at(25), 8 * 25):
        flip(folder / "00000003.seg", damage)
        with LocalGallery(folder) as gallery:
            first = len(gallery)
            gallery.add(*items(first, 5))
            assert all(gallery.get([str(i) for i in range(first, first + 5)]))
            assert gallery.search(QUERY, 1, where={"n": first + 4}).ids.tolist() == [[str(first + 4)]]
            assert gallery.search(QUERY, 1, where={"n": 87}).ids.tolist() == [["87"]]
            with pytest.raises(GalleryDamagedError) as raised:
                gallery.search(QUERY, 1, where={"n": 88})
            assert raised.value.ids == ("88", "89")


def test_bytes_are_checked_once_and_again_after_opening(folder: Path, items: Any) -> None:
    with LocalGallery(folder) as gallery:
        gallery.search(QUERY, 1)
        gallery.add(*items(90, 5))
        gallery.search(QUERY, 1)
        flip(folder / "00000003.seg", vector_at(25))
        gallery.search(QUERY, 1)
    with LocalGallery(folder) as gallery, pytest.raises(GalleryDamagedError):
        gallery.search(QUERY, 1)


def test_a_block_is_checked_on_as_it_grows(opened: LocalGallery, items: Any, tmp_path: Path) -> None:
    """A reader that has checked a block's first rows checks the rows that come later, and only those."""
    with LocalGallery(tmp_path / "g", write=False) as reader:
        for n in range(30):
            opened.add(*items(n, 1))
            assert len(reader.search(QUERY, 40)[0]) == n + 1
        opened.add(*items(30, 1))
        flip(tmp_path / "g" / "00000001.seg", vector_at(30))
        with pytest.raises(GalleryDamagedError, match="'24', '25', '26', '27', '28', '29', '30'"):
            reader.search(QUERY, 40)


def truncate(folder: Path) -> None:
    path = folder / "00000002.seg"
    path.write_bytes(path.read_bytes()[:-1])


def overwrite(folder: Path) -> None:
    (folder / rows.DATABASE).write_bytes(b"not a database" * 1000)


def execute(command: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        connection = sqlite3.connect(folder / rows.DATABASE)
        connection.execute(command)
        connection.commit()
        connection.close()

    return change


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (truncate, GalleryDamagedError, r"00000002\.seg is truncated: 32 rows need 4608 bytes, it has 4607"),
        (lambda f: (f / "00000001.seg").unlink(), GalleryDamagedError, r"00000001\.seg is missing"),
        (overwrite, GalleryDamagedError, r"gallery\.db can't be read: file is not a database"),
        (execute("PRAGMA user_version = 2"), GalleryError, "format 2; this version .* up to 1. Upgrade"),
        (execute("PRAGMA application_id = 7"), GalleryError, "isn't a gallery's database"),
        (lambda f: (f / "gallery.db").unlink(), GalleryError, r"other files and no gallery\.db"),
    ],
)
def test_what_cannot_be_opened_says_why(
    change: Callable[[Path], None], error: type, says: str, folder: Path
) -> None:
    change(folder)
    for space in (None, Space("5pace", 4)):
        with pytest.raises(error, match=says):
            LocalGallery(folder, space)


def test_a_damaged_table_is_an_error_of_the_gallery(folder: Path) -> None:
    database = folder / rows.DATABASE
    size = database.stat().st_size
    with LocalGallery(folder) as gallery:
        with database.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (size - 4096))
        with pytest.raises(GalleryError, match=r"gallery\.db (is damaged|can't be read)"):
            gallery.get([str(i) for i in range(90)])


def test_a_place_that_is_no_gallery_is_left_alone(tmp_path: Path) -> None:
    space = Space("5pace", 4)
    (tmp_path / "file").write_text("hello")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.jpg").write_text("a")
    with pytest.raises(GalleryError, match="is a file; a local gallery is a directory"):
        LocalGallery(tmp_path / "file", space)
    with pytest.raises(GalleryError, match="holds other files"):
        LocalGallery(tmp_path / "pictures", space)
    assert [p.name for p in (tmp_path / "pictures").iterdir()] == ["a.jpg"]
    (tmp_path / "empty").mkdir()
    LocalGallery(tmp_path / "empty", space).close()


def test_a_creation_that_was_cut_short_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "writer.lock").touch()
    (tmp_path / "g" / rows.DATABASE).touch()
    with pytest.raises(GalleryError, match="no gallery at"):
        LocalGallery(tmp_path / "g")
    with LocalGallery(tmp_path / "g", Space("5pace", 4)) as gallery:
        assert len(gallery) == 0
