"""MATLAB files (up to version 7.2) as plain Python: a struct is a dict, a cell an array, 1x1 its element."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sdk.errors import DatasetError
from train.datasets._source import Source


def read_mat(source: Source, path: Path, variables: tuple[str, ...], what: str) -> dict[str, Any]:
    """These variables of the file. ``what``: which file it should be, as "the attribute table: needed is …".

    Raises DatasetError without scipy, for a file that is no MATLAB file, and for one that lacks a variable.
    """
    try:
        from scipy.io import loadmat  # type: ignore[import-untyped]
    except ImportError as error:
        raise DatasetError(
            f"{source.name}: {path} is a MATLAB file, and reading it takes scipy: "
            "pip install 'labrador-retriever[train]'"
        ) from error
    try:
        read = loadmat(path, simplify_cells=True, variable_names=variables)
        return {name: read[name] for name in variables}
    except Exception as error:  # on damaged bytes the reader stumbles in any way, zlib.error among them
        raise DatasetError(f"{source.name}: {path} isn't {what} ({error!r})") from error
