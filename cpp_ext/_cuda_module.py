"""The compiled CUDA module, imported on first use, and what every face over it asks of its arrays."""

from __future__ import annotations

import functools
import importlib
from types import ModuleType
from typing import Any

from cpp_ext._device_arrays import View, view_of

_ALIGNMENT = 16  # bytes, of codes and workspace


@functools.cache
def load() -> ModuleType:
    """``cpp_ext._cuda``.

    Raises:
        ImportError: built without it; the text says how to get it.
    """
    try:
        return importlib.import_module("cpp_ext._cuda")
    except ImportError as error:
        raise ImportError(
            f"cpp_ext was built without CUDA ({error}). With nvcc installed type\n"
            "    pip install --no-build-isolation -C cmake.define.LABRADOR_CUDA=ON -e ."
        ) from error


def device_count() -> int:
    """GPUs that can be used now: 0 without a GPU, without a driver, or when built without CUDA."""
    try:
        return int(load().device_count())
    except ImportError:
        return 0


def buffer(name: str, array: Any, needed: int, stream: int) -> View:
    """At least ``needed`` bytes, aligned as every kernel wants them."""
    view = view_of(name, array, stream).of(["uint8"], (None,))
    if view.shape[0] < needed:
        raise ValueError(f"{name} must have at least {needed} bytes for these sizes, got {view.shape[0]}")
    return view.dense(_ALIGNMENT)


def settle(module: ModuleType, stream: int, *views: View | None) -> int:
    """The one device that all of them are on, once ``stream`` waits for theirs."""
    devices: dict[int, str] = {}
    for view in views:
        if view is None or 0 in view.shape:  # an empty array may lie nowhere
            continue
        device = view.device if view.device is not None else int(module.device_of(view.address))
        if device < 0:
            raise TypeError(f"{view.name} must be in a GPU's memory, but lies in the host's")
        devices.setdefault(device, view.name)
        if view.stream is not None and view.stream != (stream or 1):
            module.wait_for(stream, view.stream, device)
    if len(devices) > 1:
        names = ", ".join(f"{name} on device {device}" for device, name in devices.items())
        raise ValueError(f"all arrays must be on one device, got {names}")
    return next(iter(devices), 0)
