"""Other ways to the k best rows, each as its makers recommend it, with threads set by its own means.

FAISS' IndexFlatIP runs with one thread and with all, with its own loops and with BLAS forced on it
(``distance_compute_blas_threshold = 1``): "FAISS best" is the fastest of these for a case.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from cpp_ext.bench.timing import SHORT_PATIENCE, Way

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

PACKAGES = {
    "faiss": "faiss-cpu",
    "usearch": "usearch",
    "torch": "torch",
    "pytorch_metric_learning": "pytorch-metric-learning",
    "threadpoolctl": "threadpoolctl",
}
TRAINED = 20_000  # rows that FAISS' scalar quantizer sees
ROTATED = 100_000  # rows that its PCA sees
SCORES = 1 << 28  # entries of a score matrix that numpy and torch hold at a time: 1 GiB
PAIRS = 1 << 28  # pairs usearch may keep, at 16 bytes each


class MissingPeersError(ImportError):
    """Some of the packages that ``--peers`` needs aren't installed."""


def require() -> None:
    """Raises MissingPeersError that names the packages and the extra."""
    missing = [package for module, package in PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingPeersError(
            f"--peers needs packages that aren't installed: {', '.join(missing)}. In a checkout type\n"
            '    pip install -c constraints.txt --no-build-isolation -e ".[bench]"'
        )


@dataclass(frozen=True)
class Peer:
    """``search(queries, k)`` gives the rows found (n, k)."""

    name: str
    columns: tuple[str, ...]  # of the table; a column shows the fastest of its peers
    exact: bool
    search: Callable[[Floats, int], Indices]
    around: Callable[[], Any]

    def way(self, queries: Floats, k: int) -> Way:
        return Way(partial(self.search, queries, k), self.around, SHORT_PATIENCE)


@contextmanager
def torch_limited(count: int) -> Iterator[None]:
    """torch on so many threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Threads:
    """Sets every thread pool of this process; made once, because finding the pools takes milliseconds."""

    def __init__(self) -> None:
        import faiss
        import threadpoolctl
        import torch  # noqa: F401  (its pools are found too)

        self._faiss = faiss
        self._pools = threadpoolctl.ThreadpoolController()

    @contextmanager
    def limited(self, count: int) -> Iterator[None]:
        before = self._faiss.omp_get_max_threads()
        with self._pools.limit(limits=count), torch_limited(count):
            self._faiss.omp_set_num_threads(count)
            try:
                yield
            finally:
                self._faiss.omp_set_num_threads(before)


class SearchPeers:
    """The indexes over one gallery, filled once; ``of`` lists the ways worth taking for a case."""

    def __init__(self, rows: Floats, threads: int) -> None:
        import faiss

        d = rows.shape[1]
        self._rows, self._all, self._threads = rows, threads, Threads()
        with self._threads.limited(threads):
            self._flat = faiss.IndexFlatIP(d)
            self._flat.add(rows)
            self._coded = faiss.IndexScalarQuantizer(
                d, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
            )
            self._coded.train(rows[:TRAINED])
            self._coded.add(rows)
            self._panorama = None
            if np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5):  # its order is of distances
                self._panorama = faiss.index_factory(d, f"PCA{d},FlatL2Panorama8")
                self._panorama.train(rows[:ROTATED])
                self._panorama.add(rows)

    def of(self, queries: int, threads: int) -> list[Peer]:
        """For this many queries; all but IndexFlatIP take ``threads``."""
        import faiss

        default = faiss.cvar.distance_compute_blas_threshold
        found = []
        for count in sorted({1, self._all}):
            limited = partial(self._threads.limited, count)
            flat = partial(_faiss, self._flat, default)
            found.append(Peer(_named("FAISS", count), ("FAISS default", "FAISS best"), True, flat, limited))
            if queries * self._rows.shape[1] < default:  # above it BLAS is the default
                flat = partial(_faiss, self._flat, 1)
                found.append(Peer(_named("FAISS, BLAS forced", count), ("FAISS best",), True, flat, limited))
        limited = partial(self._threads.limited, threads)
        for name, index, exact in (
            ("FAISS SQ8", self._coded, False),
            ("FAISS Panorama", self._panorama, True),
        ):
            if index is not None:
                search = partial(_faiss, index, default)
                found.append(Peer(_named(name, threads), (name,), exact, search, limited))
        if queries * len(self._rows) <= PAIRS:
            search = partial(_usearch, self._rows, threads)
            found.append(Peer(_named("usearch exact", threads), ("usearch exact",), True, search, limited))
        for name, whole in (("NumPy", _numpy), ("torch", _torch)):
            search = partial(_blocks, partial(whole, self._rows), SCORES // len(self._rows))
            found.append(Peer(_named(name, threads), (name,), True, search, limited))
        return found


def _named(name: str, threads: int) -> str:
    return f"{name}, {threads} thread{'s'[: threads != 1]}"


def _faiss(index: Any, threshold: int, queries: Floats, k: int) -> Indices:
    import faiss

    before = faiss.cvar.distance_compute_blas_threshold
    faiss.cvar.distance_compute_blas_threshold = threshold
    try:
        indices: Indices = index.search(queries, k)[1]
    finally:
        faiss.cvar.distance_compute_blas_threshold = before
    return indices


def _usearch(rows: Floats, threads: int, queries: Floats, k: int) -> Indices:
    from usearch.index import MetricKind, search

    found = search(rows, queries, k, MetricKind.IP, exact=True, threads=threads)
    return np.asarray(found.keys, np.int64).reshape(len(queries), k)


def _blocks(whole: Callable[[Floats, int], Indices], size: int, queries: Floats, k: int) -> Indices:
    """As many queries at a time as the score matrix has room for."""
    step = max(1, size)
    parts: Sequence[Indices] = [whole(queries[i : i + step], k) for i in range(0, len(queries), step)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _numpy(rows: Floats, queries: Floats, k: int) -> Indices:
    scores = queries @ rows.T
    places = np.argpartition(scores, -k, axis=1)[:, -k:]
    order = np.take_along_axis(scores, places, axis=1).argsort(axis=1)[:, ::-1]
    return np.take_along_axis(places, order, axis=1)


def _torch(rows: Floats, queries: Floats, k: int) -> Indices:
    import torch

    with torch.inference_mode():
        found = torch.topk(torch.from_numpy(queries) @ torch.from_numpy(rows).T, k)
    return found.indices.numpy()
