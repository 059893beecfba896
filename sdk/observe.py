"""Look at this machine for the doctor: packages, kernels, GPUs, and an inference that really runs."""

from __future__ import annotations

import ctypes
import platform
import re
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from .doctor import DISTRIBUTION, TINY_MODEL, Engine, Environment, Finding
from .errors import LabradorError

# Asked for in this order where the wheel offers them. TensorRT isn't: it would first build an engine.
_PROVIDERS = (
    "CUDAExecutionProvider",
    "OpenVINOExecutionProvider",
    "DmlExecutionProvider",
    "CoreMLExecutionProvider",
    "CPUExecutionProvider",
)
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9._-]+)")
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")


def observe() -> Environment:
    """This process's machine; takes about a second and writes nothing."""
    levels, kernels = _kernels()
    return Environment(
        python=sys.version_info[:2],
        machine=platform.machine(),
        packages=_packages(),
        extras=_extras(),
        levels=levels,
        kernels=kernels,
        engine=_engine(),
        gpus=_gpus(),
    )


def examine_bundle(path: str | Path, device: str = "auto") -> list[Finding]:
    """Open a bundle here and recompute its golden samples."""
    try:
        from .bundle import Bundle, check_golden
        from .runtime import open_session

        bundle = Bundle.open(path)
        session = open_session(bundle, device=device)
        try:
            checks = check_golden(bundle, session)
            ran = ", ".join(
                f"{key} {value}" for key, value in session.report.items() if isinstance(value, str)
            )
        finally:
            session.close()
    except LabradorError as error:
        return [Finding("broken", str(error))]
    findings = [Finding("ok", f"bundle {bundle.name}: every file has its hash; {ran}")]
    for check in checks:
        what = f"{check.name}: {check.value:.3g} (limit {check.limit:.3g})"
        remedy = "" if check.ok else "compare numpy, pillow, tokenizers and onnxruntime with constraints.txt"
        findings.append(Finding("ok" if check.ok else "broken", what, remedy))
    return findings


def _kernels() -> tuple[tuple[str, ...], str]:
    try:
        import cpp_ext

        wrong = [level for level, passed in cpp_ext.self_test().items() if not passed]
        return cpp_ext.LEVELS, f"wrong results at level {', '.join(wrong)}" if wrong else ""
    except Exception as error:  # an import error, or an illegal LABRADOR_LEVEL; either stops every search
        return (), str(error)


def _engine() -> Engine:
    offered: tuple[str, ...] = ()
    try:
        import numpy as np
        import onnxruntime

        offered = tuple(onnxruntime.get_available_providers())
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is said in the findings
        wanted = [name for name in _PROVIDERS if name in offered]
        session = onnxruntime.InferenceSession(TINY_MODEL, options, providers=wanted)
        squared = session.run(None, {"x": np.array([[1, 2], [3, 4]], np.float32)})[0]
        active = tuple(session.get_providers())
        wrong = np.asarray(squared).tolist() != [[7, 10], [15, 22]]
        return Engine(offered, active, "a 2x2 matrix product came out wrong" if wrong else "")
    except Exception as error:  # a half-removed wheel fails in any way
        return Engine(offered, (), f"{type(error).__name__}: {error}")


def _gpus() -> int:
    """NVIDIA GPUs by asking the driver itself; 0 without one."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        count = ctypes.c_int(0)
        if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
            return 0
        return count.value
    except (OSError, AttributeError):
        return 0


def _packages() -> dict[str, str]:
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"] if distribution.metadata else None
        if name:  # a damaged installation may have none
            found.setdefault(_normal(name), distribution.version)
    return found


def _extras() -> dict[str, tuple[str, ...]]:
    try:
        return extras_of(metadata.requires(DISTRIBUTION) or [])
    except metadata.PackageNotFoundError:
        return {}


def extras_of(requirements: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Extra → packages, from requirement lines such as ``onnxruntime>=1.20; extra == "cpu"``."""
    extras: dict[str, list[str]] = {}
    for line in requirements:
        name, extra = _REQUIREMENT.match(line), _EXTRA.search(line)
        if (
            name and extra and _normal(name[1]) != DISTRIBUTION
        ):  # an extra that names another is not a package
            extras.setdefault(extra[1], []).append(_normal(name[1]))
    return {extra: tuple(names) for extra, names in extras.items()}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
