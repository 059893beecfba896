"""Which items make up a batch: everything shuffled, or people in equal numbers.

A sampler's plan depends on (seed, epoch) alone, so that every process, and a resumed run, lays out the same
batches. Each process takes its own share of every batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sdk.errors import InputError


class Sampler(Protocol):
    """What train.loop asks of one."""

    def __len__(self) -> int:
        """Batches in an epoch, at least about: an epoch may have more or fewer."""
        ...

    def batches(self, epoch: int) -> Iterable[npt.NDArray[np.int64]]:
        """This process's share of each batch of an epoch, as item numbers; shares are equally large."""
        ...


class ShuffleSampler:
    """All `items` once an epoch in random order, `batch` at a time, for one of `world` processes.

    The last, smaller batch is kept, but for the `world - 1` items at most that can't be shared out equally.
    Raises InputError for impossible sizes.
    """

    def __init__(self, items: int, batch: int, seed: int = 0, rank: int = 0, world: int = 1) -> None:
        if items < world:
            raise InputError(f"sampler: {items} item(s) can't be shared out to {world} process(es)")
        check_sizes(batch, 1, rank, world)
        self.items, self.batch, self.seed, self.rank, self.world = items, batch, seed, rank, world

    def __len__(self) -> int:
        return -(-(self.items // self.world * self.world) // self.batch)

    def batches(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        """This process's share of each batch of the epoch."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.items)
        order = order[: self.items // self.world * self.world]
        parts = (order[at : at + self.batch] for at in range(0, len(order), self.batch))
        return [np.split(part, self.world)[self.rank] for part in parts]


class IdentitySampler:
    """Batches of `batch // instances` different people with `instances` items each, for one of `world` ranks.

    labels: (items,) any integers. batch: items in the global batch; a rank gets its `batch // world` of
    every one. An epoch shuffles each person's items, cuts them into groups (a remainder waits for another
    epoch; someone with too few items fills one group by drawing again) and lays the groups out so that no
    batch has a person twice, in as many full batches as that allows. What doesn't fit is dropped from those
    with the most groups, so a person is left out only where the epoch has more people than places.

    Iterating yields lists of indices, for DataLoader(batch_sampler=…); `batches` gives an epoch whole.
    The same (seed, epoch) gives the same batches everywhere. Raises InputError for impossible sizes.
    """

    def __init__(
        self,
        labels: Sequence[int] | npt.NDArray[np.int64],
        batch: int,
        instances: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        check_sizes(batch, instances, rank, world)
        self.instances, self.people = instances, batch // instances
        self.seed, self.epoch = seed, 0
        self._share = slice(rank * (batch // world), (rank + 1) * (batch // world))
        self._items = _items_of(labels)
        if len(self._items) < self.people:
            raise InputError(
                f"sampler: a batch of {batch} with {instances} instances each needs {self.people} people; "
                f"the data has {len(self._items)}: lower the batch or raise the instances"
            )
        counts = np.array([max(1, len(items) // instances) for items in self._items])
        self._count = _most_batches(counts, self.people)
        self._groups = np.minimum(counts, self._count)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self._count

    def __iter__(self) -> Iterator[list[int]]:
        return (row.tolist() for row in self.batches(self.epoch))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that iterating gives."""
        self.epoch = epoch

    def batches(self, epoch: int) -> npt.NDArray[np.int64]:
        """(batches, batch // world) indices: this rank's share of the epoch."""
        rng = np.random.default_rng([self.seed, epoch])
        laid = _lay_out(self._items, self._groups, self._count, self.people, self.instances, rng)
        laid = laid[rng.permutation(self._count)]
        for batch in laid:
            rng.shuffle(batch)  # so that every rank gets people of all kinds
        mine: npt.NDArray[np.int64] = laid.reshape(self._count, -1)[:, self._share]
        return mine


class OneOrTwoSampler:
    """Batches in which each person has one item or two, for one of `world` ranks (SEN, arXiv 2307.09059).

    labels: (items,) any integers. batch: items in the global batch, an even number; a rank gets its
    `batch // world` of every one. In each epoch everyone draws 1 or 2 evenly; their items are shuffled and
    cut into groups of as many (a remainder waits for another epoch, and a single item makes a pair of
    itself). The groups fill full batches, no person in one twice, as many as they suffice for; each batch
    of an epoch has the same number of pairs. SEN's released code draws people round by round and cuts the
    rounds into batches wherever they end, so that a person may come back within a batch.

    The same (seed, epoch) gives the same batches everywhere, and epochs differ a little in their number of
    batches. Raises InputError for impossible sizes, or when a batch needs more people than there are.
    """

    def __init__(
        self,
        labels: Sequence[int] | npt.NDArray[np.int64],
        batch: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        check_sizes(batch, 2, rank, world)
        self.batch, self.seed = batch, seed
        self._share = slice(rank * (batch // world), (rank + 1) * (batch // world))
        self._items = _items_of(labels)
        if len(self._items) < batch:
            raise InputError(
                f"sampler: a batch of {batch} needs {batch} people, as one item each may be drawn; the data "
                f"has {len(self._items)}: lower the batch"
            )

    def __len__(self) -> int:
        """Batches in the first epoch."""
        return len(self.batches(0))

    def batches(self, epoch: int) -> npt.NDArray[np.int64]:
        """(batches, batch // world) indices: this rank's share of the epoch."""
        rng = np.random.default_rng([self.seed, epoch])
        drawn = rng.integers(1, 3, len(self._items))
        people = {n: [items for items, k in zip(self._items, drawn, strict=True) if k == n] for n in (1, 2)}
        groups = {n: np.array([max(1, len(i) // n) for i in people[n]], np.int64) for n in (1, 2)}
        count, pairs = _most_mixed_batches(groups[1], groups[2], self.batch)
        parts = [
            _lay_out(people[n], np.minimum(groups[n], count), count, places, n, rng).reshape(count, -1)
            for n, places in ((1, self.batch - 2 * pairs), (2, pairs))
            if places
        ]
        laid = rng.permuted(np.concatenate(parts, axis=1), axis=1)  # so that every rank gets both kinds
        mine: npt.NDArray[np.int64] = laid[rng.permutation(count), self._share]
        return mine


def _items_of(labels: Sequence[int] | npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """The item numbers of each person, in order of the labels."""
    order = np.argsort(labels, kind="stable")
    cuts = np.flatnonzero(np.diff(np.asarray(labels)[order])) + 1
    return np.split(order, cuts)


def _lay_out(
    items: Sequence[npt.NDArray[np.int64]],
    groups: npt.NDArray[np.int64],
    count: int,
    people: int,
    instances: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """(count, people, instances) items: groups of one person's, in each of `count` batches `people` persons.

    groups: how many each person has, `count` at most and people · count or more together; what is too much
    is dropped from those with the most.
    """
    groups = groups.copy()
    for _ in range(int(groups.sum()) - count * people):
        most = np.flatnonzero(groups == groups.max())
        groups[rng.choice(most)] -= 1
    drawn = []
    for person in rng.permutation(len(groups)):
        if groups[person]:
            mine = rng.permutation(items[person])[: groups[person] * instances]
            if len(mine) < instances:
                mine = np.concatenate([mine, rng.choice(mine, instances - len(mine))])
            drawn.append(mine.reshape(-1, instances))
    # Group j goes to batch j mod count: a person's groups are neighbours and at most `count`, so they land
    # in different batches (McNaughton's wrap-around rule).
    return np.concatenate(drawn).reshape(people, count, instances).swapaxes(0, 1)


def _most_batches(groups: npt.NDArray[np.int64], people: int) -> int:
    """The largest b for which b batches of `people` different people exist: Σ min(groups, b) ≥ people · b."""
    low, high = 1, int(groups.sum()) // people
    while low < high:  # the surplus is concave in b and 0 at b = 0, so the feasible b are 1 … largest
        middle = (low + high + 1) // 2
        if np.minimum(groups, middle).sum() >= people * middle:
            low = middle
        else:
            high = middle - 1
    return low


def _most_mixed_batches(
    singles: npt.NDArray[np.int64], pairs: npt.NDArray[np.int64], batch: int
) -> tuple[int, int]:
    """The largest number of batches, and the pairs in each, for people with so many groups of 1 and of 2."""
    count = _most_batches(np.concatenate([singles, pairs, pairs]), batch)  # if batches could differ in pairs
    while True:
        places = min(int(np.minimum(pairs, count).sum()) // count, batch // 2)
        if np.minimum(singles, count).sum() >= count * (batch - 2 * places):
            return count, places
        count -= 1  # one batch always works: it has a place for each of `batch` people


def check_sizes(batch: int, instances: int, rank: int, world: int) -> None:
    """Raise InputError when a batch can't be made of groups of `instances`, or shared out to `world`."""
    for name, value in (("batch", batch), ("instances", instances), ("world", world)):
        if value < 1:
            raise InputError(f"sampler: {name}={value}; it must be at least 1")
    if batch % instances or batch % world:
        raise InputError(
            f"sampler: batch={batch} must be a multiple of instances={instances} and of the "
            f"{world} process(es) that share it"
        )
    if not 0 <= rank < world:
        raise InputError(f"sampler: rank={rank}; with {world} processes it is 0 to {world - 1}")
