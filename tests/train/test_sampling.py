"""Samplers: everything shuffled, or balanced people; equal shares for every process."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk.errors import InputError
from train.sampling import IdentitySampler, ShuffleSampler


@given(st.integers(1, 90), st.sampled_from([(8, 1), (8, 2), (9, 3), (1, 1)]), st.integers(0, 2))
def test_a_shuffle_has_everything_once_and_keeps_the_last_batch(items: int, shape, epoch: int) -> None:
    batch, world = shape
    if items < world:
        return
    ranks = [ShuffleSampler(items, batch, 3, rank, world) for rank in range(world)]
    shares = [one.batches(epoch) for one in ranks]
    assert {len(share) for share in shares} == {len(ranks[0])}
    assert all(len({len(part) for part in parts}) == 1 for parts in zip(*shares, strict=True))
    whole = [np.concatenate(parts) for parts in zip(*shares, strict=True)]
    seen = np.concatenate(whole)
    assert len(set(seen)) == len(seen) > items - world
    assert set(seen) <= set(range(items))
    assert [len(part) for part in whole[:-1]] == [batch] * (len(whole) - 1)
    assert 0 < len(whole[-1]) <= batch


def test_a_shuffle_is_of_its_seed_and_epoch_and_two_processes_share_the_batches_of_one() -> None:
    plan = ShuffleSampler(50, 8, 1).batches(2)
    assert all(map(np.array_equal, plan, ShuffleSampler(50, 8, 1).batches(2)))
    for other in (ShuffleSampler(50, 8, 1).batches(3), ShuffleSampler(50, 8, 2).batches(2)):
        assert not np.array_equal(plan[0], other[0])
    left, right = (ShuffleSampler(50, 8, 1, rank, 2).batches(2) for rank in (0, 1))
    for whole, *halves in zip(plan, left, right, strict=True):
        assert np.array_equal(whole, np.concatenate(halves))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((1, 8, 0, 0, 2), r"1 item\(s\)"), ((9, 0), "batch=0"), ((9, 3, 0, 0, 2), "2 process")],
)
def test_a_shuffle_refuses_what_it_cannot_do(arguments: tuple, words: str) -> None:
    with pytest.raises(InputError, match=words):
        ShuffleSampler(*arguments)


def test_every_batch_has_each_person_the_same_number_of_times() -> None:
    labels = np.repeat(np.arange(40), 8)
    made = IdentitySampler(labels, batch=32, instances=4, seed=3)
    epoch = made.batches(0)
    assert epoch.shape == (len(made), 32) == (10, 32)
    for batch in epoch:
        people, counts = np.unique(labels[batch], return_counts=True)
        assert (len(people), set(counts)) == (8, {4})
    assert sorted(epoch.ravel()) == list(range(320))  # 40 people x 2 groups fill 10 batches: nothing is lost
    assert [batch for batch in made] == epoch.tolist()
    assert not np.array_equal(epoch, made.batches(1))
    made.set_epoch(1)
    assert [batch for batch in made] == made.batches(1).tolist()
    assert np.array_equal(IdentitySampler(labels, 32, 4, seed=3).batches(1), made.batches(1))


@given(
    st.lists(st.integers(1, 40), min_size=4, max_size=40),
    st.sampled_from([(4, 1), (8, 2), (12, 4), (8, 8)]),
    st.integers(0, 3),
)
def test_batches_hold_different_people_and_waste_little(sizes: list[int], shape, epoch: int) -> None:
    batch, instances = shape
    people = batch // instances
    labels = np.repeat(np.arange(len(sizes)) * 5 - 3, sizes)
    made = IdentitySampler(labels, batch, instances)
    rows = made.batches(epoch)
    assert rows.shape == (len(made), batch)
    groups = labels[rows].reshape(len(made), people, instances)
    assert (groups == groups[:, :, :1]).all()
    assert all(len(set(row)) == people for row in groups[:, :, 0].tolist())
    counts = [max(1, size // instances) for size in sizes]
    # one more batch of different people is impossible
    assert sum(min(c, len(made) + 1) for c in counts) < people * (len(made) + 1)
    if len(sizes) <= len(made) * people:
        assert set(labels[rows].ravel()) == set(labels)
    for index, times in zip(*np.unique(rows, return_counts=True), strict=True):
        assert times == 1 or sizes[(labels[index] + 3) // 5] < instances


def test_ranks_share_every_batch() -> None:
    labels = np.arange(300) % 30
    whole = IdentitySampler(labels, 24, 2, seed=9).batches(4)
    parts = [IdentitySampler(labels, 24, 2, seed=9, rank=r, world=3).batches(4) for r in range(3)]
    assert np.array_equal(np.concatenate(parts, axis=1), whole)
    assert all(part.shape[1] == 8 for part in parts)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"batch": 10, "instances": 4}, "multiple of instances=4"),
        ({"batch": 8, "instances": 2, "world": 3}, "3 process"),
        ({"batch": 64, "instances": 2}, "needs 32 people; the data has 6"),
        ({"batch": 8, "instances": 0}, "instances=0"),
        ({"batch": 8, "instances": 2, "rank": 2, "world": 2}, "rank=2"),
    ],
)
def test_the_sampler_refuses_what_it_cannot_do(arguments: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        IdentitySampler(np.arange(60) % 6, **arguments)
