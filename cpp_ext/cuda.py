"""The top-k on an NVIDIA GPU: the same indices, order and bits as :func:`cpp_ext.topk`.

Optional: ``cpp_ext._cuda`` is built when asked for and imported here on first use, on any machine.
The caller owns every buffer: arrays, results and workspace are in the GPU's memory (anything with
``__dlpack__`` or ``__cuda_array_interface__``: torch, CuPy, JAX, Numba). A call queues a fixed sequence of
kernels on the caller's stream; nothing is allocated and nothing waits, so it may be captured in a graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import SupportsIndex

from cpp_ext import _arguments as arguments
from cpp_ext._cuda_module import buffer, device_count, load, settle
from cpp_ext._device_arrays import DeviceArray, View, view_of

__all__ = ["DeviceArray", "Packed", "codes_bytes", "device_count", "pack", "topk", "workspace_bytes"]

_MOST_QUERIES = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Packed:
    """Vectors in a GPU's memory beside their codes, as :func:`pack` made them: :func:`topk` reads the
    codes of every row and the vectors of only those that their codes can't rule out.

    Args:
        vectors: (m, d) or (m, t, d) float32, float16, bfloat16 or int8.
        codes: (b,) uint8, ``codes_bytes(m, d, t)`` of them, filled from these vectors. Codes of other
            vectors give wrong results.
    """

    vectors: DeviceArray
    codes: DeviceArray


def codes_bytes(m: SupportsIndex, d: SupportsIndex, t: SupportsIndex = 1) -> int:
    """Bytes of codes for m items of t tokens and d dimensions: (1 + 16/d) a number, d rounded up to 64."""
    module = load()
    items, tokens, depth = _sizes(module, m, t, d)
    if depth > module.MAX_CODED:
        raise ValueError(f"codes are for at most {module.MAX_CODED} dimensions d, got {depth}")
    return int(module.codes_bytes(items, tokens, depth))


def workspace_bytes(
    n: SupportsIndex,
    m: SupportsIndex,
    k: SupportsIndex,
    d: SupportsIndex = 1,
    t: SupportsIndex = 1,
    *,
    packed: bool = False,
) -> int:
    """Bytes of workspace that :func:`topk` needs for n queries and k hits in m items of t tokens.

    A packed gallery needs more, and d, the dimensions, matters then.
    """
    module = load()
    queries = _queries(n)
    items, tokens, depth = _sizes(module, m, t, d)
    hits = arguments.count_of("k", k, 1)
    return int(module.topk_workspace(queries, items, tokens, depth, hits, bool(packed)))


def pack(vectors: DeviceArray, *, codes: DeviceArray, stream: int, mean: DeviceArray | None = None) -> Packed:
    """Queue the coding of a gallery on ``stream``: 8 bits per element, with what they leave out.

    Args:
        vectors: (m, d) or (m, t, d) float32, float16, bfloat16 or int8, rows contiguous; d at most 8,192.
        codes: (b,) uint8 of at least ``codes_bytes(m, d, t)``, aligned to 16 bytes, written.
        stream: the CUDA stream's number, e.g. ``torch.cuda.current_stream().cuda_stream``.
        mean: (d,) float32 to centre the rows by; any vector is right, one near their mean makes the screen
            sharp. None takes the mean of up to 32,768 of them; zero for int8, whose values then are their
            own codes.

    Raises:
        ImportError: built without CUDA.
        TypeError, ValueError: an argument of the wrong type, shape, size or device.
        RuntimeError: CUDA refused the launch.
    """
    module = load()
    rows = _gallery(module, view_of("vectors", vectors, stream))
    d, t = rows.shape[-1], _tokens(rows)
    space = buffer("codes", codes, codes_bytes(rows.shape[0], d, t), stream).writable()
    centre = view_of("mean", mean, stream).of(["float32"], (d,)).dense() if mean is not None else None
    device = settle(module, stream, rows, space, centre)
    module.pack(_described(rows), centre.address if centre else 0, space.address, device, stream)
    return Packed(vectors, codes)


def topk(
    queries: DeviceArray,
    gallery: DeviceArray | Packed,
    k: SupportsIndex,
    *,
    indices: DeviceArray,
    scores: DeviceArray,
    workspace: DeviceArray,
    stream: int,
    mask: DeviceArray | None = None,
    excluded: DeviceArray | None = None,
    excluded_begin: DeviceArray | None = None,
    min_score: float | None = None,
    top_tokens: SupportsIndex = 1,
) -> None:
    """Queue an exact top-k on ``stream``; the results are there when the stream gets there.

    Args:
        queries: (n, d) float32. A query with NaN or infinity finds nothing: looking would wait.
        gallery: (m, d) or (m, t, d) float32, float16, bfloat16 or int8, rows contiguous, t at most 1,024;
            or a :class:`Packed`, which is searched the fast way, with the same result.
        k: hits per query, at least 1. Above 2,048 the vectors are read once per 2,048.
        indices: (n, k) int64, written.
        scores: (n, k) float32, written.
        workspace: (b,) uint8 of at least ``workspace_bytes(n, m, k, d, t, packed=...)``, aligned to 16 bytes.
        stream: the CUDA stream's number, e.g. ``torch.cuda.current_stream().cuda_stream``.
        mask: packed bits of eligible items, uint8 (ceil(m/8),) or (n, ceil(m/8)), little bit order.
        excluded: (e,) int64, every query's excluded items one after another, each query's sorted.
        excluded_begin: (n + 1,) int64, where each query's items begin in ``excluded``.
        min_score: hits score at least this.
        top_tokens: how many of an item's t dot products are averaged; 1 to t.

    Raises:
        ImportError: built without CUDA.
        TypeError, ValueError: an argument of the wrong type, shape, size or device.
        RuntimeError: CUDA refused the launch.
    """
    module = load()
    packed = isinstance(gallery, Packed)
    rows = _gallery(
        module, view_of("gallery", gallery.vectors if isinstance(gallery, Packed) else gallery, stream)
    )
    (m, d), t = (rows.shape[0], rows.shape[-1]), _tokens(rows)
    asked = view_of("queries", queries, stream).of(["float32"], (None, d))
    n = _queries(asked.shape[0])
    hits = arguments.count_of("k", k, 1)
    top = arguments.top_tokens_of(top_tokens, t)
    codes = (
        buffer("codes", gallery.codes, codes_bytes(m, d, t), stream) if isinstance(gallery, Packed) else None
    )
    width = (m + 7) // 8
    bits = view_of("mask", mask, stream).of(["uint8"], (width,), (n, width)) if mask is not None else None
    if (excluded is None) != (excluded_begin is None):
        raise ValueError("excluded and excluded_begin come together: the items, and where each query's begin")
    lists = None if excluded is None else view_of("excluded", excluded, stream).of(["int64"], (None,)).dense()
    begin = (
        None
        if excluded_begin is None
        else view_of("excluded_begin", excluded_begin, stream).of(["int64"], (n + 1,)).dense()
    )
    found = view_of("indices", indices, stream).of(["int64"], (n, hits)).dense().writable()
    best = view_of("scores", scores, stream).of(["float32"], (n, hits)).dense().writable()
    needed = workspace_bytes(n, m, hits, d, t, packed=packed)
    space = buffer("workspace", workspace, needed, stream).writable()
    above = arguments.above_of(min_score)
    device = settle(module, stream, asked, rows, codes, bits, lists, begin, found, best, space)
    if n == 0:
        return
    module.topk(
        (asked.address, n, asked.strides[0]), _described(rows), codes.address if codes else 0, top,
        (bits.address if bits else 0, bits.strides[0] if bits and len(bits.shape) == 2 else 0),
        (lists.address if lists else 0, begin.address if begin else 0),
        above, hits, found.address, best.address, space.address, device, stream,
    )  # fmt: skip


def _queries(n: SupportsIndex) -> int:
    count = arguments.count_of("n", n, 0)
    if count > _MOST_QUERIES:
        raise ValueError(f"queries are at most {_MOST_QUERIES} at a time, got {count}")
    return count


def _sizes(module: ModuleType, m: SupportsIndex, t: SupportsIndex, d: SupportsIndex) -> tuple[int, int, int]:
    items = arguments.count_of("m", m, 0)
    tokens = arguments.count_of("t", t, 1)
    depth = arguments.count_of("d", d, 1)
    if items > module.MAX_ITEMS or tokens > module.MAX_TOKENS:
        raise ValueError(
            f"on CUDA a gallery has at most {module.MAX_ITEMS} items of {module.MAX_TOKENS} tokens, "
            f"got {items} of {tokens}; search it in parts"
        )
    return items, tokens, depth


def _gallery(module: ModuleType, view: View) -> View:
    view.of(arguments.ELEMENTS, (None, None), (None, None, None))
    if 0 in view.shape[1:]:
        raise ValueError(f"{view.name} needs at least one token and one dimension, got shape {view.shape}")
    _sizes(module, view.shape[0], _tokens(view), view.shape[-1])
    return view


def _tokens(view: View) -> int:
    return view.shape[1] if len(view.shape) == 3 else 1


def _described(view: View) -> tuple[int, str, int, int, int, int, int]:
    t = _tokens(view)
    return (
        view.address, view.dtype, view.shape[0], t, view.shape[-1],
        view.strides[0], view.strides[1] if len(view.shape) == 3 else 0,
    )  # fmt: skip
