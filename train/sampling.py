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
        order = np.argsort(labels, kind="stable")
        cuts = np.flatnonzero(np.diff(np.asarray(labels)[order])) + 1
        self._items = np.split(order, cuts)
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
        groups = self._groups.copy()
        for _ in range(int(groups.sum()) - self._count * self.people):
            most = np.flatnonzero(groups == groups.max())
            groups[rng.choice(most)] -= 1
        drawn = []
        for person in rng.permutation(len(groups)):
            if groups[person]:
                items = rng.permutation(self._items[person])[: groups[person] * self.instances]
                if len(items) < self.instances:
                    items = np.concatenate([items, rng.choice(items, self.instances - len(items))])
                drawn.append(items.reshape(-1, self.instances))
        # Group j goes to batch j mod count: a person's groups are neighbours and at most `count`, so
        # they land in different batches (McNaughton's wrap-around rule).
        laid = np.concatenate(drawn).reshape(self.people, self._count, self.instances).swapaxes(0, 1)
        laid = laid[rng.permutation(self._count)]
        for batch in laid:
            rng.shuffle(batch)  # so that every rank gets people of all kinds
        mine: npt.NDArray[np.int64] = laid.reshape(self._count, -1)[:, self._share]
        return mine


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
