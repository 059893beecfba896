"""What works on this machine, what doesn't, and what to type.

``observe`` (in its own file) looks, ``diagnose`` judges what it saw, so that the judgement is tested on
machines that we don't have. The engine is asked to run, not believed: a wheel may list a GPU that no
session ever uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

State: TypeAlias = Literal["ok", "note", "broken"]
DISTRIBUTION = "labrador-retriever"
_PYTHON = (3, 10)
# Wheels that write into one folder: the last one installed wins, and removing either empties it.
_FIGHTS: Mapping[str, tuple[str, ...]] = {
    "onnxruntime": (
        "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml",
        "onnxruntime-qnn", "onnxruntime-training",
    ),
    "faiss": ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12"),
    "tensorrt": ("tensorrt-cu12-bindings", "tensorrt-cu13-bindings"),
}  # fmt: skip
_EXTRA_OF = {"onnxruntime": "cpu", "onnxruntime-gpu": "gpu", "faiss-cpu": "faiss", "faiss-gpu": "faiss-gpu"}
_EXCLUSIVE = (("cpu", "gpu"), ("faiss", "faiss-gpu"), ("milvus-lite", "faiss-gpu"))
# An ONNX model with one node, y = x @ x of (2, 2) float32; opset 18. Kept as bytes: users have no onnx.
TINY_MODEL = (
    b'\x08\x08:E\n\x11\n\x01x\n\x01x\x12\x01y"\x06MatMul\x12\x06doctorZ\x13\n\x01x\x12\x0e\n\x0c\x08\x01\x12\x08'
    b"\n\x02\x08\x02\n\x02\x08\x02b\x13\n\x01y\x12\x0e\n\x0c\x08\x01\x12\x08\n\x02\x08\x02\n\x02\x08\x02B\x04\n\x00\x10\x12"
)


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's list. ``remedy`` is what to type, "" when nothing is to be done."""

    state: State
    what: str
    remedy: str = ""


@dataclass(frozen=True)
class Engine:
    """onnxruntime as seen: the providers its wheel offers, and those a session really ran on."""

    offered: tuple[str, ...] = ()
    active: tuple[str, ...] = ()
    problem: str = ""  # why the import or the inference failed


@dataclass(frozen=True)
class Environment:
    """A machine as ``diagnose`` needs it. Package names in lower case with dashes → version."""

    python: tuple[int, int] = _PYTHON
    machine: str = "x86_64"
    packages: Mapping[str, str] = field(default_factory=dict)
    extras: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # extra → packages it asks for
    levels: tuple[str, ...] = ()  # CPU levels that run here, slowest first
    kernels: str = ""  # what the kernels' self-test complained of
    engine: Engine = field(default_factory=Engine)
    gpus: int = 0  # NVIDIA GPUs that the driver answers for


def diagnose(env: Environment) -> list[Finding]:
    """Judge an environment: what is well, what is broken, what is only worth knowing, in a fixed order."""
    return [
        *_about_python(env),
        *_about_kernels(env),
        *_about_fights(env),
        *_about_engine(env),
        *_about_torch(env),
        *_about_extras(env),
    ]


def _about_python(env: Environment) -> list[Finding]:
    version = ".".join(map(str, env.python))
    if env.python < _PYTHON:
        return [Finding("broken", f"Python {version} is too old", "install Python 3.10 or newer")]
    packages = (DISTRIBUTION, "numpy", "pillow", "onnxruntime", "onnxruntime-gpu", "tokenizers", "torch")
    found = ", ".join(f"{name} {env.packages[name]}" for name in packages if name in env.packages)
    return [Finding("ok", f"Python {version} on {env.machine}; {found}")]


def _about_kernels(env: Environment) -> list[Finding]:
    if env.kernels:
        remedy = f"pip install --force-reinstall --no-deps {DISTRIBUTION}"
        return [Finding("broken", f"search kernels: {env.kernels}", remedy)]
    return [Finding("ok", f"search kernels: {', '.join(env.levels)}; self-test passed")]


