"""Public datasets, one file each: parse a folder into a Split. Nothing is downloaded, nothing decoded.

A file offers ``load(root, part, task) -> Split`` and the tuples ``PARTS`` and ``TASKS`` of what it knows;
its name is the dataset's. Adding a dataset is adding a file.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from sdk.errors import DatasetError
from train.split import Split

__all__ = ["load", "names", "parts", "tasks"]


def names() -> list[str]:
    """The datasets there are: the modules of this folder, sorted."""
    return sorted(found.name for found in pkgutil.iter_modules(__path__) if not found.name.startswith("_"))


def parts(name: str) -> tuple[str, ...]:
    """The parts that a dataset has, of train, val, test; raises DatasetError for an unknown dataset."""
    return tuple(_module(name).PARTS)


def tasks(name: str) -> tuple[str, ...]:
    """What can ask in a dataset, of text, attributes, image, composed; raises DatasetError as ``parts``."""
    return tuple(_module(name).TASKS)


def load(name: str, root: str | Path, part: str, task: str | None = None) -> Split:
    """Parse one part of a dataset for one task ("text", "attributes", …); None is the first it has.

    Raises DatasetError that lists what is known for an unknown dataset, part or task, and one that shows
    the expected layout for a folder that hasn't got it.
    """
    module = _module(name)
    if part not in module.PARTS:
        raise DatasetError(f"{name}: no part {part!r}; it has {', '.join(module.PARTS)}")
    task = module.TASKS[0] if task is None else task
    if task not in module.TASKS:
        raise DatasetError(f"{name}: no task {task!r}; it has {', '.join(module.TASKS)}")
    split = module.load(Path(root), part, task)
    assert isinstance(split, Split)
    return split


def _module(name: str) -> ModuleType:
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise DatasetError(f"no dataset {name!r}{hint}; there are: {', '.join(known)}")
    return importlib.import_module(f"{__name__}.{name}")
