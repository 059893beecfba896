"""Reading arrays by DLPack and by ``__cuda_array_interface__``: what producers say, and whom we make wait."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cpp_ext._device_arrays import view_of

CUDA, CUDA_MANAGED, CUDA_HOST, CPU = 2, 13, 3, 1


class Producer:
    """A NumPy array behind DLPack that calls its device a GPU; notes what it is asked."""

    def __init__(self, array: Any, kind: int = CUDA, versioned: bool = True) -> None:
        self.array, self.kind, self.versioned = array, kind, versioned
        self.asked: list[dict[str, Any]] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.kind, 0

    def __dlpack__(self, **asked: Any) -> Any:
        if not self.versioned and "max_version" in asked:
            raise TypeError("unexpected keyword argument 'max_version'")
        self.asked.append(asked)
        asked = {name: value for name, value in asked.items() if name != "stream"}
        return self.array.__dlpack__(**asked)


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("kind", [CUDA, CUDA_MANAGED])
def test_dlpack(versioned, kind):
    wide = np.ones((5, 12), np.float32)
    view = view_of("queries", Producer(wide[1:, 2:9], kind, versioned), 7)
    assert view.address == wide[1:, 2:].ctypes.data
    assert (view.dtype, view.shape, view.strides, view.device) == ("float32", (4, 7), (12, 1), 0)
    assert view.stream is None


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int64", "uint8"])
def test_dlpack_elements(dtype):
    assert view_of("x", Producer(np.ones((2, 3), dtype)), 0).dtype == dtype


def test_dlpack_bfloat16():
    torch = pytest.importorskip("torch")
    tensor = torch.ones((2, 3), dtype=torch.bfloat16)
    view = view_of("x", Producer(tensor), 0)
    assert (view.dtype, view.address) == ("bfloat16", tensor.data_ptr())


@pytest.mark.parametrize(("stream", "told"), [(0, 1), (1, 1), (2, 2), (1234567, 1234567)])
def test_the_producer_is_told_the_stream(stream, told):
    """DLPack calls the legacy default stream 1: 0 would be ambiguous there."""
    producer = Producer(np.ones(3, np.float32))
    view_of("x", producer, stream)
    assert [asked["stream"] for asked in producer.asked] == [told]


def test_read_only_arrays_are_known_as_such():
    array = np.ones(3, np.float32)
    array.flags.writeable = False
    view = view_of("scores", Producer(array), 0)
    with pytest.raises(ValueError, match="scores is written"):
        view.writable()


def test_the_array_outlives_the_reading():
    array = np.arange(1000, dtype=np.float32)
    producer = Producer(array)
    for _ in range(100):
        assert view_of("x", producer, 0).address == array.ctypes.data
    assert array.sum() == 499500


@pytest.mark.parametrize("kind", [CPU, CUDA_HOST])
def test_arrays_of_the_host_are_refused(kind):
    with pytest.raises(TypeError, match="queries must be in a GPU's memory, got a Producer"):
        view_of("queries", Producer(np.ones(3, np.float32), kind), 0)
    for other in (np.ones(3, np.float32), [1.0], None):
        with pytest.raises(TypeError, match=f"got a {type(other).__name__}"):
            view_of("queries", other, 0)


def test_elements_that_no_argument_has():
    with pytest.raises(TypeError, match="x has elements of DLPack type 2 with 64 bits"):
        view_of("x", Producer(np.ones(3)), 0)


def test_what_torch_does_not_show():
    class Learning:
        def __dlpack_device__(self) -> tuple[int, int]:
            return CUDA, 0

        def __dlpack__(self, **asked: Any) -> Any:
            raise BufferError("Can't export tensors that require gradient")

    with pytest.raises(ValueError, match="x can't be read: Can't export tensors that require gradient"):
        view_of("x", Learning(), 0)


class Face:
    def __init__(self, **face: Any) -> None:
        self.__cuda_array_interface__ = {
            "shape": (2, 3), "typestr": "<f4", "data": (64, False), "strides": None, "version": 3
        } | face  # fmt: skip


@pytest.mark.parametrize(
    ("typestr", "dtype"), [("<f4", "float32"), ("<f2", "float16"), ("<V2", "bfloat16"), ("|i1", "int8")]
)
def test_interface(typestr, dtype):
    view = view_of("x", Face(typestr=typestr, stream=5), 0)
    assert (view.address, view.dtype, view.shape, view.strides) == (64, dtype, (2, 3), (3, 1))
    assert (view.device, view.stream, view.read_only) == (None, 5, False)


def test_interface_strides_are_bytes():
    assert view_of("x", Face(strides=(40, 4)), 0).strides == (10, 1)
    with pytest.raises(ValueError, match=r"strides \(41, 4\) in bytes"):
        view_of("x", Face(strides=(41, 4)), 0)


def test_interface_refusals():
    with pytest.raises(TypeError, match="type '>f4'"):
        view_of("x", Face(typestr=">f4"), 0)
    with pytest.raises(TypeError, match="a mask of its own"):
        view_of("x", Face(mask=object()), 0)
    assert view_of("x", Face(data=(64, True)), 0).read_only
