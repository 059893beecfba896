"""Codes files: what is in them, and that no damage to one changes what a search finds."""

from __future__ import annotations

import errno
import mmap
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cpp_ext
from sdk.errors import GalleryError
from sdk.gallery import rows
from sdk.gallery.codes import Block, CodesLayout, open_codes, source_of, write_codes
from sdk.gallery.local import LocalGallery
from sdk.gallery.segments import Layout
from sdk.types import Space

QUERIES = np.random.default_rng(9).standard_normal((3, 20), dtype=np.float32)
SPACE = Space("", 20)  # depth 32
HEAD, BOUNDS, ITEMS, PANELS, LENGTH = 52 + 4 * 20 + 4 * 2 + 4, 4096, 8192, 12288, 13312


def vectors(n: int, seed: int = 0, shape: tuple[int, ...] = (20,)) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, *shape), dtype=np.float32)


@pytest.fixture
def folder(small: None, tmp_path: Path) -> Path:
    """A closed gallery of 90 rows: two full segments of 32 in two blocks of 16, and a tail."""
    with LocalGallery(tmp_path / "g", SPACE) as gallery:
        gallery.add(list(range(90)), vectors(90), [{"n": i} for i in range(90)])
    return tmp_path / "g"


def found(gallery: LocalGallery, k: int = 5, **options: Any) -> tuple[list[Any], bytes]:
    hits = gallery.search(QUERIES, k, **options)
    return hits.ids.tolist(), hits.scores.tobytes()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.codes") if path.is_file()}


def made(gallery: LocalGallery) -> list[list[int]]:
    """Per full segment, its blocks (of 8 rows) that were coded in memory."""
    with gallery._view() as (_, snapshot):
        return [sorted(s.screen._made) for s in snapshot.segments if s.screen]


