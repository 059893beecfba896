"""The top-k on an NVIDIA GPU: the same indices, order and bits as :func:`cpp_ext.topk`.

Optional: ``cpp_ext._cuda`` is built when asked for and imported here on first use, on any machine.
The caller owns every buffer: arrays, results and workspace are device memory (anything with
``__cuda_array_interface__``: torch, CuPy, Numba), nothing is allocated and nothing waits.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol, SupportsIndex

from cpp_ext import _arguments as arguments


class DeviceArray(Protocol):
    """An array in device memory."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class _View:
    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements


_WIDTHS = {"<f4": 4, "<i8": 8, "|u1": 1}


@functools.cache
def _module() -> ModuleType:
    try:
        from cpp_ext import _cuda
    except ImportError as error:
        raise ImportError(
            f"cpp_ext was built without CUDA ({error}). With nvcc installed type\n"
            "    pip install --no-build-isolation -C cmake.define.LABRADOR_CUDA=ON -e ."
        ) from error
    return _cuda


def device_count() -> int:
    """GPUs that can be used now: 0 without a GPU, without a driver, or when built without CUDA."""
    try:
        return int(_module().device_count())
    except ImportError:
        return 0


def workspace_bytes(n: int, m: int, k: int, top_tokens: int = 1) -> int:
    """Bytes of workspace that :func:`topk` needs for n queries, m items and k hits."""
    return int(_module().topk_workspace(n, m, k, top_tokens))


def _view(name: str, array: Any, typestr: str, shape: tuple[int | None, ...]) -> _View:
    try:
        face = array.__cuda_array_interface__
    except (AttributeError, TypeError) as error:
        raise TypeError(
            f"{name} must be in device memory, got {type(array).__name__} without "
            "__cuda_array_interface__; move it there first"
        ) from error
    found = tuple(face["shape"])
    if face["typestr"] != typestr:
        raise TypeError(f"{name} must have the element type {typestr}, got {face['typestr']}")
    if len(found) != len(shape) or any(w not in (None, f) for w, f in zip(shape, found, strict=True)):
        raise ValueError(f"{name} must have shape {shape}, got {found}".replace("None", "any"))
    width = _WIDTHS[typestr]
    dense = [1] * len(found)
    for axis in range(len(found) - 2, -1, -1):
        dense[axis] = dense[axis + 1] * found[axis + 1]
    strides = tuple(s // width for s in face["strides"]) if face.get("strides") else tuple(dense)
    if 0 not in found and found[-1] > 1 and strides[-1] != 1:
        raise ValueError(f"{name} must be contiguous along its last axis, got strides {strides} (elements)")
    return _View(face["data"][0], found, strides)


def _contiguous(name: str, array: Any, typestr: str, shape: tuple[int | None, ...]) -> _View:
    view = _view(name, array, typestr, shape)
    if len(shape) == 2 and view.shape[0] > 1 and view.strides[0] != view.shape[1]:
        raise ValueError(f"{name} must be contiguous, got strides {view.strides} (elements)")
    return view


def topk(
    queries: DeviceArray,
    gallery: DeviceArray,
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
        gallery: (m, d) or (m, t, d) float32, rows contiguous, m below 2**32 - 1.
        k: hits per query, at least 1. Above 2,048 the gallery is read once per 2,048.
        indices: (n, k) int64, written.
        scores: (n, k) float32, written.
        workspace: (b,) uint8 with b at least ``workspace_bytes(n, m, k, top_tokens)``.
        stream: the CUDA stream's number, e.g. ``torch.cuda.current_stream().cuda_stream``.
        mask: packed bits of eligible rows, uint8 (ceil(m/8),) or (n, ceil(m/8)), little bit order.
        excluded: (e,) int64, every query's excluded rows one after another, each query's sorted.
        excluded_begin: (n + 1,) int64, where each query's rows begin in ``excluded``.
        min_score: hits score at least this.
        top_tokens: how many of an item's t dot products are averaged; 1 to t, at most 128.

    Raises:
        ImportError: built without CUDA.
        TypeError, ValueError: an argument of the wrong type, shape or size.
        RuntimeError: CUDA refused the launch.
    """
    module = _module()
    q = _view("queries", queries, "<f4", (None, None))
    n, d = q.shape
    tokens = len(getattr(gallery, "__cuda_array_interface__", {"shape": (0, 0)})["shape"]) == 3
    g = _view("gallery", gallery, "<f4", (None, None, d) if tokens else (None, d))
    m, t = g.shape[0], g.shape[1] if tokens else 1
    if d == 0 or t == 0 or m > module.MAX_ITEMS:
        raise ValueError(f"d and t must be at least 1 and m at most {module.MAX_ITEMS}, got {d}, {t} and {m}")
    hits = arguments.count_of("k", k, 1)
    top = arguments.top_tokens_of(top_tokens, t)
    if top > module.MAX_TOP_TOKENS:
        raise ValueError(f"on CUDA top_tokens is at most {module.MAX_TOP_TOKENS}, got {top}")
    width = (m + 7) // 8
    own = mask is not None and len(mask.__cuda_array_interface__["shape"]) == 2
    bits = _view("mask", mask, "|u1", (n, width) if own else (width,)) if mask is not None else None
    if (excluded is None) != (excluded_begin is None):
        raise ValueError("excluded and excluded_begin come together: the rows, and where each query's begin")
    rows = _contiguous("excluded", excluded, "<i8", (None,)) if excluded is not None else None
    begin = _contiguous("excluded_begin", excluded_begin, "<i8", (n + 1,)) if rows else None
    space = _contiguous("workspace", workspace, "|u1", (None,))
    needed = workspace_bytes(n, m, hits, top)
    if space.shape[0] < needed or space.address % 8:
        raise ValueError(
            f"workspace must be {needed} bytes aligned to 8, got {space.shape[0]} at {space.address}"
        )
    if n == 0:
        return
    module.topk(
        q.address, n, d, q.strides[0],
        g.address, m, t, g.strides[0], g.strides[1] if tokens else 0, top,
        bits.address if bits else 0, bits.strides[0] if bits and own else 0,
        rows.address if rows else 0, begin.address if begin else 0,
        arguments.above_of(min_score), hits,
        _contiguous("indices", indices, "<i8", (n, hits)).address,
        _contiguous("scores", scores, "<f4", (n, hits)).address,
        space.address, stream,
    )  # fmt: skip
