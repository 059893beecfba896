"""The cases of ``level_tests``, with results that NumPy alone worked out; ``operations.h`` describes them.

python tests/native/level_cases.py FILE
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from case_file import Case, write
from mining_cases import mining_cases, slopes_cases
from search_cases import pairs_cases, topk_cases
from tile_cases import dot_cases, screen_cases, widen_cases


def cases(seed: int = 20240607) -> Iterator[Case]:
    random = np.random.default_rng(seed)
    tiles, searches = (dot_cases, screen_cases, widen_cases), (topk_cases, pairs_cases)
    for operation in (*tiles, *searches, mining_cases, slopes_cases):
        yield from operation(random)


if __name__ == "__main__":
    write(Path(sys.argv[1]), cases())
