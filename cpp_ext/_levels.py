"""The compiled module, the levels it holds, and which one a call uses.

``LABRADOR_LEVEL`` forces a level for the process: a compiled one, or ``reference`` for the NumPy
specification. Only then may ``cpp_ext`` be imported without its compiled module.
"""

from __future__ import annotations

import os
from types import ModuleType

REFERENCE = "reference"
_ENVIRONMENT = "LABRADOR_LEVEL"


def _load() -> ModuleType | None:
    try:
        from cpp_ext import _core
    except ImportError as error:
        if os.environ.get(_ENVIRONMENT) == REFERENCE:
            return None
        raise ImportError(
            f"cpp_ext's compiled module can't be imported ({error}). In a checkout of Labrador type\n"
            "    pip install --no-build-isolation -e .\n"
            f"A plain `pip install .` isn't enough there: the source folder hides the installed one. "
            f"{_ENVIRONMENT}={REFERENCE} runs the slow NumPy specification instead."
        ) from error
    return _core


core = _load()
_supported: dict[str, bool] = core.levels() if core is not None else {}

COMPILED_LEVELS: tuple[str, ...] = tuple(_supported)
"""Levels in the compiled module, slowest first."""

LEVELS: tuple[str, ...] = tuple(name for name, here in _supported.items() if here)
"""Those of them that this machine can run, slowest first."""


def level() -> str:
    """The level a call uses unless it names one: ``LABRADOR_LEVEL``, else the fastest of ``LEVELS``."""
    forced = os.environ.get(_ENVIRONMENT)
    if forced:
        return choose(forced, f"the environment variable {_ENVIRONMENT}")
    return (REFERENCE, *LEVELS)[-1]


def choose(name: str, source: str) -> str:
    """``name`` if it can run here.

    Raises:
        ValueError: no such level, or one that this machine lacks; ``source`` says who asked.
    """
    if name in LEVELS or name == REFERENCE:
        return name
    why = "this machine can't run it" if name in COMPILED_LEVELS else "there is no such level in this build"
    raise ValueError(f"{source} asks for level {name!r}: {why}; allowed: {', '.join((REFERENCE, *LEVELS))}")