@pytest.mark.parametrize(
    ("space", "segment_rows", "block_rows", "block_panels"),
    [
        (Space("", 20), 32, 8, [1, 1]),
        (Space("", 5), 40, 8, [1, 1, 1]),  # the last block has 8 rows of a panel's 16
        (Space("", 16), 96, 24, [3, 3]),
        (Space("", 7, tokens=3, top_tokens=2), 16, 8, [8, 8]),
        (Space("", 33, tokens=17), 16, 8, [16, 16]),
    ],
)
def test_a_full_segment_has_the_codes_of_its_vectors(
    space: Space,
    segment_rows: int,
    block_rows: int,
    block_panels: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rows, "SEGMENT_ROWS", segment_rows)
    monkeypatch.setattr(rows, "BLOCK_ROWS", block_rows)
    item = (space.dim,) if space.tokens == 1 else (space.tokens, space.dim)
    stored = vectors(segment_rows + 3, 1, item)
    with LocalGallery(tmp_path / "g", space) as gallery:
        gallery.add(list(range(len(stored))), stored)
    assert sorted(p.name for p in (tmp_path / "g").glob("*.codes*")) == ["00000001.codes"]
    full = stored[:segment_rows]
    raw = (tmp_path / "g" / "00000001.codes").read_bytes()

    step, depth = cpp_ext.pack(full).panels.shape[1] * 4, -(-space.dim // 16) * 16
    assert step == depth
    block = segment_rows // len(block_panels) if len(block_panels) < 3 else 16
    numbers = struct.unpack_from("<8s8IQI", raw)
    crcs = [zlib.crc32(full[i : i + block_rows].tobytes()) for i in range(0, segment_rows, block_rows)]
    source = zlib.crc32(np.array(crcs, np.uint32).tobytes())
    assert numbers == (
        b"LabCodes", 1, space.dim, space.tokens, segment_rows, block, 16, 4, depth, 1, source,
    )  # fmt: skip
    mean = np.frombuffer(raw, np.float32, space.dim, 52)
    end = 52 + 4 * space.dim + 4 * len(block_panels)
    assert zlib.crc32(raw[:end]) == int.from_bytes(raw[end : end + 4], "little")
    expected = cpp_ext.pack(full, mean=mean.copy())
    panels = len(expected.panels)
    assert panels == sum(block_panels)
    bounds_at = -(-(end + 4) // 4096) * 4096
    items_at = bounds_at + -(-panels * 192 // 4096) * 4096
    panels_at = items_at + -(-segment_rows * 4 // 4096) * 4096
    assert len(raw) == panels_at + panels * 16 * depth
    bounds, codes = raw[bounds_at : bounds_at + panels * 192], raw[panels_at:]
    items = raw[items_at : items_at + 4 * segment_rows]
    assert bounds == expected.bounds.tobytes()
    assert codes == expected.panels.tobytes()
    assert np.frombuffer(items, np.uint32).tolist() == [zlib.crc32(x.tobytes()) for x in full]
    at = row = 0
    for number, count in enumerate(block_panels):
        last = min(segment_rows, row + block)
        data = codes[at * 16 * depth : (at + count) * 16 * depth] + bounds[at * 192 : (at + count) * 192]
        crc = int.from_bytes(raw[52 + 4 * space.dim + 4 * number :][:4], "little")
        assert crc == zlib.crc32(data + items[4 * row : 4 * last])
        at, row = at + count, last
    np.testing.assert_allclose(mean, full.reshape(-1, space.dim).mean(axis=0), atol=1e-6)


def flip(at: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "00000001.codes"
        raw = bytearray(path.read_bytes())
        raw[at] ^= 16
        path.write_bytes(raw)

    return change


def rewrite(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    path = "00000001.codes"
    return lambda folder: folder.joinpath(path).write_bytes(change((folder / path).read_bytes())) and None


def swap(folder: Path) -> None:
    (folder / "00000001.codes").rename(folder / "x")
    (folder / "00000002.codes").rename(folder / "00000001.codes")
    (folder / "x").rename(folder / "00000002.codes")


def from_another(space: Space) -> Callable[[Path], None]:
    """The codes of the same segment of another gallery, of other vectors."""

    def change(folder: Path) -> None:
        with LocalGallery(folder.with_name("other"), space) as other:
            other.add(list(range(32)), vectors(32, 7, (space.dim,)))
        shutil.copy(folder.with_name("other") / "00000001.codes", folder)

    return change


def newer(raw: bytes) -> bytes:
    """As a later version might write it: everything else, and its checksum, fits."""
    head = bytearray(raw[: HEAD - 4])
    head[8] = 2
    return bytes(head) + zlib.crc32(head).to_bytes(4, "little") + raw[HEAD:]


WHOLE: dict[str, Callable[[Path], None]] = {
    "missing": lambda folder: (folder / "00000001.codes").unlink(),
    "a folder": lambda folder: (folder / "00000001.codes").unlink() or (folder / "00000001.codes").mkdir(),
    "empty": rewrite(lambda raw: b""),
    "cut in its head": rewrite(lambda raw: raw[: HEAD - 1]),
    "cut by a byte": rewrite(lambda raw: raw[:-1]),
    "a byte too long": rewrite(lambda raw: raw + b"\0"),
    "wrong magic": flip(0),
    "wrong version": flip(8),
    "of a newer version": rewrite(newer),
    "wrong dim": flip(12),
    "wrong tokens": flip(16),
    "wrong rows": flip(20),
    "wrong block": flip(24),
    "wrong panel": flip(28),
    "wrong step": flip(32),
    "wrong depth": flip(36),
    "wrong segment": flip(40),
    "wrong source": flip(48),
    "mean": flip(52 + 3),
    "checksum of a block": flip(HEAD - 8),
    "checksum of the head": flip(HEAD - 1),
    "of other vectors": from_another(SPACE),
    "of another dim": from_another(Space("", 40)),
}


@pytest.mark.parametrize("damage", WHOLE)
def test_a_file_that_is_not_for_these_vectors_counts_as_none(folder: Path, damage: str) -> None:
    with LocalGallery(folder, write=False) as gallery:
        expected = found(gallery)
        assert made(gallery) == [[], []]
        assert gallery.info()["coded"] == 2
    WHOLE[damage](folder)
    before = contents(folder)
    with LocalGallery(folder, write=False) as gallery:
        for _ in range(2):
            assert found(gallery) == expected
            assert made(gallery) == [[0, 1, 2, 3], []]
        assert gallery.info()["coded"] == 1
    assert contents(folder) == before


def test_files_of_two_segments_exchanged_count_as_none(folder: Path) -> None:
    with LocalGallery(folder, write=False) as gallery:
        expected = found(gallery)
    swap(folder)
    with LocalGallery(folder, write=False) as gallery:
        assert found(gallery) == expected
        assert made(gallery) == [[0, 1, 2, 3]] * 2


BLOCKS = {
    "panels": (PANELS + 15, 0),
    "the last panel": (LENGTH - 1, 1),
    "bounds": (BOUNDS + 7, 0),
    "bounds of the last row": (BOUNDS + 2 * 192 - 1, 1),
    "checksum of a row": (ITEMS + 1, 0),
    "checksum of the last row": (ITEMS + 4 * 32 - 1, 1),
}


@pytest.mark.parametrize("damage", BLOCKS)
def test_a_damaged_block_alone_is_coded_anew(folder: Path, damage: str) -> None:
    at, block = BLOCKS[damage]
    assert (folder / "00000001.codes").stat().st_size == LENGTH
    with LocalGallery(folder, write=False) as gallery:
        expected = found(gallery), found(gallery, 50), found(gallery, where={"n": {"$ne": 3}})
    flip(at)(folder)
    with LocalGallery(folder, write=False) as gallery:
        for _ in range(2):
            again = found(gallery), found(gallery, 50), found(gallery, where={"n": {"$ne": 3}})
            assert again == expected
            assert made(gallery) == [[2 * block, 2 * block + 1], []]
        assert gallery.info()["coded"] == 1


def test_any_byte_may_be_damaged(folder: Path) -> None:
    raw = (folder / "00000001.codes").read_bytes()
    used = [*range(HEAD), *range(BOUNDS, BOUNDS + 384), *range(ITEMS, ITEMS + 128), *range(PANELS, LENGTH)]
    with LocalGallery(folder, write=False) as gallery:
        expected = found(gallery)
    for at in np.random.default_rng(1).choice(used, 40, replace=False).tolist():
        flip(at)(folder)
        with LocalGallery(folder, write=False) as gallery:
            assert found(gallery) == expected, at
            assert made(gallery)[0], at
        (folder / "00000001.codes").write_bytes(raw)


def test_damage_in_padding_is_none(folder: Path) -> None:
    for at in (HEAD, BOUNDS - 1, BOUNDS + 384, ITEMS + 128, PANELS - 1):
        flip(at)(folder)
    with LocalGallery(folder, write=False) as gallery:
        found(gallery)
        assert made(gallery) == [[], []]


def test_too_many_open_files_are_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a reason to code all segments in memory; and a search may succeed later."""

    def refused(*_: Any, **named: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with LocalGallery(folder, write=False) as gallery:
        with monkeypatch.context() as patch:
            patch.setattr(mmap, "mmap", refused)
            with pytest.raises(GalleryError, match=r"00000001\.codes.*two files open per 32 rows.*ulimit -n"):
                found(gallery)
        found(gallery)
        assert made(gallery) == [[], []]


def test_writing_and_reading_alone(tmp_path: Path) -> None:
    """Of the format, without a gallery around it."""
    layout = CodesLayout(Layout(20, 1, 32, 8))
    packed = cpp_ext.pack(vectors(32))
    blocks = [
        Block(packed.panels[i : i + 1], packed.bounds[i : i + 1], np.arange(16, dtype=np.uint32), sound=i > 0)
        for i in range(2)
    ]
    path, source = tmp_path / "00000007.codes", source_of(np.arange(4, dtype=np.uint32))
    write_codes(path, layout, 7, source, packed.mean, blocks)
    file = open_codes(path, layout, 7, source)
    assert file is not None
    assert file.panels.tobytes() == packed.panels.tobytes()
    assert file.bounds.tobytes() == packed.bounds.tobytes()
    assert file.mean.tobytes() == packed.mean.tobytes()
    assert file.items.tolist() == [*range(16)] * 2
    assert [file.fits(0), file.fits(1)] == [False, True]  # the first was said to be unsound
    for arguments in ((8, source), (7, source ^ 1)):
        assert open_codes(path, layout, *arguments) is None
    assert open_codes(path, CodesLayout(Layout(20, 1, 32, 16)), 7, source) is not None  # the same blocks
    assert open_codes(path, CodesLayout(Layout(20, 1, 64, 8)), 7, source) is None
