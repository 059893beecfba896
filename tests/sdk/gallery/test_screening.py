"""What a search over codes reads, checks and codes anew; and that it never returns what damage made of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cpp_ext
from sdk.errors import GalleryDamagedError
from sdk.gallery import screen, search
from sdk.gallery.codes import Block, CodesFile, open_codes, write_codes
from sdk.gallery.local import LocalGallery
from sdk.types import Space

DIM, ROWS = 16, 300  # nine full segments of 32 rows in blocks of 8, and a tail of 12
RNG = np.random.default_rng(4)
STORED = RNG.standard_normal((ROWS, DIM), dtype=np.float32)
QUERIES = RNG.standard_normal((6, DIM), dtype=np.float32)


@pytest.fixture
def folder(small: None, tmp_path: Path) -> Path:
    with LocalGallery(tmp_path / "g", Space("", DIM)) as gallery:
        gallery.add(list(range(ROWS)), STORED, [{"n": i, "segment": i // 32} for i in range(ROWS)])
    return tmp_path / "g"


def damage(folder: Path, row: int, change: Callable[[bytearray], None]) -> None:
    """Change the bytes of a row's vector."""
    path = folder / f"{row // 32 + 1:08d}.seg"
    raw = bytearray(path.read_bytes())
    at = 4096 + row % 32 * 4 * DIM
    vector = raw[at : at + 4 * DIM]
    change(vector)
    raw[at : at + 4 * DIM] = vector
    path.write_bytes(raw)


def zero(vector: bytearray) -> None:
    vector[:] = bytes(len(vector))


def spoil(folder: Path, segment: int, block: int) -> None:
    """Damage a block of 16 rows of a segment's codes."""
    path = folder / f"{segment:08d}.codes"
    raw = bytearray(path.read_bytes())
    raw[-16 * DIM * (2 - block)] ^= 1
    path.write_bytes(raw)


def screens(gallery: LocalGallery) -> list[Any]:
    with gallery._view() as (_, snapshot):
        return [s.screen for s in snapshot.segments if s.screen]


def found(gallery: LocalGallery, queries: np.ndarray = QUERIES, **options: Any) -> Any:
    hits = gallery.search(queries, 4, **options)
    return hits.ids.tolist(), hits.scores.tolist()


def answer(gallery: LocalGallery, queries: np.ndarray) -> Any:
    try:
        return found(gallery, queries)
    except GalleryDamagedError as error:
        return error


@pytest.mark.parametrize("kind", ["flip", "zero", "large"])
def test_a_damaged_vector_never_changes_an_answer(folder: Path, kind: str) -> None:
    """The right answer or an error that names the row; and an error when the row belongs in the answer."""
    rng = np.random.default_rng(len(kind))
    rows, scores = cpp_ext.topk(QUERIES, STORED, 4)
    refused = answered = 0
    best = rows[:, 0].tolist()
    for row in {*best, *rng.integers(0, 288, 12).tolist()}:
        path = folder / f"{row // 32 + 1:08d}.seg"
        raw = path.read_bytes()
        at = rng.integers(DIM)
        change = {
            "flip": lambda v, at=at: v.__setitem__(4 * at, v[4 * at] ^ 1),  # the last bit of a fraction
            "zero": zero,
            "large": lambda v: v.__setitem__(slice(None), np.full(DIM, 1e4, np.float32).tobytes()),
        }[kind]
        damage(folder, row, change)
        with LocalGallery(folder, write=False) as gallery:
            for query in range(len(QUERIES)):
                outcome = answer(gallery, QUERIES[query : query + 1])
                if isinstance(outcome, GalleryDamagedError):
                    refused += 1
                    assert row in outcome.ids
                    assert f"{row // 32 + 1:08d}.seg" in str(outcome)
                else:
                    answered += 1
                    assert row not in rows[query]
                    assert outcome == ([rows[query].tolist()], [scores[query].tolist()])
        path.write_bytes(raw)
    assert refused >= len(set(best))
    assert answered > 5


def test_an_undamaged_neighbour_is_still_found(folder: Path) -> None:
    damage(folder, 40, zero)
    with LocalGallery(folder, write=False) as gallery:
        assert found(gallery, STORED[41:42], where={"n": 41})[0][0][0] == 41
        with pytest.raises(GalleryDamagedError):
            found(gallery, where={"n": 40})


def test_a_search_that_reads_everything_checks_everything(folder: Path) -> None:
    damage(folder, 100, zero)
    with LocalGallery(folder, write=False) as gallery:
        with pytest.raises(GalleryDamagedError) as raised:
            gallery.search(QUERIES, ROWS)
        assert raised.value.ids == tuple(range(96, 104))


def test_a_vector_is_compared_once(folder: Path) -> None:
    with LocalGallery(folder, write=False) as gallery:
        expected = found(gallery)
        damage(folder, expected[0][0][0], lambda v: v.__setitem__(0, v[0] ^ 1))
        found(gallery)
    with LocalGallery(folder, write=False) as gallery, pytest.raises(GalleryDamagedError):
        found(gallery)


def test_codes_are_opened_and_checked_when_a_search_needs_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    checked: list[int] = []

    def opening(path: Path, *rest: Any) -> CodesFile | None:
        opened.append(path.name)
        return open_codes(path, *rest)

    fits = CodesFile.fits
    monkeypatch.setattr(screen, "open_codes", opening)
    monkeypatch.setattr(CodesFile, "fits", lambda file, at: checked.append(at) or fits(file, at))
    with LocalGallery(folder, write=False) as gallery:
        len(gallery)
        gallery.get([7])
        gallery.search(np.zeros((0, DIM), np.float32), 3)
        assert opened == []
        assert found(gallery, STORED[40:41], where={"n": {"$gte": 32, "$lt": 48}})[0][0][0] == 40
        assert (opened, checked) == (["00000002.codes"], [0])
        found(gallery)
        assert len(opened) == 9
        assert len(checked) == 18
        found(gallery)
        assert (len(opened), len(checked)) == (9, 18)


