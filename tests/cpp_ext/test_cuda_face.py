"""What the face of the top-k on CUDA hands on and what it refuses, on any machine, whatever is built."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from cpp_ext import cuda

N, M, D, K = 4, 20, 8, 3


class InDeviceMemory:
    """Says of a NumPy array that it lies in a GPU's memory; nothing that a refusal looks at needs it to."""

    def __init__(self, array: np.ndarray, **change: Any) -> None:
        self.array, self.change = array, change

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        a = self.array
        data = (a.ctypes.data, self.change.get("read_only", False))
        face = {"shape": a.shape, "typestr": a.dtype.str, "data": data, "strides": a.strides, "version": 3}
        return face | {key: value for key, value in self.change.items() if key != "read_only"}


def aligned(count: int) -> np.ndarray:
    raw = np.zeros(count + 16, np.uint8)
    return raw[-raw.ctypes.data % 16 :][:count]


def many(rows: int, *row: int) -> np.ndarray:
    """More rows than any memory holds: all of them are one."""
    return as_strided(np.ones(row, np.float32), (rows, *row), (0, *np.ones(row, np.float32).strides))


@pytest.fixture
def calls(monkeypatch) -> list[tuple[Any, ...]]:
    """In place of the compiled module; what would be called is noted."""
    noted: list[tuple[Any, ...]] = []

    def note(name: str) -> Any:
        return lambda *arguments: noted.append((name, *arguments))

    compiled = SimpleNamespace(
        MAX_ITEMS=1 << 20,
        MAX_TOKENS=1024,
        MAX_CODED=8192,
        codes_bytes=lambda m, t, d: 64 + m * t * d,
        topk_workspace=lambda n, m, t, d, k, coded: 96 + n * k + coded,
        device_of=lambda address: 0,
        wait_for=note("wait_for"),
        pack=note("pack"),
        topk=note("topk"),
    )
    monkeypatch.setattr(cuda, "load", lambda: compiled)
    return noted


def arguments_of_a_search() -> dict[str, Any]:
    of = InDeviceMemory
    return {
        "queries": of(np.ones((N, D), np.float32)),
        "gallery": of(np.ones((M, D), np.float32)),
        "k": K,
        "indices": of(np.zeros((N, K), np.int64)),
        "scores": of(np.zeros((N, K), np.float32)),
        "workspace": of(aligned(1000)),
        "stream": 0,
    }


def search(**change):
    given = arguments_of_a_search() | change
    cuda.topk(given.pop("queries"), given.pop("gallery"), given.pop("k"), **given)


def test_what_is_called(calls):
    wide = np.ones((M, 2, 12), np.float16)[:, :, 2:10]
    mask = np.ones((N, 3), np.uint8)
    excluded, begin = np.arange(5), np.zeros(N + 1, np.int64)
    packed = cuda.pack(InDeviceMemory(wide), codes=InDeviceMemory(aligned(64 + M * 2 * D)), stream=7)
    given = {"mask": mask, "excluded": excluded, "excluded_begin": begin}
    wrapped = {name: InDeviceMemory(array) for name, array in given.items()}
    search(gallery=packed, stream=5, top_tokens=2, min_score=0.5, **wrapped)
    (_, rows, mean, codes, device, stream), (_, queries, gallery, same_codes, *rest) = calls
    assert rows == gallery == (wide.ctypes.data, "float16", M, 2, D, 24, 12)
    assert (mean, device, stream, codes) == (0, 0, 7, same_codes)
    assert queries[1:] == (N, D)
    top, bits, lists, above, k, _, _, _, _, last_stream = rest
    assert (top, bits, k, last_stream) == (2, (mask.ctypes.data, 3), K, 5)
    assert lists == (excluded.ctypes.data, begin.ctypes.data)
    assert above == np.nextafter(np.float32(0.5), np.float32(0))


def test_one_mask_for_all_queries_has_no_stride(calls):
    search(mask=InDeviceMemory(np.ones(3, np.uint8)))
    assert calls[0][5][1] == 0


def test_no_queries_no_call(calls):
    shapes = {"queries": (0, D), "indices": (0, K), "scores": (0, K)}
    kinds = {"queries": np.float32, "indices": np.int64, "scores": np.float32}
    search(**{name: InDeviceMemory(np.zeros(shape, kinds[name])) for name, shape in shapes.items()})
    assert not calls


