"""The CUDA top-k called with NumPy arrays, and held to the CPU's oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cpp_ext
from cpp_ext import _arguments as arguments
from cpp_ext import cuda

UNWRITTEN = 85  # fills buffers before the call, so that a place that nobody writes shows


def moved(array: np.ndarray) -> Any:
    """A tensor on the GPU, of bfloat16 as well."""
    torch = pytest.importorskip("torch")
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(np.array(array.view(np.int16))).cuda().view(torch.bfloat16)
    return torch.from_numpy(np.array(array)).cuda()


def buffer(size: int) -> Any:
    torch = pytest.importorskip("torch")
    return torch.full((size,), UNWRITTEN, dtype=torch.uint8, device="cuda")


def stream() -> int:
    torch = pytest.importorskip("torch")
    return int(torch.cuda.current_stream().cuda_stream)


class Search:
    """One call of ``cuda.topk`` with everything in place; :meth:`run` queues it, :meth:`found` reads it."""

    def __init__(
        self,
        queries,
        gallery,
        k,
        packed=True,
        mean=None,
        mask=None,
        exclude=None,
        min_score=None,
        top_tokens=1,
    ):
        torch = pytest.importorskip("torch")
        n, m = len(queries), len(gallery)
        t, d = gallery.shape[1] if gallery.ndim == 3 else 1, gallery.shape[-1]
        self.options = {"min_score": min_score, "top_tokens": top_tokens}
        if mask is not None:
            self.options["mask"] = moved(arguments.mask_of(mask, n, m))
        if exclude is not None:
            rows, begin = arguments.exclude_of(exclude, n, m)
            self.options |= {"excluded": moved(rows), "excluded_begin": moved(begin)}
        self.queries, self.gallery, self.k = moved(queries), moved(gallery), k
        if packed:
            self.gallery = cuda.pack(
                self.gallery, codes=buffer(cuda.codes_bytes(m, d, t)), stream=stream(),
                mean=None if mean is None else moved(mean),
            )  # fmt: skip
        self.results = {
            "indices": torch.full((n, k), -7, dtype=torch.int64, device="cuda"),
            "scores": torch.full((n, k), 7.0, device="cuda"),
        }
        self.workspace = buffer(cuda.workspace_bytes(n, m, k, d, t, packed=packed))

    def run(self) -> None:
        cuda.topk(
            self.queries, self.gallery, self.k, **self.results, workspace=self.workspace, stream=stream(),
            **self.options,
        )  # fmt: skip

    def found(self) -> list[np.ndarray]:
        return [self.results[name].cpu().numpy() for name in ("indices", "scores")]


def assert_same(queries, gallery, k, packed=(False, True), mean=None, **options) -> None:
    """The serial level's indices and bits, from the vectors alone and from codes."""
    expected = cpp_ext.topk(queries, gallery, k, level="serial", **options)
    for each in packed:
        search = Search(queries, gallery, k, each, mean if each else None, **options)
        search.run()
        for found, meant in zip(search.found(), expected, strict=True):
            assert found.tobytes() == meant.tobytes(), f"packed={each}"
