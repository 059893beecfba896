"""Batches with one item or two of a person: what every batch and every epoch keeps to."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk.errors import InputError
from train.sampling import OneOrTwoSampler


@given(
    st.lists(st.integers(1, 12), min_size=12, max_size=60), st.sampled_from([2, 6, 12]), st.integers(0, 20)
)
def test_the_laws_of_an_epoch(sizes: list[int], batch: int, epoch: int) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)) * 5 - 3, sizes))
    rows = OneOrTwoSampler(labels, batch).batches(epoch)
    assert rows.shape[1] == batch
    assert len(rows) >= 1
    drawn: dict[int, int] = {}
    pairs = set()
    for row in rows:
        people, counts = np.unique(labels[row], return_counts=True)
        assert set(counts) <= {1, 2}
        pairs.add(int((counts == 2).sum()))
        for person, count in zip(people.tolist(), counts.tolist(), strict=True):
            assert drawn.setdefault(person, count) == count  # one draw for the whole epoch
    assert len(pairs) == 1
    for item, times in zip(*np.unique(rows, return_counts=True), strict=True):
        alone = sizes[(labels[item] + 3) // 5] == 1
        assert times == (drawn[int(labels[item])] if alone else 1)  # only a single item is its own partner


@given(st.lists(st.integers(1, 9), min_size=8, max_size=40), st.integers(0, 9))
def test_what_is_left_over_would_not_fill_another_batch(sizes: list[int], epoch: int) -> None:
    batch = 8
    labels = np.repeat(np.arange(len(sizes)), sizes)
    made = OneOrTwoSampler(labels, batch, seed=1)
    count = len(made.batches(epoch))
    drawn = np.random.default_rng([1, epoch]).integers(1, 3, len(sizes))
    groups = np.maximum(1, np.array(sizes) // drawn)

    def fits(batches: int) -> bool:
        places = [int(np.minimum(groups[drawn == n], batches).sum()) for n in (1, 2)]
        return any(
            batches * pairs <= places[1] and batches * (batch - 2 * pairs) <= places[0]
            for pairs in range(batch // 2 + 1)
        )

    assert fits(count)
    assert not any(fits(more) for more in range(count + 1, sum(sizes) + 2))


def test_everyone_comes_once_or_twice_about_equally_often() -> None:
    labels = np.repeat(np.arange(200), 6)
    made = OneOrTwoSampler(labels, 32)
    twice, seen = np.zeros(200), np.zeros(1200)
    for epoch in range(60):
        rows = made.batches(epoch)
        seen += np.bincount(rows.ravel(), minlength=1200)
        for row in rows[:1]:
            people, counts = np.unique(labels[row], return_counts=True)
            twice[people] += counts == 2
    epochs = np.array([len(made.batches(epoch)) for epoch in range(60)])
    assert 0.93 * 1200 < epochs.mean() * 32 <= 1200  # little is left over, as all batches have as many pairs
    assert seen.min() > 40
    assert 0.25 < twice.sum() / (60 * 24) < 0.45  # a third of the groups are pairs, a half of the items


def test_ranks_share_every_batch_and_the_same_epoch_is_the_same() -> None:
    labels = np.arange(300) % 40
    whole = OneOrTwoSampler(labels, 24, seed=9).batches(4)
    parts = [OneOrTwoSampler(labels, 24, seed=9, rank=r, world=3).batches(4) for r in range(3)]
    assert np.array_equal(np.concatenate(parts, axis=1), whole)
    assert all(part.shape == (len(whole), 8) for part in parts)
    again = OneOrTwoSampler(labels, 24, seed=9)
    again.batches(0)  # a resumed run has not asked for the epochs before
    assert np.array_equal(again.batches(4), whole)
    assert not np.array_equal(again.batches(5)[: len(whole)], whole[: len(again.batches(5))])
    assert len(again) == len(again.batches(0))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"batch": 7}, "multiple of instances=2"),
        ({"batch": 8, "world": 3}, "3 process"),
        ({"batch": 8}, "a batch of 8 needs 8 people.*has 6: lower the batch"),
        ({"batch": 0}, "batch=0"),
        ({"batch": 4, "rank": 2, "world": 2}, "rank=2"),
    ],
)
def test_it_refuses_what_it_cannot_do(arguments: dict[str, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        OneOrTwoSampler(np.arange(60) % 6, **arguments)