def test_filtered_and_removed_rows_cost_nothing(folder: Path) -> None:
    """Neither codes nor vectors of blocks without a wanted row are looked at: their damage isn't noticed."""
    for row in range(64, 80):
        damage(folder, row, zero)
    spoil(folder, 3, 0)
    where = {"n": {"$not": {"$gte": 64, "$lt": 80}}}
    with LocalGallery(folder, write=False) as gallery:
        expected = found(gallery, where=where)
        with pytest.raises(GalleryDamagedError):
            found(gallery)
    with LocalGallery(folder) as gallery:
        gallery.remove(list(range(64, 80)))
        assert found(gallery) == expected
        assert screens(gallery)[2]._made == {}
        gallery.compact()
        assert found(gallery) == expected
        assert gallery.info()["coded"] == 8  # of 284 rows


def test_codes_are_not_made_of_damaged_vectors(folder: Path) -> None:
    spoil(folder, 2, 0)
    damage(folder, 33, zero)
    with LocalGallery(folder, write=False) as gallery:
        for _ in range(2):
            with pytest.raises(GalleryDamagedError) as raised:
                found(gallery)
            assert raised.value.ids == tuple(range(32, 40))
            assert screens(gallery)[1]._made == {}
        fine = found(gallery, STORED[41:42], where={"n": {"$gte": 40, "$lt": 48}})
        assert fine[0][0][0] == 41
        assert list(screens(gallery)[1]._made) == [1]


def test_codes_whose_checksums_lie_are_not_believed(folder: Path) -> None:
    """A file that fits in every way, but was coded from other vectors than it says."""
    with LocalGallery(folder, write=False) as gallery:
        expected = found(gallery)
        inner = screens(gallery)[3]
        other = cpp_ext.pack(np.ascontiguousarray(STORED[96:128][::-1]))
        blocks = [
            Block(other.panels[i : i + 1], other.bounds[i : i + 1], np.zeros(16, np.uint32)) for i in range(2)
        ]
        write_codes(folder / "00000004.codes", inner._layout, 4, inner._source, other.mean, blocks)
    with LocalGallery(folder, write=False) as gallery:
        assert screens(gallery)[3].is_stored()
        query = 5 * STORED[101:102] - STORED[5:6]
        assert cpp_ext.topk(query, STORED, 1)[0].tolist() == [[101]]
        assert gallery.search(query, 1).ids.tolist() == [[101]]
        assert sorted(screens(gallery)[3]._made) == [0, 1, 2, 3]
        assert not screens(gallery)[3].is_stored()
        assert found(gallery) == expected


def test_a_file_distrusted_by_another_thread_loses_no_rows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the check and the scan of this search."""
    check, meanwhile = search._check, [1, 5]

    def checked(connection: Any, snapshot: Any, wanted: Any) -> None:
        check(connection, snapshot, wanted)
        if meanwhile:
            wanted[meanwhile.pop()][0].screen.distrust()

    with LocalGallery(folder, write=False) as gallery:
        expected = found(gallery)
    monkeypatch.setattr(search, "_check", checked)
    with LocalGallery(folder, write=False) as gallery:
        assert found(gallery) == expected
        assert not meanwhile
        assert [bool(s._made) for s in screens(gallery)] == [n in (1, 5) for n in range(9)]


def test_the_specification_searches_what_the_kernels_wrote(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalGallery(folder, write=False) as gallery:
        expected = found(gallery)[0]
    monkeypatch.setenv("LABRADOR_LEVEL", "reference")
    with LocalGallery(folder, write=False) as gallery:
        assert found(gallery)[0] == expected
    monkeypatch.setattr(cpp_ext, "COMPILED_LEVELS", ())  # as without a compiled module
    with LocalGallery(folder) as gallery:
        assert found(gallery)[0] == expected
        assert screens(gallery) == []
        gallery.add(list(range(ROWS, ROWS + 40)), STORED[:40])
    assert len(list(folder.glob("*.seg"))) == 11
    assert len(list(folder.glob("*.codes"))) == 9


def test_threads_share_what_is_coded_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalGallery(folder, write=False) as gallery:
        expected = found(gallery)
    for segment in range(1, 10):
        spoil(folder, segment, segment % 2)
    packs: list[int] = []
    pack = cpp_ext.pack
    monkeypatch.setattr(cpp_ext, "pack", lambda *a, **named: packs.append(1) or pack(*a, **named))
    results: list[Any] = []
    with LocalGallery(folder, write=False) as gallery:
        threads = [threading.Thread(target=lambda: results.append(found(gallery))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [expected] * 6
    assert len(packs) == 18  # nine blocks of 16 rows are eighteen of 8


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_goes_on_with_the_codes_of_its_parent(folder: Path) -> None:
    spoil(folder, 1, 0)
    spoil(folder, 6, 1)
    with LocalGallery(folder, write=False) as gallery:
        half = found(gallery, where={"n": {"$lt": 100}})
        everything = [s.lock for s in screens(gallery)]
        for lock in everything:
            lock.acquire()  # as by a thread that codes a block while another forks
        child = os.fork()
        if child == 0:
            same = found(gallery, where={"n": {"$lt": 100}}) == half and len(found(gallery)[0]) == 6
            os._exit(0 if same and screens(gallery)[5]._made else 1)
        for lock in everything:
            lock.release()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert not screens(gallery)[5]._made
        found(gallery)