def _about_fights(env: Environment) -> list[Finding]:
    findings = []
    for folder, wheels in _FIGHTS.items():
        found = [wheel for wheel in wheels if wheel in env.packages]
        if len(found) < 2:
            continue
        keep = next((w for w in found if "gpu" in w), found[0]) if env.gpus else found[0]
        extra = _EXTRA_OF.get(keep)
        back = f"'{DISTRIBUTION}[{extra}]'" if extra else keep
        extras = [_EXTRA_OF[w] for w in found if w in _EXTRA_OF]
        because = f" (the extras {' and '.join(extras)} exclude each other)" if len(extras) > 1 else ""
        findings.append(
            Finding(
                "broken",
                f"{' and '.join(found)} are both installed and overwrite each other in {folder}/{because}",
                f"pip uninstall -y {' '.join(found)} && pip install {back}",
            )
        )
    if "milvus-lite" in env.packages and any(w.startswith("faiss-gpu") for w in env.packages):
        findings.append(
            Finding(
                "broken",
                "milvus-lite needs faiss-cpu, which faiss-gpu overwrites "
                "(the extras milvus-lite and faiss-gpu exclude each other)",
                "pip uninstall -y milvus-lite (or faiss-gpu), then reinstall the other",
            )
        )
    return findings


def _about_engine(env: Environment) -> list[Finding]:
    wheels = [wheel for wheel in _FIGHTS["onnxruntime"] if wheel in env.packages]
    engine = env.engine
    if not wheels and engine.problem:
        extra = "gpu" if env.gpus else "cpu"
        return [Finding("broken", "no onnxruntime: nothing can be embedded", _install(extra))]
    if engine.problem:
        names = " ".join(wheels) or "onnxruntime"
        extra = _EXTRA_OF.get(wheels[0] if wheels else "", "cpu")
        remedy = f"pip uninstall -y {names} && {_install(extra)}"
        return [Finding("broken", f"onnxruntime can't run: {engine.problem}", remedy)]
    findings = [Finding("ok", f"onnxruntime ran on {', '.join(engine.active)}")]
    cuda = "CUDAExecutionProvider"
    if cuda in engine.offered and cuda not in engine.active:
        if env.gpus:
            missing = [lib for lib in ("nvidia-cudnn", "nvidia-curand") if not _any(env, lib)]
            why = f"; {' and '.join(missing)} not installed" if missing else ""
            findings.append(
                Finding(
                    "broken",
                    f"onnxruntime-gpu lists CUDA, but a session that asked for it ran on the CPU{why}",
                    f"{_install('gpu')}; if it persists, update the NVIDIA driver (see nvidia-smi)",
                )
            )
        else:
            findings.append(
                Finding("note", "onnxruntime-gpu is installed, but no NVIDIA GPU answers: it runs on the CPU")
            )
    elif env.gpus and cuda not in engine.offered:
        wheel = wheels[0] if wheels else "onnxruntime"
        remedy = f"pip uninstall -y {wheel} && {_install('gpu')}"
        findings.append(Finding("note", f"{env.gpus} NVIDIA GPU(s) here, which {wheel} can't use", remedy))
    return findings


def _about_torch(env: Environment) -> list[Finding]:
    """A CPU-only torch beside a CUDA torchvision dies on import: no operator torchvision::nms."""
    torch, vision = env.packages.get("torch", ""), env.packages.get("torchvision", "")
    if vision and not torch:
        return [Finding("note", "torchvision without torch: training won't start", _install("train"))]
    if vision and ("+cpu" in torch) != ("+cpu" in vision):
        what = f"torch {torch} and torchvision {vision} are of different builds: training won't start"
        return [Finding("broken", what, "pip install --force-reinstall torch torchvision from one index")]
    return []


def _about_extras(env: Environment) -> list[Finding]:
    if not env.extras:
        return [
            Finding(
                "note",
                f"{DISTRIBUTION} isn't installed as a package: its extras are unknown",
                "pip install .",
            )
        ]
    whole = {extra for extra, needs in env.extras.items() if needs and all(n in env.packages for n in needs)}
    findings = [Finding("ok", f"extras installed: {', '.join(sorted(whole)) or 'none'}")]
    for extra in sorted(set(env.extras) - whole):
        if any(extra in pair and whole & set(pair) for pair in _EXCLUSIVE) or not env.extras[extra]:
            continue  # its opposite is installed, and one of them is enough
        missing = ", ".join(n for n in env.extras[extra] if n not in env.packages)
        findings.append(Finding("note", f"extra {extra} not installed (lacks {missing})", _install(extra)))
    return findings


def _install(extra: str) -> str:
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def _any(env: Environment, prefix: str) -> bool:
    return any(name.startswith(prefix) for name in env.packages)
