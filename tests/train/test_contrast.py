"""Means, paired differences and the table of runs, by hand."""

import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from train import contrast


def result(variant: str, seed: int, rank1: float, ap: float = 10.0, steps: int = 7) -> dict[str, Any]:
    figures = {"rank1": rank1, "map": ap}
    return {"variant": variant, "seed": seed, "steps": steps, "seconds": 90.0, "figures": figures}


def test_the_interval_of_three_values_is_students() -> None:
    mean = contrast.mean_of([1.0, 2.0, 6.0])
    # deviation sqrt(7), over sqrt(3), times the 97.5 % point of Student's t with two degrees, 4.302653
    assert mean.value == 3
    assert mean.half == pytest.approx(4.302653 * math.sqrt(7 / 3), rel=1e-6)
    assert str(mean) == "3.00 ± 6.57"


def test_one_value_has_no_interval_and_none_has_no_mean() -> None:
    assert contrast.mean_of([4.0]) == contrast.Mean(4.0, None, 1)
    assert math.isnan(contrast.mean_of([]).value)


def test_differences_are_paired_by_seed() -> None:
    # seeds differ by 50 points, the variant is always 1 better: an unpaired interval would hide that
    runs = [result("base", s, 50.0 * s) for s in (0, 1, 2)] + [result("all", s, 50.0 * s + 1) for s in (0, 1)]
    mean = contrast.above(runs, "all", "base", "rank1")
    assert (mean.value, mean.half, mean.runs) == (1, 0, 2)


def test_the_table_has_a_row_per_variant_and_says_how_many_runs_it_rests_on() -> None:
    runs = [result("base", 0, 10), result("base", 1, 12), result("all", 1, 15.5, steps=8)]
    assert contrast.table(runs, ["base", "all", "none yet"]).splitlines() == [
        "| variant | runs | steps | minutes | Rank-1 | mAP | Rank-1 above base | mAP above base |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| base | 2 | 7 | 1.5 | 11.00 ± 12.71 | 10.00 ± 0.00 |  |  |",
        "| all | 1 | 8 | 1.5 | 15.50 | 10.00 | +3.50 | +0.00 |",
        "| none yet | 0 |  |  |  |  |  |  |",
    ]


def test_the_picture_shows_unfinished_variants_too(tmp_path: Path) -> None:
    runs = [result("base", 0, 10), result("base", 1, 12), result("all", 1, 15.5)]
    contrast.draw(runs, ["base", "all", "none yet"], tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.size[0] > image.size[1] > 300
        assert len(image.convert("RGB").getcolors(1 << 20)) > 50
