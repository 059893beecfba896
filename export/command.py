"""What the command lines of this folder share: how errors end, and how a dataset is named."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from sdk.errors import ExportError, InputError, LabradorError

if TYPE_CHECKING:
    from train.checkpoint import DualEncoder
    from train.split import Split


def run(command: Callable[..., int], name: str, about: str) -> int:
    """Run the command line of the module `name`; returns its exit code.

    0 all is well, 1 the gate stays shut, 2 something was refused, 130 interrupted. What was refused is said
    in one line on stderr, without a traceback.
    """
    try:
        return tyro.cli(command, prog=f"python -m {name}", description=about)
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    except LabradorError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, ExportError) else 2


def load_split(data: str | None, root: Path | None, module: DualEncoder) -> Split | None:
    """The dataset's test part, asked by words if the model knows any; None when none is named."""
    if data is None and root is None:
        return None
    if data is None or root is None:
        given = f"data={data!r}" if root is None else f"root={str(root)!r}"
        raise InputError(f"data, root: got only {given}; give both, or neither for made-up pictures")
    from train import datasets

    asking = ("text", "attributes") if "query.text" in module.roles else ("image",)
    known = datasets.tasks(data)
    return datasets.load(data, root, "test", next((task for task in asking if task in known), asking[0]))


def sha256(path: Path) -> str:
    """The file's hash, 64 hex digits."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()
