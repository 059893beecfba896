"""Attribute schemas: sentence, spans, and refusals that list what is known."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk.attributes import Schema
from sdk.errors import AttributeValueError

DATA: dict[str, Any] = {
    "name": "street",
    "slots": {
        "gender": {"male": "man", "female": "woman"},
        "hat": {"no": "without a hat", "yes": "wearing a hat"},
        "upper": {"red": "red", "unknown": ""},
        "sleeve": {"short": "short-sleeved", "long": "long-sleeved"},
    },
    "clauses": [
        ["A {gender}"],
        ["{hat}"],
        ["in a {sleeve} {upper} top", "in a {upper} top", "in a {sleeve} top"],
    ],
}
SCHEMA = Schema.from_json(DATA)


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"gender": "female"}, "A woman."),
        ({"hat": "yes", "gender": "male"}, "A man, wearing a hat."),
        ({"upper": "red", "gender": "male"}, "A man, in a red top."),
        ({"upper": "red", "sleeve": "long"}, "in a long-sleeved red top."),
        ({"upper": "unknown", "sleeve": "long", "hat": "no"}, "without a hat, in a long-sleeved top."),
    ],
)
def test_the_most_specific_wording_that_is_given(attributes: dict[str, str], sentence: str) -> None:
    assert SCHEMA.sentence(attributes) == sentence


values = st.fixed_dictionaries(
    {}, optional={slot: st.sampled_from(sorted(known)) for slot, known in DATA["slots"].items()}
)


@given(values)
def test_spans_cut_out_each_spoken_phrase_and_order_does_not_matter(attributes: dict[str, str]) -> None:
    spoken = {s: v for s, v in attributes.items() if DATA["slots"][s][v]}
    if not spoken:
        with pytest.raises(AttributeValueError):
            SCHEMA.spans(attributes)
        return
    sentence, spans = SCHEMA.spans(attributes)
    assert {slot: sentence[a:b] for slot, (a, b) in spans.items()} == {
        slot: DATA["slots"][slot][value] for slot, value in spoken.items()
    }
    assert SCHEMA.sentence(dict(reversed(attributes.items()))) == sentence
    assert sentence.endswith(".")


def test_values_that_say_nothing() -> None:
    with pytest.raises(AttributeValueError, match=r"says nothing in schema 'street'.*add another slot"):
        SCHEMA.sentence({"upper": "unknown"})


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({}, "at least one of 'gender', 'hat'"),
        (None, "at least one of"),
        ("male", "got 'male'"),
        (
            {"hats": "yes"},
            r"unknown slot 'hats' \(did you mean 'hat'\?\); schema 'street' has 'gender', 'hat'",
        ),
        ({"shoes": "red"}, "unknown slot 'shoes'; schema"),
        ({7: "red"}, "unknown slot 7"),
        ({"gender": "dog"}, "gender='dog' is unknown; 'gender' takes 'male', 'female'"),
        ({"gender": ["male"]}, r"gender=\['male'\] is unknown"),
        ({"gender": None}, "gender=None is unknown"),
    ],
)
def test_what_is_unknown_is_named_with_what_is_known(attributes: Any, says: str) -> None:
    with pytest.raises(AttributeValueError, match=says):
        SCHEMA.sentence(attributes)


@pytest.mark.parametrize("missing", ["name", "slots", "clauses"])
def test_a_schema_without_a_field(missing: str) -> None:
    with pytest.raises(AttributeValueError, match=missing):
        Schema.from_json({k: v for k, v in DATA.items() if k != missing})


def test_a_wording_that_names_no_slot_of_the_schema() -> None:
    with pytest.raises(AttributeValueError, match=r"'in \{shoes\}' names the slot 'shoes'.*defines 'gender'"):
        Schema.from_json({**DATA, "clauses": [["in {shoes}"]]})
    for wrong in (
        {"slots": ["gender"]},
        {"slots": {"hat": {"yes": None}}},
        {"clauses": ["A {gender}"]},
        {"name": 3},
    ):
        with pytest.raises(AttributeValueError, match=r"'slots'.*all of strings"):
            Schema.from_json({**DATA, **wrong})


def test_json_both_ways_and_sets() -> None:
    assert Schema.from_json(SCHEMA.to_json()) == SCHEMA
    assert SCHEMA.to_json() == DATA
    assert (
        Schema.as_set({"a": "1", "b": "2"})
        == Schema.as_set({"b": "2", "a": "1"})
        != Schema.as_set({"a": "1"})
    )
