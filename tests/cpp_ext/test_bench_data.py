"""The vectors of the benchmark, the memory it measures, and the store it finds."""

from __future__ import annotations

import numpy as np
import pytest

from cpp_ext.bench import data, late, memory, store


@pytest.mark.parametrize("kind", data.KINDS)
def test_drawn_vectors_have_unit_length_and_come_again(kind):
    made = data.drawn(kind, 500, 64, 20)
    assert made.rows.shape == (500, 64)
    assert made.queries.shape == (20, 64)
    for part in (made.rows, made.queries):
        assert part.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), 1, atol=1e-5)
    again = data.drawn(kind, 500, 64, 20)
    assert made.rows.tobytes() == again.rows.tobytes()
    assert made.queries.tobytes() == again.queries.tobytes()
    assert made.rows.tobytes() != data.drawn(kind, 500, 64, 20, seed=1).rows.tobytes()


def test_the_kinds_lie_as_described(monkeypatch):
    monkeypatch.setattr(data, "IDENTITIES", 50)
    cosines = {}
    for kind in data.KINDS:
        made = data.drawn(kind, 1000, 256, 50)
        cosines[kind] = made.queries @ made.rows.T
    assert abs(cosines["random"].mean()) < 0.01
    assert abs(cosines["clustered"].mean()) < 0.05
    same = cosines["clustered"][cosines["clustered"] > 0.5]
    assert 0.75 < same.mean() < 0.85
    assert 0.01 < same.size / cosines["clustered"].size < 0.03  # one in fifty
    assert 0.6 < cosines["cone"].mean() < 0.7
    size = np.abs(data.drawn("cone", 100, 256, 1).rows).mean(axis=0)
    assert size.max() > 5 * np.median(size)


def test_embeddings_are_split_into_rows_and_queries(tmp_path, real):
    file, array = tmp_path / "people.npy", real(40, 8).astype(np.float16)
    np.save(file, array)
    found = data.read(file, 10)
    assert found.name == "people"
    assert (found.rows.shape, found.queries.shape) == ((30, 8), (10, 8))
    both = np.concatenate([found.rows, found.queries])
    assert both.dtype == np.float32
    assert sorted(map(tuple, both.tolist())) == sorted(map(tuple, array.astype(np.float32).tolist()))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((40, 8), np.int8), "int8"),
        (np.ones(40, np.float32), r"\(40,\)"),
        (np.ones((19, 8), np.float32), "19 rows; 10 become queries, so give at least 20"),
        (np.full((40, 8), np.nan, np.float32), "NaN or infinity"),
    ],
)
def test_embeddings_that_cannot_be_searched_are_refused(tmp_path, array, message):
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(ValueError, match=message):
        data.read(tmp_path / "bad.npy", 10)


def test_memory_is_what_the_work_takes_beyond_its_inputs():
    pytest.importorskip("torch")
    sizes = (4000, 32, 16, 32, 1, 1)
    scores = 4000 * 32 * 32 * 4 / 2**20  # what einsum writes: 15.6 MiB, beside inputs of 7.8
    assert scores <= memory.peak("late", late.PEER, sizes) < 4 * scores
    assert 0 < memory.peak("late", "kernel", sizes) < scores / 2


def test_a_failing_process_is_an_error_with_its_words():
    with pytest.raises(RuntimeError, match=r"(?s)cpp_ext.bench.memory late kernel.*Error"):
        memory.peak("late", "kernel", (4, 2, 8))


def test_the_installed_gallery_names_itself():
    found = store.registered()
    assert found is not None
    assert found[0] == "Gallery.search"
    assert callable(found[1])
