"""Batch-hard mining on an NVIDIA GPU: the same indices and bits as :func:`cpp_ext.hard_triplets`.

As in :mod:`cpp_ext.cuda`: the caller owns every buffer, a call queues a fixed sequence of kernels on the
caller's stream, nothing is allocated and nothing waits, so it may be captured in a graph. The loss that
trains is :func:`cpp_ext.ops.batch_hard_triplet_loss`, which calls this for torch's tensors.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Literal, SupportsIndex

from cpp_ext import _arguments as arguments
from cpp_ext._cuda_module import buffer, load, settle
from cpp_ext._device_arrays import DeviceArray, View, view_of
from cpp_ext._mining_arguments import rules_of, same_depth

_ELEMENTS = ("float32", "float16", "bfloat16")
_IDS = ("int64", "int32")


def hard_triplets_workspace_bytes(n: SupportsIndex, m: SupportsIndex, d: SupportsIndex) -> int:
    """Bytes of workspace that :func:`hard_triplets` needs for n anchors and m others: O((n + m) d)."""
    module = load()
    depth = arguments.count_of("d", d, 1)
    return int(module.mining_workspace(*_checked(module, n, m, depth), depth))


def gradient_workspace_bytes(n: SupportsIndex, m: SupportsIndex) -> int:
    """Bytes of workspace that :func:`hard_triplets_gradient` needs for n anchors and m others."""
    module = load()
    return int(module.mining_gradient_workspace(*_checked(module, n, m, 1)))


def hard_triplets(
    anchors: DeviceArray,
    others: DeviceArray,
    anchor_ids: DeviceArray,
    other_ids: DeviceArray,
    *,
    positive_index: DeviceArray,
    positive_score: DeviceArray,
    negative_index: DeviceArray,
    negative_score: DeviceArray,
    workspace: DeviceArray,
    stream: int,
    positives: Literal["hardest", "paired"] = "hardest",
    semi_hard: bool = False,
    exclude_self: bool = False,
) -> None:
    """Queue the search for every row's hardest positive and negative, in both directions, on ``stream``.

    Args:
        anchors: (n, d) float32, float16 or bfloat16, rows contiguous; n at most 2,097,152, d at most 65,536.
            A row with NaN or infinity finds nothing and is found by nobody: looking would wait.
        others: (m, d) of the same element type.
        anchor_ids: (n,) int64 or int32: whom each anchor shows.
        other_ids: (m,) of the same.
        positive_index: (n + m,) int64, written: for each anchor a row of the others, then for each other a
            row of the anchors; -1 where there is none.
        positive_score: (n + m,) float32, written; NaN where there is none.
        negative_index: (n + m,) int64, written.
        negative_score: (n + m,) float32, written.
        workspace: (b,) uint8 of at least ``hard_triplets_workspace_bytes(n, m, d)``, aligned to 16 bytes.
        stream: the CUDA stream's number, e.g. ``torch.cuda.current_stream().cuda_stream``.
        positives, semi_hard, exclude_self: as for :func:`cpp_ext.hard_triplets`; that paired rows have the
            same ids isn't looked at.

    Raises:
        ImportError: built without CUDA.
        TypeError, ValueError: an argument of the wrong type, shape, size or device.
        RuntimeError: CUDA refused the launch.
    """
    module = load()
    first, second = _sides(module, anchors, others, stream)
    n, m, d = first.shape[0], second.shape[0], first.shape[1]
    rules = rules_of(positives, semi_hard, exclude_self, n, m)
    whom = view_of("anchor_ids", anchor_ids, stream).of(_IDS, (n,)).dense()
    other_whom = view_of("other_ids", other_ids, stream).of([whom.dtype], (m,)).dense()
    found = _places(
        stream, n + m, True, positive_index=positive_index, positive_score=positive_score,
        negative_index=negative_index, negative_score=negative_score,
    )  # fmt: skip
    space = buffer("workspace", workspace, module.mining_workspace(n, m, d), stream).writable()
    device = settle(module, stream, first, second, whom, other_whom, *found, space)
    module.hard_triplets(
        (first.address, n, first.strides[0], whom.address),
        (second.address, m, second.strides[0], other_whom.address),
        d, first.dtype, whom.dtype == "int64", tuple(rules), tuple(place.address for place in found),
        space.address, device, stream,
    )  # fmt: skip


def hard_triplets_gradient(
    anchors: DeviceArray,
    others: DeviceArray,
    *,
    positive_index: DeviceArray,
    d_positive_score: DeviceArray,
    negative_index: DeviceArray,
    d_negative_score: DeviceArray,
    d_anchors: DeviceArray,
    d_others: DeviceArray,
    workspace: DeviceArray,
    stream: int,
) -> None:
    """Queue the gradient of a loss of the scores of :func:`hard_triplets` with respect to the vectors.

    The same bits as on the CPU, every time: a row's sum runs over its own positive, its own negative, and
    then the rows that chose it, in ascending order.

    Args:
        anchors: (n, d) float32, float16 or bfloat16, as :func:`hard_triplets` had them.
        others: (m, d) of the same element type.
        positive_index: (n + m,) int64, as :func:`hard_triplets` wrote it.
        d_positive_score: (n + m,) float32, the gradient with respect to the positives' scores; 0 where there
            is none.
        negative_index: (n + m,) int64.
        d_negative_score: (n + m,) float32.
        d_anchors: (n, d) float32, written.
        d_others: (m, d) float32, written.
        workspace: (b,) uint8 of at least ``gradient_workspace_bytes(n, m)``, aligned to 16 bytes.
        stream: the CUDA stream's number.

    Raises:
        ImportError, TypeError, ValueError, RuntimeError: as for :func:`hard_triplets`.
    """
    module = load()
    first, second = _sides(module, anchors, others, stream)
    n, m, d = first.shape[0], second.shape[0], first.shape[1]
    slopes = _places(
        stream, n + m, False, positive_index=positive_index, d_positive_score=d_positive_score,
        negative_index=negative_index, d_negative_score=d_negative_score,
    )  # fmt: skip
    to_first = view_of("d_anchors", d_anchors, stream).of(["float32"], (n, d)).dense().writable()
    to_second = view_of("d_others", d_others, stream).of(["float32"], (m, d)).dense().writable()
    space = buffer("workspace", workspace, module.mining_gradient_workspace(n, m), stream).writable()
    device = settle(module, stream, first, second, *slopes, to_first, to_second, space)
    module.hard_triplets_gradient(
        (first.address, n, first.strides[0], 0), (second.address, m, second.strides[0], 0), d, first.dtype,
        tuple(slope.address for slope in slopes), to_first.address, to_second.address,
        space.address, device, stream,
    )  # fmt: skip


def _sides(module: ModuleType, anchors: DeviceArray, others: DeviceArray, stream: int) -> tuple[View, View]:
    first = view_of("anchors", anchors, stream).of(_ELEMENTS, (None, None))
    second = view_of("others", others, stream).of([first.dtype], (None, None))
    same_depth(first.shape[1], second.shape[1])
    if first.shape[1] == 0:
        raise ValueError(f"anchors must have at least one dimension d, got shape {first.shape}")
    _checked(module, first.shape[0], second.shape[0], first.shape[1])
    return first, second


def _checked(module: ModuleType, n: SupportsIndex, m: SupportsIndex, d: int) -> tuple[int, int]:
    first, second = arguments.count_of("n", n, 0), arguments.count_of("m", m, 0)
    if max(first, second) > module.MINING_ROWS or d > module.MINING_DEPTH:
        raise ValueError(
            f"on CUDA a side has at most {module.MINING_ROWS} rows of {module.MINING_DEPTH} dimensions, "
            f"got {first} anchors and {second} others of {d}"
        )
    return first, second


def _places(stream: int, count: int, written: bool, **arrays: Any) -> list[View]:
    """Indices and floats in turn, (count,) each."""
    views = [
        view_of(name, array, stream).of(["float32" if place % 2 else "int64"], (count,)).dense()
        for place, (name, array) in enumerate(arrays.items())
    ]
    return [view.writable() for view in views] if written else views
