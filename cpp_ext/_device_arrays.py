"""Arrays in a GPU's memory, from whoever made them: DLPack, or ``__cuda_array_interface__``.

Both are read with the standard library alone. DLPack comes first: it names the device, knows bfloat16,
and its producer makes the caller's stream wait for the array's.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

_DLPACK_CUDA = (2, 13)  # kDLCUDA and kDLCUDAManaged
_LEGACY_STREAM = 1  # what DLPack calls CUDA's stream 0, which would be ambiguous there

_DLPACK_TYPES = {
    (2, 32): "float32", (2, 16): "float16", (4, 16): "bfloat16", (0, 8): "int8", (0, 32): "int32",
    (0, 64): "int64", (1, 8): "uint8",
}  # fmt: skip
_TYPESTRS = {
    "<f4": "float32", "<f2": "float16", "<V2": "bfloat16", "|V2": "bfloat16", "|i1": "int8", "<i4": "int32",
    "<i8": "int64", "|u1": "uint8",
}  # fmt: skip
WIDTHS = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1, "int32": 4, "int64": 8, "uint8": 1}


class _Device(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int32), ("number", ctypes.c_int32)]


class _Type(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("type", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class _Versioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    ]


class DeviceArray(Protocol):
    """An array in a GPU's memory: it has ``__dlpack__`` (torch, CuPy, JAX), or this (Numba)."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class View:
    """What an array says of itself. ``device`` and ``stream`` are None where it doesn't say."""

    name: str
    address: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements
    device: int | None
    stream: int | None  # one that must be waited for
    read_only: bool

    def of(self, dtypes: Sequence[str], *shapes: tuple[int | None, ...]) -> View:
        """Itself, if it has one of the element types and shapes (None: any length), rows contiguous.

        Raises:
            TypeError, ValueError: it hasn't.
        """
        if self.dtype not in dtypes:
            raise TypeError(f"{self.name} must be {' or '.join(dtypes)}, got {self.dtype}")
        fits = any(
            len(shape) == len(self.shape)
            and all(wanted in (None, found) for wanted, found in zip(shape, self.shape, strict=True))
            for shape in shapes
        )
        if not fits:
            allowed = " or ".join(str(shape).replace("None", "any") for shape in shapes)
            raise ValueError(f"{self.name} must have shape {allowed}, got {self.shape}")
        if self.address % WIDTHS[self.dtype]:
            raise ValueError(
                f"{self.name} must be aligned to {WIDTHS[self.dtype]} bytes, but lies at {self.address}"
            )
        if 0 not in self.shape and self.shape[-1] > 1 and self.strides[-1] != 1:
            raise ValueError(
                f"{self.name} must be contiguous along its last axis, got strides {self.strides} (elements)"
            )
        return self

    def dense(self, alignment: int = 1) -> View:
        """Itself, if it has no gaps and its address is a multiple of ``alignment`` bytes.

        Raises:
            ValueError: it isn't so.
        """
        if 0 not in self.shape and any(
            length > 1 and stride != wanted
            for length, stride, wanted in zip(self.shape, self.strides, _dense(self.shape), strict=True)
        ):
            raise ValueError(f"{self.name} must be contiguous, got strides {self.strides} (elements)")
        if self.address % alignment:
            raise ValueError(f"{self.name} must be aligned to {alignment} bytes, but lies at {self.address}")
        return self

    def writable(self) -> View:
        """Itself, if it may be written.

        Raises:
            ValueError: it is read-only.
        """
        if self.read_only:
            raise ValueError(f"{self.name} is written, but the array given is read-only")
        return self


def view_of(name: str, array: Any, stream: int) -> View:
    """The array's memory, ready for work that is queued on ``stream`` (but for ``View.stream``).

    Raises:
        TypeError: not an array in a GPU's memory, or of an element type that no argument has.
        ValueError: an array that its maker won't show, as torch those that require a gradient.
    """
    if hasattr(array, "__dlpack__") and hasattr(array, "__dlpack_device__"):
        kind, _ = array.__dlpack_device__()
        if int(kind) in _DLPACK_CUDA:
            return _from_dlpack(name, array, stream)
    elif hasattr(array, "__cuda_array_interface__"):
        return _from_interface(name, array)
    raise TypeError(
        f"{name} must be in a GPU's memory, got a {type(array).__name__} that isn't; move it there"
    )


def _dense(shape: Sequence[int]) -> tuple[int, ...]:
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return tuple(strides)


def _unknown(name: str, found: str) -> TypeError:
    return TypeError(f"{name} has elements of {found}; known are {', '.join(WIDTHS)}")


_capsule_name = ctypes.pythonapi.PyCapsule_GetName
_capsule_name.restype, _capsule_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype, _capsule_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def _from_dlpack(name: str, array: Any, stream: int) -> View:
    wait = stream or _LEGACY_STREAM
    try:
        try:
            capsule = array.__dlpack__(stream=wait, max_version=(1, 1))
        except TypeError:  # a producer from before versions
            capsule = array.__dlpack__(stream=wait)
    except BufferError as error:
        raise ValueError(f"{name} can't be read: {error}") from error
    # The capsule isn't consumed, only read: it dies with this function and its producer then frees what
    # it made for it. The memory itself lives as long as the caller's array.
    kind = _capsule_name(capsule)
    read_only = False
    if kind == b"dltensor_versioned":
        versioned = _Versioned.from_address(_capsule_pointer(capsule, kind))
        if versioned.major != 1:
            raise TypeError(f"{name} comes as DLPack {versioned.major}.{versioned.minor}; known is version 1")
        tensor, read_only = versioned.tensor, bool(versioned.flags & 1)
    else:
        tensor = _Tensor.from_address(_capsule_pointer(capsule, b"dltensor"))
    shape = tuple(tensor.shape[: tensor.ndim])
    dtype = _DLPACK_TYPES.get((tensor.type.code, tensor.type.bits)) if tensor.type.lanes == 1 else None
    if dtype is None:
        raise _unknown(name, f"DLPack type {tensor.type.code} with {tensor.type.bits} bits")
    strides = tuple(tensor.strides[: tensor.ndim]) if tensor.strides else _dense(shape)
    address = (tensor.data or 0) + tensor.byte_offset
    return View(name, address, dtype, shape, strides, tensor.device.number, None, read_only)


def _from_interface(name: str, array: Any) -> View:
    face = array.__cuda_array_interface__
    if face.get("mask") is not None:
        raise TypeError(f"{name} has a mask of its own, which isn't read")
    dtype = _TYPESTRS.get(face["typestr"])
    if dtype is None:
        raise _unknown(name, f"type {face['typestr']!r}")
    shape = tuple(face["shape"])
    address, read_only = face["data"]
    given = face.get("strides")
    width = WIDTHS[dtype]
    if given and any(stride % width for stride in given):
        raise ValueError(f"{name} has strides {tuple(given)} in bytes, which aren't multiples of its {width}")
    strides = tuple(stride // width for stride in given) if given else _dense(shape)
    return View(name, address or 0, dtype, shape, strides, None, face.get("stream"), read_only)
