"""The four rules of relevance, by hand."""

from pathlib import Path

import numpy as np

from sdk.attributes import Schema
from train.split import Match, Query, Sample, Split


def item(person: int, camera: int | None = None, name: str = "") -> Sample:
    return Sample(name or f"{person}-{camera}", Path("x.jpg"), person, camera=camera)


def split(match: Match, queries: list[Query], gallery: list[Sample], keys: list[object]) -> Split:
    return Split("hand-made", (), tuple(queries), tuple(gallery), match, tuple(keys))


def test_person_needs_the_same_person_and_ignores_nothing() -> None:
    gallery = [item(4, 1), item(5, 1), item(4, 2)]
    made = split("person", [Query(4, person=4, camera=1), Query(9)], gallery, [4, 5, 4])
    assert made.relevant().tolist() == [[True, False, True], [False, False, False]]
    assert not made.ignored().any()


def test_other_camera_leaves_out_the_same_camera_and_junk() -> None:
    gallery = [item(4, 1), item(4, 2), item(-1, 2), item(0, 1), item(5, 1)]
    keys = [4, 4, -1, 0, 5]
    made = split("other_camera", [Query(4, person=4, camera=1), Query(5, person=5, camera=2)], gallery, keys)
    assert made.relevant().tolist() == [[False, True, False, False, False], [False] * 4 + [True]]
    # junk is ignored by every query, distractors by none; person 4's own camera by its query alone
    assert made.ignored().tolist() == [[True, False, True, False, False], [False, False, True, False, False]]


def test_an_item_is_never_both_relevant_and_ignored() -> None:
    rng = np.random.default_rng(2)
    people, cameras = rng.integers(-1, 4, 60), rng.integers(1, 4, 60)
    gallery = [item(int(p), int(c)) for p, c in zip(people, cameras, strict=True)]
    queries = [
        Query(int(p), person=int(p), camera=int(c)) for p, c in zip(people, cameras, strict=True) if p > 0
    ]
    made = split("other_camera", queries, gallery, [g.person for g in gallery])
    assert made.relevant().any()
    assert not (made.relevant() & made.ignored()).any()


def test_attributes_match_as_sets_whatever_their_order() -> None:
    red, also_red, blue = {"a": "x", "b": "y"}, {"b": "y", "a": "x"}, {"a": "x", "b": "z"}
    keys: list[object] = [Schema.as_set(also_red), Schema.as_set(blue), None]
    made = split("attributes", [Query(Schema.as_set(red))], [item(1), item(2), item(3)], keys)
    assert made.relevant().tolist() == [[True, False, False]]


def test_a_distractor_of_a_composed_gallery_never_matches() -> None:
    made = split("instance", [Query(17), Query(18)], [item(1), item(1), item(2)], [17, -1, None])
    assert made.relevant().tolist() == [[True, False, False], [False, False, False]]


def test_an_empty_gallery_or_no_query_has_an_empty_matrix() -> None:
    assert split("other_camera", [], [item(1, 1)], [1]).relevant().shape == (0, 1)
    assert split("other_camera", [Query(1, person=1)], [], []).relevant().shape == (1, 0)
