"""What the face of the mining on CUDA hands on and what it refuses, on any machine, whatever is built."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from cpp_ext import cuda_mining

NAMES = ("positive_index", "positive_score", "negative_index", "negative_score")
MANY = as_strided(np.ones(8, np.float32), (1 << 22, 8), (0, 4))


class InDeviceMemory:
    """Says of a NumPy array that it lies in a GPU's memory; nothing that a refusal looks at needs it to."""

    def __init__(self, array: np.ndarray, read_only: bool = False) -> None:
        self.array, self.read_only = array, read_only

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        a = self.array
        data = (a.ctypes.data, self.read_only)
        return {"shape": a.shape, "typestr": a.dtype.str, "data": data, "strides": a.strides, "version": 3}


def aligned(count: int) -> np.ndarray:
    raw = np.zeros(count + 16, np.uint8)
    return raw[-raw.ctypes.data % 16 :][:count]


@pytest.fixture
def calls(monkeypatch) -> list[tuple[Any, ...]]:
    """In place of the compiled module; what would be called is noted."""
    noted: list[tuple[Any, ...]] = []
    compiled = SimpleNamespace(
        MINING_ROWS=1 << 21,
        MINING_DEPTH=1 << 16,
        mining_workspace=lambda n, m, d: 64 + (n + m) * d,
        mining_gradient_workspace=lambda n, m: 64 + n + m,
        device_of=lambda address: 0,
        hard_triplets=lambda *arguments: noted.append(arguments),
        hard_triplets_gradient=lambda *arguments: noted.append(arguments),
    )
    monkeypatch.setattr(cuda_mining, "load", lambda: compiled)
    return noted


def search(**change):
    of, kind = InDeviceMemory, (np.int64, np.float32) * 2
    arguments = {
        "anchors": of(np.ones((4, 8), np.float32)),
        "others": of(np.ones((3, 8), np.float32)),
        "anchor_ids": of(np.arange(4)),
        "other_ids": of(np.arange(3)),
        **{name: of(np.zeros(7, each)) for name, each in zip(NAMES, kind, strict=True)},
        "workspace": of(aligned(1000)),
        "stream": 0,
        **change,
    }
    batch = [arguments.pop(name) for name in ("anchors", "others", "anchor_ids", "other_ids")]
    cuda_mining.hard_triplets(*batch, **arguments)


def test_what_is_called(calls):
    wide = np.ones((4, 12), np.float32)[:, 2:10]
    search(anchors=InDeviceMemory(wide), semi_hard=True, stream=5)
    first, second, d, element, wide_ids, rules, *_, stream = calls[0]
    assert first[:3] == (wide.ctypes.data, 4, 12)
    assert second[1:3] == (3, 8)
    assert (d, element, wide_ids, rules, stream) == (8, "float32", True, (False, True, False), 5)


@pytest.mark.parametrize(
    ("error", "text", "change"),
    [
        (TypeError, "anchors must be in a GPU's memory", {"anchors": np.ones((4, 8), np.float32)}),
        (TypeError, "anchors must be float32 or .* got int8", {"anchors": np.ones((4, 8), np.int8)}),
        (TypeError, "others must be float32, got float16", {"others": np.ones((3, 8), np.float16)}),
        (ValueError, "anchors have d = 8, but others have d = 7", {"others": np.ones((3, 7), np.float32)}),
        (ValueError, "least one dimension", {n: np.ones((4, 0), np.float32) for n in ("anchors", "others")}),
        (ValueError, "anchors must have shape", {"anchors": np.ones(8, np.float32)}),
        (ValueError, "contiguous along its last axis", {"anchors": np.ones((8, 4), np.float32).T}),
        (ValueError, "anchor_ids must have shape", {"anchor_ids": np.arange(5)}),
        (TypeError, "other_ids must be int64, got int32", {"other_ids": np.arange(3, dtype=np.int32)}),
        (ValueError, "positive_index must have shape", {"positive_index": np.zeros(4, np.int64)}),
        (TypeError, "negative_score must be float32", {"negative_score": np.zeros(7, np.float16)}),
        (ValueError, "workspace must have at least 120 bytes", {"workspace": np.zeros(100, np.uint8)}),
        (ValueError, "aligned to 16 bytes", {"workspace": aligned(1000)[1:]}),
        (ValueError, "positives is 'nearest'", {"positives": "nearest"}),
        (ValueError, "needs as many others as anchors", {"positives": "paired"}),
        (ValueError, "at most 2097152 rows", {"anchors": MANY}),
    ],
)  # fmt: skip
def test_refusals(calls, error, text, change):
    wrapped = {
        name: InDeviceMemory(value) if isinstance(value, np.ndarray) and "GPU" not in text else value
        for name, value in change.items()
    }
    with pytest.raises(error, match=text):
        search(**wrapped)
    assert not calls


def test_results_are_written(calls):
    with pytest.raises(ValueError, match="positive_score is written"):
        search(positive_score=InDeviceMemory(np.zeros(7, np.float32), read_only=True))


def gradient(**change):
    of, kind = InDeviceMemory, (np.int64, np.float32) * 2
    names = ("positive_index", "d_positive_score", "negative_index", "d_negative_score")
    arguments = {
        **{name: of(np.zeros(7, each), read_only=True) for name, each in zip(names, kind, strict=True)},
        "d_anchors": of(np.zeros((4, 8), np.float32)),
        "d_others": of(np.zeros((3, 8), np.float32)),
        "workspace": of(aligned(1000)),
        "stream": 0,
        **change,
    }
    sides = (of(np.ones((rows, 8), np.float32)) for rows in (4, 3))
    cuda_mining.hard_triplets_gradient(*sides, **arguments)


def test_gradient_refusals(calls):
    gradient()
    assert len(calls) == 1
    for text, change in (
        ("d_anchors must have shape", {"d_anchors": InDeviceMemory(np.zeros((3, 8), np.float32))}),
        ("d_others must be contiguous", {"d_others": InDeviceMemory(np.zeros((3, 9), np.float32)[:, :8])}),
        ("d_others is written", {"d_others": InDeviceMemory(np.zeros((3, 8), np.float32), read_only=True)}),
        ("d_negative_score must have shape", {"d_negative_score": InDeviceMemory(np.zeros(6, np.float32))}),
        ("workspace must have at least 71 bytes", {"workspace": InDeviceMemory(aligned(64))}),
    ):
        with pytest.raises(ValueError, match=text):
            gradient(**change)
    assert len(calls) == 1
