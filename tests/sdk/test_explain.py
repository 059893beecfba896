"""explain: parts that add up to the score, effects that are what they say."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdk import Retriever
from sdk.errors import InputError
from sdk.types import Hits

WORDS = ("red", "green", "blue", "man", "woman", "a hat")


@pytest.fixture(scope="module")
def r(tiny_bundle: Path, picture: Any) -> Iterator[Retriever]:
    with Retriever(tiny_bundle) as retriever:
        retriever.add([picture(c, i) for c in WORDS[:3] for i in range(3)], ids=list(range(9)))
        yield retriever


@pytest.fixture(scope="module")
def late(three_graph_bundle: Path, picture: Any) -> Iterator[Retriever]:
    with Retriever(three_graph_bundle) as retriever:
        retriever.add([picture(c, i) for c in WORDS[:3] for i in range(3)], ids=list(range(9)))
        yield retriever


texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join)


@settings(max_examples=25, deadline=None)
@given(
    form=st.sampled_from(["text", "image", "sum", "attributes", "vector"]),
    text=texts,
    other=texts,
    without=st.booleans(),
)
def test_parts_add_up_to_the_score(
    r: Retriever, picture: Any, form: str, text: str, other: str, without: bool
) -> None:
    query: dict[str, Any] = {
        "text": {"text": text},
        "image": {"image": picture("red", 11)},
        "sum": {"image": picture("blue", 12), "text": text, "compose": "sum"},
        "attributes": {"attributes": {"coat": "green", "hat": "yes"}},
        "vector": {"vector": np.linspace(-1, 1, 16)},
    }[form]
    if without and form != "vector" and text != other:
        query["without"] = other
    hits = r.search(k=4, **query)
    (explained,) = r.explain(hits)
    names = {"sum": {"image", "text"}}.get(form, {form}) | ({"without"} if "without" in query else set())
    for hit, told in zip(hits[0], explained, strict=True):
        assert (told.id, told.score) == (hit.id, pytest.approx(hit.score))
        assert set(told.parts) == names
        assert sum(told.parts.values()) == pytest.approx(hit.score, abs=1e-5)


def test_the_parts_of_a_sum_are_its_dot_products(r: Retriever, picture: Any) -> None:
    image, text = r.embed_images(picture("red", 11))[0], r.embed_texts("blue")[0]
    length = np.linalg.norm(image + text)
    for told in r.explain(r.search(image=picture("red", 11), text="blue", compose="sum", k=9))[0]:
        row = r.gallery.get([told.id])[0]
        assert row is not None
        assert told.parts["image"] == pytest.approx(float(row.vector @ image / length), abs=1e-5)
        assert told.parts["text"] == pytest.approx(float(row.vector @ text / length), abs=1e-5)


def test_without_takes_from_what_it_names(r: Retriever) -> None:
    explained = r.explain(r.search(text="a man in a coat", without="red", k=9))[0]
    by_id = {told.id: told.parts["without"] for told in explained}
    assert max(by_id[i] for i in (0, 1, 2)) < min(by_id[i] for i in range(3, 9))
    assert by_id[0] < 0


def test_a_slots_effect_is_the_score_without_it(r: Retriever) -> None:
    attributes = {"gender": "male", "coat": "red", "hat": "yes"}
    hits = r.search(attributes=attributes, k=9)
    explained = r.explain(hits)[0]
    assert explained[0].sentence == "A man, in a red coat, in a hat."
    for slot in attributes:
        rest = {s: v for s, v in attributes.items() if s != slot}
        poorer = {hit.id: hit.score for hit in r.search(attributes=rest, k=9)[0]}
        for told in explained:
            assert told.effects[slot] == pytest.approx(told.score - poorer[told.id], abs=1e-5)
    best = explained[0]
    assert max(best.effects, key=lambda slot: best.effects[slot]) == "coat"


def test_a_value_that_says_nothing_has_no_effect_and_the_only_slot_no_entry(r: Retriever) -> None:
    explained = r.explain(r.search(attributes={"gender": "male", "coat": "unknown"}, k=1))[0][0]
    assert explained.effects["coat"] == 0
    assert set(r.explain(r.search(attributes={"gender": "male"}, k=1))[0][0].effects) == set()
    assert "gender" not in r.explain(r.search(attributes={"hat": "yes"}, k=1))[0][0].effects


def test_late_items_name_the_tokens_that_count(late: Retriever, picture: Any) -> None:
    hits = late.search(image=picture("green", 20), k=9)
    for told in late.explain(hits)[0]:
        row = late.gallery.get([told.id])[0]
        assert row is not None
        dots = row.vector @ hits.queries[0].vector
        best = np.argsort(-dots)[:2]
        assert [index for index, _ in told.tokens] == best.tolist()
        assert np.mean([dot for _, dot in told.tokens]) == pytest.approx(told.score, abs=1e-5)
        assert sum(told.parts.values()) == pytest.approx(told.score, abs=1e-5)


def test_a_composers_effects_compare_with_the_picture_alone(late: Retriever, picture: Any) -> None:
    image = picture("green", 20)
    hits = late.search(image=image, text="in blue", k=9)
    alone = {hit.id: hit.score for hit in late.search(image=image, k=9)[0]}
    for told in late.explain(hits)[0]:
        assert set(told.parts) == {"composed"}
        assert set(told.effects) == {"text"}  # this bundle can't search by text alone
        assert told.effects["text"] == pytest.approx(told.score - alone[told.id], abs=1e-5)


def test_rankings_batches_and_empty_answers(r: Retriever) -> None:
    hits = r.search(text=["red", "blue"], k=2)
    assert [[t.id for t in one] for one in r.explain(hits)] == [[h.id for h in ranking] for ranking in hits]
    assert r.explain(hits[1]) == r.explain(hits)[1:]
    assert r.explain(r.search(text="red", k=2, min_score=5)) == [[]]
    text = str(r.explain(hits)[0][0])
    assert text.startswith(f"{hits[0].scores[0]:+.4f}  {hits[0].ids[0]}\n")
    assert "text" in text


def test_hits_that_no_longer_hold(tiny_bundle: Path, picture: Any, r: Retriever) -> None:
    with Retriever(tiny_bundle) as own:
        own.add([picture("red"), picture("blue")], ids=[1, 2])
        hits = own.search(text="red", k=2)
        own.update(1, images=picture("green"))
        with pytest.raises(InputError, match=r"1 scored .* then and .* now"):
            own.explain(hits)
        own.remove(1)
        with pytest.raises(InputError, match="1 is no longer in the gallery"):
            own.explain(hits)
    bare = r.gallery.search(np.ones((1, 16), np.float32), 2)
    assert isinstance(bare, Hits)
    with pytest.raises(InputError, match="no query"):
        r.explain(bare)
