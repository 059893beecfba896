"""The gallery that the kernels' benchmark times: filled, closed, opened, searched by row number."""

from __future__ import annotations

import numpy as np

from sdk.gallery import reopened as module
from sdk.gallery.reopened import reopened


def test_rows_are_found_by_number_with_and_without_a_mark(monkeypatch):
    monkeypatch.setattr(module, "BATCH", 7)
    rows = np.eye(20, dtype=np.float32)
    even = np.arange(20) % 2 == 0
    with reopened(rows, {"even": even}) as opened:
        assert set(opened.facts) == {"fill s", "open ms", "first search ms"}
        assert all(value > 0 for value in opened.facts.values())
        query = rows[3:4] + rows[8:9] / 2
        numbers, scores = opened.found(opened.search(query, 2, None))
        assert numbers.tolist() == [[3, 8]]
        assert scores.tolist() == [[1.0, 0.5]]
        numbers, scores = opened.found(opened.search(query, 12, "even"))
        assert numbers.dtype == np.int64
        assert numbers[0, 0] == 8
        assert numbers[0, -2:].tolist() == [-1, -1]
        assert set(numbers[0, :10]) == set(range(0, 20, 2))
