"""Categories of yes/no attributes: numbering, and the schema that speaks of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from train.datasets._categories import in_words, number_categories, schema_of


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 4)), elements=st.integers(0, 1)))
def test_equal_rows_share_a_number_counted_by_first_appearance(labels: np.ndarray) -> None:
    known: dict[tuple[int, ...], int] = {}
    expected = [known.setdefault(tuple(row), len(known)) for row in labels.tolist()]
    assert number_categories(labels).tolist() == expected


def test_columns_nobody_has_words_for_are_said_by_their_names() -> None:
    columns = ["upperBodyNewThing", "Skirt&Dress", "male", "hat2"]
    schema = schema_of("some", columns, ["{male}", "A person"], {"hat2": "hat", "male": ("A woman", "A man")})
    assert list(schema.slots) == ["upperBodyNewThing", "Skirt_Dress", "male", "hat2"]
    everything = dict.fromkeys(schema.slots, "yes")
    assert schema.sentence(everything) == "A man, hat, upper body new thing, skirt dress."
    assert schema.sentence(dict.fromkeys(schema.slots, "no")) == "A woman."
    assert schema.sentence({"hat2": "yes"}) == "A person, hat."
    assert in_words("AgeOver60") == "age over 60"
