"""Hardest triplets of a batch: the loss and its gradient, both directions, two sides of one modality each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import cpp_ext
from cpp_ext.bench import memory
from cpp_ext.bench.data import drawn
from cpp_ext.bench.floors import Floors
from cpp_ext.bench.mining_peers import PEERS
from cpp_ext.bench.peers import torch_limited
from cpp_ext.bench.row import Other, Row
from cpp_ext.bench.timing import Runs, Way, paired

if TYPE_CHECKING:
    from torch import Tensor

MARGIN = 0.2
PER_IDENTITY = 4  # rows of one identity on each side of the batch; as before training, none is alike
TOLERANCE = 1e-5  # of losses and gradients, about 100 roundings of float32


def rows(b: int, d: int, floors: Floors, threads: int, repetitions: int, peers: bool) -> Iterator[Row]:
    """One row: loss and gradient of a batch of ``b``."""
    batch = made(b, d)
    ways = {"kernel": Way(partial(step, _ours, *batch), partial(torch_limited, threads))}
    if peers:
        limited = partial(torch_limited, threads)
        ways |= {name: Way(partial(step, loss, *batch), limited) for name, (loss, _) in PEERS.items()}
    for loss in (_ours, *(PEERS[name][0] for name in ways if name in PEERS)):
        step(loss, *made(*small((b, d))))  # what a first use loads and compiles, which takes seconds
    times, results = paired(ways, repetitions)
    triplets = _triplets(batch, "serial")
    meant = step(partial(_fp64, triplets), *batch)
    faults = [_away(name, results[name], meant, gradient=name == "kernel") for name in ways]
    faults.append(_differ(_triplets(batch, None), triplets))
    columns = {name: columns for name, (_, columns) in PEERS.items()}
    yield Row(
        "mining: loss and gradient",
        {"b": str(b), "d": str(d), "threads": str(threads)},
        times["kernel"],
        floor=floors.product(4.0 * 2 * b * d, float(b) * b * d, threads),
        others=tuple(Other(name, times[name], columns[name]) for name in ways if name in columns),
        checked="triplets by the serial level to the bit, loss and gradient by torch in float64",
        faults=tuple(fault for fault in faults if fault is not None),
    )


def memory_rows(b: int, d: int, threads: int, peers: bool) -> Iterator[Row]:
    """The memory that the same takes, beside the batch itself."""
    peaks = {
        name: Runs((memory.peak("mining", name, (b, d, threads)),))
        for name in ("kernel", *(PEERS if peers else ()))
    }
    yield Row(
        "mining: memory of loss and gradient",
        {"b": str(b), "d": str(d), "threads": str(threads)},
        peaks["kernel"],
        unit="MiB",
        others=tuple(Other(name, peaks[name], PEERS[name][1]) for name in peaks if name in PEERS),
    )


def made(b: int, d: int) -> tuple[Tensor, Tensor, Tensor]:
    """Two sides (b, d) that want a gradient, and the ids (b,) of both."""
    import torch

    vectors = drawn("random", b, d, b)
    ids = np.random.default_rng(0).permutation(np.arange(b) // PER_IDENTITY)
    sides = [torch.from_numpy(side).requires_grad_() for side in (vectors.rows, vectors.queries)]
    return sides[0], sides[1], torch.from_numpy(ids)


def step(loss: Callable[..., Tensor], a: Tensor, o: Tensor, ids: Tensor) -> tuple[float, Tensor, Tensor]:
    """The loss and its gradients."""
    a.grad = o.grad = None
    value = loss(a, o, ids, MARGIN)
    value.backward()  # type: ignore[no-untyped-call]
    assert a.grad is not None
    assert o.grad is not None
    return float(value.detach()), a.grad, o.grad


def _ours(a: Tensor, o: Tensor, ids: Tensor, margin: float) -> Tensor:
    from cpp_ext.ops import batch_hard_triplet_loss

    return batch_hard_triplet_loss(a, o, ids, ids, margin=margin)


def _away(name: str, found: Any, meant: Any, gradient: bool) -> str | None:
    """A peer's gradient isn't compared: where two rows tie but for rounding it may choose the other one."""
    if not abs(found[0] - meant[0]) <= TOLERANCE * abs(meant[0]):
        return f"{name}: the loss is {found[0]!r} instead of {meant[0]!r}"
    if gradient:
        for place in (1, 2):
            off, most = float((found[place] - meant[place]).abs().max()), float(meant[place].abs().max())
            if not off <= TOLERANCE * most:
                return f"{name}: a gradient is off by {off:.3g}, of {most:.3g}"
    return None


def _triplets(batch: tuple[Tensor, Tensor, Tensor], level: str | None) -> cpp_ext.HardTriplets:
    a, o, ids = (side.detach().numpy() for side in batch)
    return cpp_ext.hard_triplets(a, o, ids, ids, level=level)


def _differ(found: cpp_ext.HardTriplets, meant: cpp_ext.HardTriplets) -> str | None:
    for direction in found._fields:
        ours, its = getattr(found, direction), getattr(meant, direction)
        for name in ours._fields:
            if getattr(ours, name).tobytes() != getattr(its, name).tobytes():
                return f"the kernel: {name} of {direction} differs from the serial level's"
    return None


def _fp64(triplets: cpp_ext.HardTriplets, a: Tensor, o: Tensor, ids: Tensor, margin: float) -> Tensor:
    """The loss of these triplets in double precision; every row here has both a positive and a negative."""
    import torch

    total = a.new_zeros((), dtype=torch.float64)
    for x, other, rows in zip((a.double(), o.double()), (o.double(), a.double()), triplets, strict=True):
        p, n = torch.from_numpy(rows.positive_index), torch.from_numpy(rows.negative_index)
        total = total + ((x * (other[n] - other[p])).sum(1) + margin).relu().mean()
    return total


def working(way: str, sizes: Sequence[int]) -> Callable[[], Any]:
    """One step, for ``memory``; ``sizes``: b, d, threads."""
    import torch

    b, d, threads = sizes
    torch.set_num_threads(threads)
    return partial(step, _ours if way == "kernel" else PEERS[way][0], *made(b, d))


def small(sizes: Sequence[int]) -> list[int]:
    return [16, *sizes[1:]]
