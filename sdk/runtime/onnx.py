"""onnxruntime: the default engine, on CPU or CUDA, from the extra ``cpu`` or ``gpu``.

A session per graph, made at its first use. onnxruntime falls back to the CPU without an error, so what
really runs is read back from every session and kept in ``report``.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import posixpath
import threading
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..bundle import Bundle
from ..errors import BundleFormatError, EngineError
from ..graphs import IDS, MASK, PIXELS, Graph, split_target
from .external import external_files

INSTALL = "pip install 'labrador-retriever[cpu]', or 'labrador-retriever[gpu]' for NVIDIA GPUs"
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class OnnxSession:
    """Runs a bundle's graphs with onnxruntime; thread-safe, and usable again in a forked child.

    ``report``: engine, version, device_asked, device, providers_asked, providers_active, why, precision,
    threads (0: onnxruntime's choice). Raises EngineError when onnxruntime is missing or broken, and,
    with ``strict``, when another device runs than was asked for.
    """

    def __init__(self, bundle: Bundle, device: str = "auto", strict: bool = False) -> None:
        self._ort = _import()
        self._bundle, self._strict = bundle, strict
        self._lock = threading.Lock()
        self._sessions: dict[tuple[int, str], Any] = {}
        why_not = cuda_reason(self._ort.get_available_providers()) if device != "cpu" else None
        use_cuda = device != "cpu" and why_not is None
        why = {"cpu": "cpu was asked for", "auto": "a CUDA GPU answers", "cuda": "cuda was asked for"}[device]
        self.report: dict[str, Any] = {
            "engine": "onnxruntime",
            "version": self._ort.__version__,
            "device_asked": device,
            "device": "cuda" if use_cuda else "cpu",
            "providers_asked": [CUDA, CPU] if device == "cuda" or use_cuda else [CPU],
            "providers_active": [CUDA, CPU] if use_cuda else [CPU],
            "why": why if why_not is None else f"no CUDA: {why_not}",
            "precision": "fp32",
            "threads": _threads(),
        }
        if device == "cuda" and not use_cuda:
            self._fall_back(self.report["why"])
        if strict:
            self._session(bundle.role("gallery")[0])  # a broken CUDA set-up only shows in a session

    def run(self, graph: str, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """All outputs of one graph for one batch; raises EngineError when the engine fails."""
        session = self._session(graph)
        names = list(self._bundle.graphs[graph].outputs)
        try:
            values = session.run(names, {k: np.ascontiguousarray(v) for k, v in inputs.items()})
        except Exception as error:  # onnxruntime's errors share no base class
            raise EngineError(
                f"graph {graph!r}: onnxruntime failed on {self.report['device']} ({error})"
            ) from error
        return dict(zip(names, values, strict=True))

    def close(self) -> None:
        """Free the sessions; a later ``run`` makes new ones."""
        with self._lock:
            self._sessions.clear()

    def _session(self, name: str) -> Any:
        # A child of fork() inherits sessions without their threads; there they would run on one core.
        key = (os.getpid(), name)
        session = self._sessions.get(key)
        if session is None:
            with self._lock:
                session = self._sessions.get(key)
                if session is None:
                    session = self._sessions[key] = self._create(self._bundle.graphs[name])
        return session

    def _create(self, graph: Graph) -> Any:
        path = self._bundle.graph_path(graph.name)
        folder = posixpath.dirname(graph.files[0])
        read = {posixpath.normpath(posixpath.join(folder, file)) for file in external_files(path)}
        if stray := read - set(graph.files):
            raise BundleFormatError(
                f"graph {graph.name!r}: reads {', '.join(sorted(stray))}, which its 'files' don't list"
            )
        options = self._ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = self.report["threads"]
        # Idle workers that spin take the cores from the threads that decode pictures.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # TF32 keeps 10 bits of the mantissa: too few for features that must agree within 1e-4.
        chosen: list[Any] = [CPU] if self.report["device"] == "cpu" else [(CUDA, {"use_tf32": "0"}), CPU]
        try:
            session = self._ort.InferenceSession(os.fspath(path), options, providers=chosen)
        except Exception as error:
            raise BundleFormatError(f"graph {graph.name!r}: onnxruntime can't load it ({error})") from error
        self._check_active(session.get_providers())
        self._check_face(graph, session)
        return session

    def _check_active(self, active: list[str]) -> None:
        self.report["providers_active"] = active
        if self.report["device"] == "cuda" and CUDA not in active:
            self.report["device"] = "cpu"
            self.report["why"] = "onnxruntime could not start CUDA; check its CUDA and cuDNN libraries"
            self._fall_back(self.report["why"])

    def _fall_back(self, why: str) -> None:
        if self._strict:
            raise EngineError(f"device: cuda does not run ({why}); drop strict to run on the CPU")
        warnings.warn(f"running on the CPU, not on cuda ({why})", RuntimeWarning, stacklevel=4)

    def _check_face(self, graph: Graph, session: Any) -> None:
        """The loaded graph has the inputs and outputs of the manifest, with a free batch axis."""
        inputs = {value.name: value for value in session.get_inputs()}
        if set(inputs) != set(graph.inputs):
            raise BundleFormatError(
                f"graph {graph.name!r}: takes {sorted(inputs)}, the manifest says {sorted(graph.inputs)}"
            )
        outputs = {value.name: value for value in session.get_outputs()}
        for name, source in graph.inputs.items():
            _check_value(f"graph {graph.name!r}: input {name!r}", inputs[name], self._source(source))
        for name, shape in graph.outputs.items():
            if name not in outputs:
                raise BundleFormatError(
                    f"graph {graph.name!r}: has no output {name!r}; it has {sorted(outputs)}"
                )
            _check_value(f"graph {graph.name!r}: output {name!r}", outputs[name], ("tensor(float)", shape))

    def _source(self, source: str) -> tuple[str, tuple[int, ...]]:
        spec, text = self._bundle.image_spec, self._bundle.text_spec
        if source == PIXELS:
            return "tensor(float)", (3, spec.height, spec.width)
        if source in (IDS, MASK):
            return "tensor(int64)", (text.length if text else 0,)
        graph, output = split_target(source)
        return "tensor(float)", self._bundle.graphs[graph].outputs[output]


def cuda_reason(available: list[str]) -> str | None:
    """Why CUDA can't be used here, or None when a GPU answers and onnxruntime was built for it."""
    if CUDA not in available:
        return "this onnxruntime is the CPU build; the extra 'gpu' brings the other, after removing this one"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver (libcuda.so.1) on this machine"
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return "the NVIDIA driver finds no GPU"
    return None


def _import() -> Any:
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise EngineError(f"onnxruntime is missing ({error}); {INSTALL}") from error
    if not hasattr(onnxruntime, "InferenceSession"):  # what uninstalling one of two wheels leaves behind
        raise EngineError(
            f"onnxruntime is an empty folder; uninstall onnxruntime and onnxruntime-gpu, then {INSTALL}"
        )
    return onnxruntime


def _threads() -> int:
    """0 (onnxruntime counts cores) unless this process may use only some of them, which it ignores."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    return allowed if allowed < (os.cpu_count() or 1) else 0


def _check_value(where: str, value: Any, expected: tuple[str, tuple[int, ...]]) -> None:
    kind, item = expected
    shape = list(value.shape)
    if value.type != kind:
        raise BundleFormatError(f"{where} is {value.type}; it must be {kind}")
    if not shape or isinstance(shape[0], int):
        raise BundleFormatError(
            f"{where} has the fixed shape {shape}; its first axis, the batch, must be free"
        )
    fits = len(shape) == len(item) + 1 and all(
        not isinstance(size, int) or size == wanted for size, wanted in zip(shape[1:], item, strict=True)
    )
    if not fits:
        raise BundleFormatError(f"{where} has shape {shape}; the manifest says {['n', *item]}")
