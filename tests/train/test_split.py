"""The four rules of relevance, by hand."""

from pathlib import Path

import numpy as np
import pytest

from sdk.attributes import Schema
from sdk.errors import InputError
from train.split import Match, Query, Sample, Split, of_people


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


def test_some_people_are_evenly_spaced_with_what_shows_and_asks_for_them() -> None:
    people = [item(p, c) for p in (1, 2, 3, 4, 5) for c in (1, 2)]
    gallery = [*people, item(-1, 1), item(0, 1)]
    whole = Split(
        "hand-made", tuple(people), tuple(Query(p, person=p) for p in (1, 2, 3, 4, 5)), tuple(gallery),
        gallery_keys=tuple(s.person for s in gallery),
    )  # fmt: skip
    some = of_people(whole, 2)
    assert [s.person for s in some.samples] == [1, 1, 3, 3]
    assert [q.key for q in some.queries] == [1, 3]
    assert [s.person for s in some.gallery] == [1, 1, 3, 3]
    assert some.gallery_keys == (1, 1, 3, 3)
    assert some.name == "hand-made, 2 of 5 people"
    assert of_people(whole, 5).gallery == tuple(people)


def test_an_attribute_set_asks_as_long_as_somebody_left_has_it() -> None:
    sets: list[object] = [Schema.as_set({"a": "x"}), Schema.as_set({"a": "y"}), Schema.as_set({"a": "x"})]
    shown = tuple(item(p) for p in (1, 2, 3))
    whole = Split("h", shown, (Query(sets[0]), Query(sets[1])), shown, "attributes", tuple(sets))
    assert [q.key for q in of_people(whole, 1).queries] == [sets[0]]
    assert [q.key for q in of_people(whole, 2).queries] == [sets[0], sets[1]]


@pytest.mark.parametrize("count", [0, 6])
def test_more_people_than_there_are_cannot_be_chosen(count: int) -> None:
    whole = split("person", [], [], [])
    with pytest.raises(InputError, match=f"{count} were asked for"):
        of_people(whole, count)
