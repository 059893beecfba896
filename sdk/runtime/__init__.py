"""Engines that run a bundle's graphs: one file each, found by name, imported on use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from ..errors import InputError

if TYPE_CHECKING:
    from ..bundle import Bundle
    from ..types import Session

# name → "module:Class"; the class takes (bundle, device, strict).
SESSIONS = {"onnx": "sdk.runtime.onnx:OnnxSession"}
DEVICES = ("auto", "cpu", "cuda")


def open_session(bundle: Bundle, device: str = "auto", strict: bool = False, engine: str = "onnx") -> Session:
    """An engine for the bundle.

    ``device``: "auto" takes a GPU that answers and else the CPU, "cpu", or "cuda". Where "cuda" isn't to
    be had, the CPU runs, a RuntimeWarning is given and ``session.report["why"]`` keeps the reason;
    ``strict=True`` raises EngineError instead. Raises InputError for an unknown device or engine and
    EngineError for one that isn't installed.
    """
    if device not in DEVICES:
        raise InputError(f"device: got {device!r}; allowed are {', '.join(map(repr, DEVICES))}")
    if engine not in SESSIONS:
        raise InputError(f"engine: got {engine!r}; allowed are {', '.join(map(repr, SESSIONS))}")
    module, _, name = SESSIONS[engine].partition(":")
    return cast("Session", getattr(importlib.import_module(module), name)(bundle, device, strict))


def label(session: Session) -> str:
    """What a gallery keeps beside each vector of who made it, such as ``onnxruntime cpu fp32``."""
    return " ".join(str(session.report.get(key)) for key in ("engine", "device", "precision"))
