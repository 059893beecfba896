"""The k best rows by torch: products of matrices by tiles of the gallery, topk of each, topk of all.

So do the GPU indexes of FAISS and cuVS. The tile and the element type are tried, the fastest counts; in
float32 the products aren't rounded to TF32.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from cpp_ext.bench.gpu.timing import Way, milliseconds

TILES = (1 << 16, 1 << 18, 1 << 20)  # rows of the gallery
TRIES = 3
HALVES = ("bfloat16", "float16")


class Tiled:
    """Galleries of each element type, made once."""

    def __init__(self, gallery: Tensor) -> None:
        self._galleries = {"float32": gallery, **{name: gallery.to(getattr(torch, name)) for name in HALVES}}
        torch.backends.cuda.matmul.allow_tf32 = False

    def fastest(self, queries: Sequence[Tensor], k: int, halves: bool) -> tuple[str, Way]:
        """Its name and itself, in float32 or in one of the half types; ``queries`` are those of the turns."""
        found: dict[str, tuple[float, Way]] = {}
        for name in HALVES if halves else ("float32",):
            gallery = self._galleries[name]
            asked = [each.to(gallery.dtype) for each in queries]
            for tile in sorted({min(tile, len(gallery)) for tile in TILES}):
                way = partial(_turn, asked, gallery, k, tile)
                way(0)
                took = statistics.median(milliseconds(way, turn) for turn in range(TRIES))
                found[f"torch {name}, tiles of {tile:,}"] = took, way
        best = min(found, key=lambda name: found[name][0])
        return best, found[best][1]


def _turn(queries: Sequence[Tensor], gallery: Tensor, k: int, tile: int, turn: int) -> tuple[Tensor, Tensor]:
    return search(queries[turn % len(queries)], gallery, k, tile)


def search(queries: Tensor, gallery: Tensor, k: int, tile: int) -> tuple[Tensor, Tensor]:
    """Indices and scores, (n, k) each."""
    indices, scores = [], []
    for first in range(0, len(gallery), tile):
        best, rows = (queries @ gallery[first : first + tile].T).topk(min(k, len(gallery) - first))
        scores.append(best)
        indices.append(rows + first)
    top, places = torch.cat(scores, 1).topk(k)
    return torch.cat(indices, 1).gather(1, places), top
