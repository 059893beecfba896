"""Search a gallery in the GPU's memory: the kernels on its codes, against torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

import cpp_ext
from cpp_ext import cuda
from cpp_ext.bench.agreement import Found, same_bits
from cpp_ext.bench.gpu.ceilings import Ceilings
from cpp_ext.bench.gpu.timing import paired, peak
from cpp_ext.bench.gpu.torch_tiled import Tiled
from cpp_ext.bench.row import Other, Row

TURNS = 4  # different queries; the gallery's codes alone are many times the second-level cache


def rows(m: int, d: int, counts: Sequence[int], k: int, ceilings: Ceilings) -> Iterator[Row]:
    """How long coding takes, and then a search for each number of queries."""
    generator = torch.Generator("cuda").manual_seed(m)
    gallery, every = (_unit(count, d, generator) for count in (m, TURNS * max(counts)))
    codes = torch.empty(cuda.codes_bytes(m, d), dtype=torch.uint8, device="cuda")
    case = {"N": f"{m:,}", "d": str(d)}
    times, _ = paired({"pack": lambda _: cuda.pack(gallery, codes=codes, stream=_stream())})
    floor = ceilings.scan(gallery.nbytes + codes.nbytes, 0)
    yield Row(
        "packing on the GPU",
        case,
        times["pack"],
        floor=floor,
        facts={"MB": codes.nbytes / 1e6},
    )
    packed = cuda.Packed(gallery, codes)
    meant = cpp_ext.topk(every[: max(counts)].cpu().numpy(), gallery.cpu().numpy(), k)
    peer = Tiled(gallery)
    for n in counts:
        queries = [every[turn * max(counts) :][:n] for turn in range(TURNS)]
        ours = Search(queries, packed, m, k)
        single, half = peer.fastest(queries, k, halves=False), peer.fastest(queries, k, halves=True)
        times, found = paired({"kernel": ours, single[0]: single[1], half[0]: half[1]})
        fault = same_bits("the kernel", _to_host(found["kernel"]), (meant[0][:n], meant[1][:n]))
        fault = fault and fault.replace("the serial level's", "the CPU's")
        yield Row(
            "search on the GPU",
            {**case, "k": str(k), "Q": str(n)},
            times["kernel"],
            floor=ceilings.scan(codes.nbytes, float(n) * m * d),
            others=(
                Other(single[0], times[single[0]], ("best tiled torch, float32", "best tiled torch")),
                Other(half[0], times[half[0]], ("best tiled torch",)),
            ),
            facts={"MiB": peak(ours), "best torch": min(single, half, key=lambda it: times[it[0]].median)[0]},
            checked="indices and scores by the CPU's kernels, to the bit",
            faults=() if fault is None else (fault,),
        )


class Search:
    """One search per turn, with results and workspace of its own, as a caller who keeps none has it."""

    def __init__(self, queries: Sequence[Tensor], gallery: cuda.Packed, m: int, k: int) -> None:
        self._queries, self._gallery, self._m, self._k = queries, gallery, m, k

    def __call__(self, turn: int) -> tuple[Tensor, Tensor]:
        queries = self._queries[turn % len(self._queries)]
        n, d = queries.shape
        indices = torch.empty((n, self._k), dtype=torch.int64, device="cuda")
        scores = torch.empty((n, self._k), device="cuda")
        space = cuda.workspace_bytes(n, self._m, self._k, d, packed=True)
        cuda.topk(
            queries, self._gallery, self._k, indices=indices, scores=scores,
            workspace=torch.empty(space, dtype=torch.uint8, device="cuda"), stream=_stream(),
        )  # fmt: skip
        return indices, scores


def _unit(count: int, d: int, generator: torch.Generator) -> Tensor:
    vectors = torch.randn(count, d, device="cuda", generator=generator)
    vectors /= vectors.norm(dim=1, keepdim=True)
    return vectors


def _stream() -> int:
    return torch.cuda.current_stream().cuda_stream


def _to_host(found: tuple[Tensor, Tensor]) -> Found:
    indices, scores = (part.cpu().numpy() for part in found)
    return np.ascontiguousarray(indices), np.ascontiguousarray(scores)