@pytest.mark.parametrize(
    ("error", "text", "change"),
    [
        (TypeError, "queries must be in a GPU's memory, got a ndarray", {"queries": None}),
        (TypeError, "queries must be float32, got float16", {"queries": np.ones((N, D), np.float16)}),
        (TypeError, "queries has elements of type '<f8'", {"queries": np.ones((N, D))}),
        (ValueError, r"queries must have shape \(any, 8\), got \(4, 7\)", {"queries": np.ones((N, 7), "f4")}),
        (ValueError, "queries must have shape", {"queries": np.ones(D, "f4")}),
        (ValueError, "contiguous along its last axis", {"queries": np.ones((D, N), "f4").T}),
        (TypeError, "gallery must be float32 or .* or int8, got uint8", {"gallery": np.ones((M, D), "u1")}),
        (ValueError, "gallery must have shape", {"gallery": np.ones((M, 2, 2, D), "f4")}),
        (ValueError, "at least one token and one dimension", {"gallery": np.ones((M, 0, D), "f4")}),
        (ValueError, "at most 1048576 items of 1024 tokens", {"gallery": many(1 << 21, D)}),
        (ValueError, "got 1 of 1025", {"gallery": many(1, 1025, D)}),
        (ValueError, "aligned to 4 bytes", {"gallery": aligned(4 * M * D + 1)[1:].view("f4").reshape(M, D)}),
        (ValueError, "k must be at least 1", {"k": 0}),
        (TypeError, "k must be a whole number", {"k": 2.5}),
        (ValueError, "top_tokens is 2, but gallery items have 1 token", {"top_tokens": 2}),
        (ValueError, "top_tokens must be at least 1", {"top_tokens": 0}),
        (ValueError, r"mask must have shape \(3,\) or \(4, 3\), got \(4,\)", {"mask": np.ones(4, "u1")}),
        (TypeError, "mask must be uint8, got int8", {"mask": np.ones(3, "i1")}),
        (ValueError, "come together", {"excluded": np.zeros(2, "i8")}),
        (ValueError, "come together", {"excluded_begin": np.zeros(N + 1, "i8")}),
        (ValueError, "indices must have shape", {"indices": np.zeros((N, K + 1), "i8")}),
        (TypeError, "indices must be int64, got float32", {"indices": np.zeros((N, K), "f4")}),
        (ValueError, "scores must be contiguous", {"scores": np.zeros((N, K + 1), "f4")[:, :K]}),
        (ValueError, "workspace must have at least 108 bytes", {"workspace": aligned(107)}),
        (ValueError, "workspace must be aligned to 16", {"workspace": aligned(1000)[1:]}),
        (TypeError, "workspace must be uint8", {"workspace": np.zeros(1000, "f4")}),
        (ValueError, "min_score is NaN", {"min_score": float("nan")}),
    ],
)  # fmt: skip
def test_refusals(calls, error, text, change):
    wrapped = {
        name: InDeviceMemory(value) if isinstance(value, np.ndarray) else value
        for name, value in change.items()
    }
    if change.get("queries", 1) is None:
        wrapped["queries"] = np.ones((N, D), np.float32)
    with pytest.raises(error, match=text):
        search(**wrapped)
    assert not calls


def test_excluded_lists_and_where_they_begin(calls):
    rows, begin = InDeviceMemory(np.zeros(2, np.int64)), InDeviceMemory(np.zeros(N, np.int64))
    with pytest.raises(ValueError, match="excluded_begin must have shape"):
        search(excluded=rows, excluded_begin=begin)
    with pytest.raises(ValueError, match="excluded must be contiguous"):
        search(excluded=InDeviceMemory(np.zeros(4, np.int64)[::2].T), excluded_begin=begin)


def test_codes_are_for_these_vectors(calls):
    vectors = InDeviceMemory(np.ones((M, D), np.float32))
    enough, short = InDeviceMemory(aligned(64 + M * D)), InDeviceMemory(aligned(63 + M * D))
    cuda.pack(vectors, codes=enough, stream=0, mean=InDeviceMemory(np.ones(D, np.float32)))
    with pytest.raises(ValueError, match="codes must have at least 224 bytes"):
        cuda.pack(vectors, codes=short, stream=0)
    with pytest.raises(ValueError, match="codes must have at least 224 bytes"):
        search(gallery=cuda.Packed(vectors, short))
    with pytest.raises(ValueError, match=r"mean must have shape \(8,\)"):
        cuda.pack(vectors, codes=enough, stream=0, mean=InDeviceMemory(np.ones(7, np.float32)))
    with pytest.raises(ValueError, match="codes is written"):
        cuda.pack(vectors, codes=InDeviceMemory(aligned(64 + M * D), read_only=True), stream=0)
    with pytest.raises(ValueError, match="at most 8192 dimensions d, got 8193"):
        cuda.pack(InDeviceMemory(np.ones((2, 8193), np.float32)), codes=enough, stream=0)
    assert len(calls) == 1


def test_results_are_written(calls):
    with pytest.raises(ValueError, match="scores is written, but the array given is read-only"):
        search(scores=InDeviceMemory(np.zeros((N, K), np.float32), read_only=True))


def test_arrays_of_one_device(calls, monkeypatch):
    given = arguments_of_a_search()
    places = {given["scores"].array.ctypes.data: 1}
    monkeypatch.setattr(cuda.load(), "device_of", lambda address: places.get(address, 0))
    with pytest.raises(ValueError, match="queries on device 0, scores on device 1"):
        search(**given)
    places[given["scores"].array.ctypes.data] = -1
    with pytest.raises(TypeError, match="scores must be in a GPU's memory, but lies in the host's"):
        search(**given)


def test_another_stream_is_waited_for(calls):
    search(queries=InDeviceMemory(np.ones((N, D), np.float32), stream=9), stream=5)
    assert [call[0] for call in calls] == ["wait_for", "topk"]
    assert calls[0][1:] == (5, 9, 0)
    calls.clear()
    search(queries=InDeviceMemory(np.ones((N, D), np.float32), stream=1), stream=0)  # both the legacy stream
    assert [call[0] for call in calls] == ["topk"]


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("n must be at least 0", (-1, M, K, D)),
        ("m must be at least 0", (N, -1, K, D)),
        ("k must be at least 1", (N, M, 0, D)),
        ("d must be at least 1", (N, M, K, 0)),
        ("t must be at least 1", (N, M, K, D, 0)),
        ("at most 2147483647 at a time", (1 << 31, M, K, D)),
    ],
)
def test_sizes_that_cannot_be(calls, text, sizes):
    with pytest.raises(ValueError, match=text):
        cuda.workspace_bytes(*sizes)
