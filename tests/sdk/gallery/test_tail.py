"""Codes of the segment being filled: as right as none, made once, for every snapshot."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import cpp_ext
from sdk.gallery import open_gallery
from sdk.gallery.segments import Layout
from sdk.gallery.tail import TailCodes
from sdk.types import Space

D = 24
SIZE = 4_096


@pytest.fixture
def random():
    return np.random.default_rng(11)


def vectors(random, rows):
    return random.standard_normal((rows, D)).astype(np.float32)


def coded_rows(gallery):
    with gallery._snapshots.view() as (_, snapshot):
        segment = snapshot.segments[-1]
        packed = segment.tail.packed(segment.mapped, segment.rows) if segment.tail else None
        return len(packed.vectors) if packed else 0


@pytest.mark.parametrize("tokens", [1, 3])
def test_searches_agree_while_the_segment_grows(tmp_path, random, tokens):
    with open_gallery(tmp_path / "a.gallery", Space("", D, tokens)) as gallery:
        held = np.empty((0, tokens, D), np.float32)
        query = vectors(random, 2)
        for rows in (SIZE - 1, 1, 1, 2 * SIZE, 500):
            new = vectors(random, rows * tokens).reshape(rows, tokens, D)
            gallery.add(range(len(held), len(held) + rows), new if tokens > 1 else new[:, 0], [{}] * rows)
            held = np.concatenate([held, new])
            rows_found, scores = cpp_ext.topk(query, held, 20, level="serial")
            for _ in range(3):  # the first checks, the second codes, the third has
                found = gallery.search(query, 20)
                assert [list(ids) for ids in found.ids] == rows_found.tolist()
                assert found.scores.tobytes() == scores.tobytes()
            assert coded_rows(gallery) == len(held) // SIZE * SIZE


def test_only_full_blocks_that_were_checked_are_coded(tmp_path, random):
    with open_gallery(tmp_path / "a.gallery", Space("", D)) as gallery:
        gallery.add(range(SIZE + 9), vectors(random, SIZE + 9), [{}] * (SIZE + 9))
        assert coded_rows(gallery) == 0
        gallery.search(vectors(random, 1), 1, {"nothing": 1})
        assert coded_rows(gallery) == 0
        gallery.search(vectors(random, 1), 1)
        gallery.search(vectors(random, 1), 1)
        assert coded_rows(gallery) == SIZE


def test_a_snapshot_of_fewer_rows_gets_no_more_than_it_has(tmp_path, random):
    with open_gallery(tmp_path / "a.gallery", Space("", D)) as gallery:
        gallery.add(range(3 * SIZE), vectors(random, 3 * SIZE), [{}] * (3 * SIZE))
        gallery.search(vectors(random, 1), 1)
        gallery.search(vectors(random, 1), 1)
        with gallery._snapshots.view() as (_, snapshot):
            segment = snapshot.segments[-1]
            assert segment.tail is not None
            assert len(segment.tail.packed(segment.mapped, 3 * SIZE).vectors) == 3 * SIZE
            assert len(segment.tail.packed(segment.mapped, 2 * SIZE + 5).vectors) == 2 * SIZE


def test_blocks_that_are_no_whole_panels_are_left_as_they_are(random):
    checked = SimpleNamespace(through={"vectors": 40})
    for size, expected in ((8, None), (16, 32)):
        mapped = SimpleNamespace(layout=Layout(D, 1, 48, size), checked=checked, vectors=vectors(random, 40))
        packed = TailCodes().packed(mapped, 40)
        assert (None if packed is None else len(packed.vectors)) == expected
