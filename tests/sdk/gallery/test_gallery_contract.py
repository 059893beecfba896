"""One contract for every backend in BACKENDS: what a gallery promises, held against its plain twin.

Vectors hold small integers wherever order is compared, so that scores are exact and ties are many.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sdk.errors import GalleryError
from sdk.gallery import open_gallery
from sdk.types import Gallery, Hits, Space

FILTERS: list[tuple[dict[str, Any] | None, Callable[[dict[str, Any]], bool]]] = [
    (None, lambda m: True),
    ({"camera": 1}, lambda m: m.get("camera") == 1),
    ({"camera": {"$ne": 1}, "hat": {"$exists": True}}, lambda m: m.get("camera") != 1 and "hat" in m),
    ({"camera": {"$gte": 2}}, lambda m: m.get("camera", -1) >= 2),
    ({"hat": "none at all"}, lambda m: False),
]


def vectors(rng: np.random.Generator, n: int, space: Space) -> np.ndarray:
    item = (space.dim,) if space.tokens == 1 else (space.tokens, space.dim)
    return rng.integers(-2, 3, (n, *item)).astype(np.float32)


def metadata(rng: np.random.Generator, n: int) -> list[dict[str, Any]]:
    return [
        {"camera": int(c)} | ({"hat": "red"} if c % 2 else {}) if c else {} for c in rng.integers(0, 4, n)
    ]


def found(hits: Hits) -> list[tuple[list[Any], list[float]]]:
    return list(zip(hits.ids.tolist(), hits.scores.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", [str, int])
def test_any_course_of_calls_equals_the_twin(
    place: str, space: Space, kind: type, seed: int, make_twin: Any, same: Any
) -> None:
    rng, twin, named = np.random.default_rng([seed, kind is int]), make_twin(space), 0
    gallery = open_gallery(place, space)
    assert isinstance(gallery, Gallery)
    gone: list[Any] = []
    for _ in range(40):
        known = list(twin.rows)
        some = [known[i] for i in rng.permutation(len(known))[: rng.integers(0, 12)]]
        match rng.choice(
            ["add", "add", "update", "remove", "compact", "reopen", "search", "search", "search"]
        ):
            case "add":
                n = int(rng.choice([0, 1, 3, 8, 30, 45]))
                ids = [kind(i) for i in range(named, named + n)]
                named += n
                new = ids, vectors(rng, n, space), metadata(rng, n)
                gallery.add(*new)
                twin.add(*new)
            case "update":
                new_vectors = vectors(rng, len(some), space) if rng.random() < 0.7 else None
                new_metadata = metadata(rng, len(some)) if new_vectors is None or rng.random() < 0.5 else None
                gallery.update(some, new_vectors, new_metadata)
                for n, i in enumerate(some):
                    old = twin.rows[i]
                    vector = old[0] if new_vectors is None else new_vectors[n]
                    twin.rows[i] = vector, old[1] if new_metadata is None else new_metadata[n]
            case "remove":
                gallery.remove(some)
                for i in some:
                    gone.append(i)
                    del twin.rows[i]
            case "compact":
                gallery.compact()
            case "reopen":
                gallery.close()
                gallery = open_gallery(place, space if rng.random() < 0.5 else None)
            case "search":
                queries = vectors(rng, int(rng.integers(0, 4)), Space("", space.dim))
                k = int(rng.choice([1, 2, 7, 40, 500]))
                where, accepted = FILTERS[rng.integers(len(FILTERS))]
                exclude = [[*some, *gone[-2:]] for _ in queries] if rng.random() < 0.5 else None
                least = float(rng.integers(-2, 6)) if rng.random() < 0.5 else None
                hits = gallery.search(queries, k, where, exclude, least)
                expected = twin.search(queries, k, accepted, exclude, -np.inf if least is None else least)
                assert found(hits) == expected
                assert hits.ids.shape == hits.scores.shape == (len(queries), k)
                assert hits.scores.dtype == np.float32
                for ranking in hits:
                    assert [h.metadata for h in ranking] == [twin.rows[h.id][1] for h in ranking]
        assert len(gallery) == len(twin.rows)
        assert all(i not in gallery for i in gone[-3:])
        assert all(i in gallery for i in some if i in twin.rows)
    same(gallery, twin)
    assert gallery.get(gone) == [None] * len(gone)
    gallery.close()


def test_scores_equal_the_kernel_to_the_bit(place: str, space: Space) -> None:
    import cpp_ext

    rng = np.random.default_rng(5)
    item = (space.dim,) if space.tokens == 1 else (space.tokens, space.dim)
    stored = rng.standard_normal((150, *item)).astype(np.float32)
    queries = rng.standard_normal((5, space.dim)).astype(np.float32)
    with open_gallery(place, space) as gallery:
        gallery.add(list(range(150)), stored)
        if not gallery.exact:
            pytest.skip("this backend doesn't promise exact scores")
        hits = gallery.search(queries, 20)
        rows, scores = cpp_ext.topk(queries, stored, 20, top_tokens=space.top_tokens)
        assert hits.ids.tolist() == rows.tolist()
        assert hits.scores.tobytes() == scores.tobytes()
        for row, vector in zip(gallery.get(range(150)), stored, strict=True):
            assert row.vector.tobytes() == vector.tobytes()


def test_an_updated_row_wins_its_ties_from_its_old_place(place: str) -> None:
    with open_gallery(place, Space("", 1)) as gallery:
        gallery.add(list(range(100)), np.ones((100, 1), np.float32))
        for changed in (99, 50, 3, 0):
            gallery.update([changed], np.ones((1, 1), np.float32))
        for k in (1, 2, 5, 100):
            assert gallery.search(np.ones((1, 1), np.float32), k).ids.tolist() == [list(range(k))]
        gallery.compact()
        assert gallery.search(np.ones((1, 1), np.float32), 100).ids.tolist() == [list(range(100))]


def test_an_empty_gallery_answers_with_padding(place: str, space: Space) -> None:
    with open_gallery(place, space) as gallery:
        hits = gallery.search(np.zeros((2, space.dim), np.float32), 3, where={"a": 1})
        assert hits.ids.tolist() == [[None] * 3] * 2
        assert (hits.scores == -np.inf).all()
        assert [len(r) for r in hits] == [0, 0]
        assert hits.metadata == [[None] * 3] * 2
        assert (len(gallery), "a" in gallery, gallery.get(["a"])) == (0, False, [None])
        gallery.compact()
        gallery.erase([])


def test_readers_see_a_commit_at_their_next_search(place: str, space: Space) -> None:
    rng = np.random.default_rng(0)
    with open_gallery(place, space) as writer, open_gallery(place, write=False) as reader:
        query = np.zeros((1, space.dim), np.float32)
        for n in range(1, 60, 7):
            writer.add([f"{n}.{i}" for i in range(n)], vectors(rng, n, space), [{"n": n}] * n)
            assert len(reader) == len(writer)
            assert len(reader.search(query, 999, where={"n": n})[0]) == n
            writer.remove([f"{n}.0"])
            assert f"{n}.0" not in reader
            assert len(reader.search(query, 999, where={"n": n})[0]) == n - 1
            if n % 3 == 0:
                writer.compact()
                assert len(reader.search(query, 999)[0]) == len(writer)


def test_searches_in_many_threads_each_see_one_moment(place: str, space: Space) -> None:
    """Each add and each remove changes a whole batch of ten, so a search must count whole batches."""
    rng, wrong, stop = np.random.default_rng(0), [], threading.Event()
    query = np.zeros((2, space.dim), np.float32)

    def look(gallery: Gallery) -> None:
        try:
            while not stop.is_set():
                every = gallery.search(query, 400)
                even = gallery.search(query, 400, where={"even": True})
                for hits in (every, even):
                    if any(len(r) % 10 for r in hits) or len(hits[0]) != len(hits[1]):
                        wrong.append([len(r) for r in hits])
                if any(m is not None and m["even"] is False for m in even.metadata[0]):
                    wrong.append(even.metadata[0])
        except BaseException as error:
            wrong.append(error)

    with open_gallery(place, space) as gallery, open_gallery(place, write=False) as other:
        threads = [threading.Thread(target=look, args=(g,)) for g in (gallery, gallery, other)]
        for thread in threads:
            thread.start()
        for batch in range(25):
            ids = [f"{batch}.{i}" for i in range(10)]
            gallery.add(ids, vectors(rng, 10, space), [{"even": batch % 2 == 0}] * 10)
            if batch % 4 == 3:
                gallery.remove([f"{batch - 2}.{i}" for i in range(10)])
            if batch % 8 == 7:
                gallery.compact()
        stop.set()
        for thread in threads:
            thread.join()
        assert not wrong
        assert len(gallery) == 25 * 10 - 6 * 10


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_searches_and_leaves_the_parent_in_charge(place: str, space: Space) -> None:
    rng = np.random.default_rng(0)
    query = np.zeros((1, space.dim), np.float32)
    with open_gallery(place, space) as gallery:
        gallery.add(["a", "b"], vectors(rng, 2, space), [{"x": 1}, {"x": 2}])
        assert gallery.search(query, 2, where={"x": 2}).ids.tolist() == [["b", None]]
        child = os.fork()
        if child == 0:
            good = gallery.search(query, 2).ids.tolist() == [["a", "b"]]
            good &= gallery.search(query, 2, where={"x": 2}).ids.tolist() == [["b", None]]
            try:
                gallery.add(["c"], vectors(rng, 1, space))
                good = False
            except GalleryError as error:
                good &= str(os.getppid()) in str(error)
            gallery.close()
            os._exit(0 if good else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        gallery.add(["c"], vectors(rng, 1, space))
        assert gallery.search(query, 3).ids.tolist() == [["a", "b", "c"]]


def test_what_add_returned_from_is_there_without_close(
    place: str, space: Space, make_twin: Any, same: Any
) -> None:
    rng, twin = np.random.default_rng(1), make_twin(space)
    gallery = open_gallery(place, space)
    new = list(range(40)), vectors(rng, 40, space), metadata(rng, 40)
    gallery.add(*new)
    twin.add(*new)
    with open_gallery(place, write=False) as reader:
        assert reader.durable
        same(reader, twin)
    gallery.close()


def test_ids_of_numpy_and_odd_strings(place: str) -> None:
    odd = ["a\0b", "a\0", "a", "\n", "ünï", "\U0001f415", "x" * 256, "1", " ", "%_'\""]
    with open_gallery(place, Space("", 1)) as gallery:
        gallery.add(np.array(["numpy"]), np.ones((1, 1)))
        gallery.add(odd, np.ones((len(odd), 1)), [{i: i} for i in odd])
        assert gallery.search(np.ones((1, 1)), 20).ids[0].tolist() == ["numpy", *odd] + [None] * 9
        assert [r and r.metadata for r in gallery.get(odd)] == [{i: i} for i in odd]
        assert type(gallery.search(np.ones((1, 1)), 1).ids[0, 0]) is str
        assert gallery.search(np.ones((1, 1)), 2, where={"a\0": "a\0"}).ids[0, 0] == "a\0"


def test_integer_ids_stay_integers(place: str) -> None:
    ids = np.array([5, -1, 2**62], np.int64)
    with open_gallery(place, Space("", 1)) as gallery:
        gallery.add(ids, np.ones((3, 1), np.float32))
        hits = gallery.search(np.ones((1, 1), np.float32), 3)
        assert hits.ids[0].tolist() == [5, -1, 2**62]
        assert all(type(i) is int for i in hits.ids[0])
        assert np.int64(5) in gallery
        assert "5" not in gallery


def test_other_floats_are_converted(place: str) -> None:
    with open_gallery(place, Space("", 2)) as gallery:
        gallery.add(["a"], np.array([[0.1, 0.5]], np.float16))
        gallery.add(["b"], [[0.1, 0.5]])
        gallery.add(["c"], np.array([[0.1, 0.0], [0.5, 0.0]], np.float32).T[:1])
        a, b, c = (row.vector for row in gallery.get(["a", "b", "c"]))
        assert a.tolist() == [float(np.float16(0.1)), 0.5]
        assert b.tolist() == c.tolist() == [float(np.float32(0.1)), 0.5]


def test_metadata_comes_back_as_plain_python(place: str) -> None:
    given = {
        "bool": np.bool_(True),
        "int": np.int32(5),
        "float": np.float32(0.5),
        "double": np.float64(0.1),
        "text": np.str_("é\0"),
        "array": np.arange(3),
        "tuple": (1, "a", None),
        "deep": {"a": [{"b": np.uint8(1)}]},
        "none": None,
        "big": 2**63 - 1,
    }
    back = {
        "bool": True,
        "int": 5,
        "float": 0.5,
        "double": 0.1,
        "text": "é\0",
        "array": [0, 1, 2],
        "tuple": [1, "a", None],
        "deep": {"a": [{"b": 1}]},
        "none": None,
        "big": 2**63 - 1,
    }
    with open_gallery(place, Space("", 1)) as gallery:
        gallery.add(["a"], np.ones((1, 1), np.float32), [given])
        (row,) = gallery.get(["a"])
        assert row.metadata == back
        assert list(map(type, row.metadata.values())) == list(map(type, back.values()))
        assert gallery.search(np.ones((1, 1), np.float32), 1, where={"int": 5, "bool": True})[0][0].id == "a"
