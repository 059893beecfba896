"""Which versions of what are at work, without importing what isn't loaded anyway."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("labrador-retriever", "numpy", "pillow", "tokenizers", "ftfy", "onnxruntime", "onnxruntime-gpu")


def installed(package: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def versions() -> dict[str, Any]:
    """python, machine, each installed package, and the kernels' level with all that could run here."""
    import cpp_ext

    found = {package: installed(package) for package in PACKAGES}
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        **{package: number for package, number in found.items() if number},
        "kernels": cpp_ext.level(),
        "kernel_levels": list(cpp_ext.LEVELS),
    }
