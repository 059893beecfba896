"""A case of ``level_tests`` and the file it reads; ``case_file.h`` has the format."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

MAGIC = b"LABCASE1"


class Case(NamedTuple):
    operation: str
    numbers: Sequence[int]
    inputs: Sequence[npt.NDArray[Any]]
    expected: Sequence[npt.NDArray[Any]]

    def to_bytes(self) -> bytes:
        parts = [self.operation.encode().ljust(8, b"\0"), struct.pack("<q", len(self.numbers))]
        parts += [struct.pack("<q", number) for number in self.numbers]
        arrays = [np.ascontiguousarray(array).tobytes() for array in (*self.inputs, *self.expected)]
        parts.append(struct.pack("<q", len(arrays)))
        for array in arrays:
            parts += [struct.pack("<q", len(array)), array]
        return b"".join(parts)


def write(path: Path, cases: Iterable[Case]) -> None:
    path.write_bytes(MAGIC + b"".join(case.to_bytes() for case in cases))
