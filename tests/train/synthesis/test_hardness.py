"""The printed baselines, on data whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from train.synthesis.hardness import colour_histogram, measure, rank1_across_cameras, small_pixels


@pytest.mark.parametrize("norm", [1, 2])
def test_the_nearest_of_another_camera_decides(norm: int) -> None:
    # Person 1 stands at 0 and 1, person 2 at 10 and 2: from 2 the nearest elsewhere is 1's picture at 1 or 0.
    features = np.array([[0.0], [1.0], [10.0], [2.0]])
    people, cameras = [1, 1, 2, 2], [1, 2, 1, 2]
    # 0 -> 1 (right), 1 -> 0 (right), 10 -> 2 (right), 2 -> 0 (wrong)
    assert rank1_across_cameras(features, people, cameras, norm) == 0.75


def test_the_own_camera_never_answers() -> None:
    features = np.array([[0.0], [0.0], [5.0], [5.0]])
    assert rank1_across_cameras(features, [1, 1, 1, 2], [1, 1, 2, 2], 2) == 1.0
    assert rank1_across_cameras(features, [1, 2, 2, 1], [1, 1, 2, 2], 2) == 0.5


def test_pictures_that_only_one_camera_saw_are_left_out() -> None:
    features = np.array([[0.0], [0.1], [3.0]])
    assert rank1_across_cameras(features, [1, 1, 2], [1, 2, 1], 2) == 1.0
    assert rank1_across_cameras(features, [1, 2, 3], [1, 2, 3], 2) == 0.0


def test_norms_differ() -> None:
    features = np.array([[0.0, 0.0], [3.0, 3.0], [5.0, 0.0], [9.0, 9.0]])
    people, cameras = [1, 1, 2, 2], [1, 2, 2, 1]
    assert rank1_across_cameras(features, people, cameras, 2) > rank1_across_cameras(
        features, people, cameras, 1
    )


def test_features() -> None:
    red = Image.new("RGB", (40, 80), (255, 0, 0))
    assert small_pixels(red).tolist() == [255.0, 0.0, 0.0] * 128
    histogram = colour_histogram(red)
    assert histogram[7 * 64] == histogram.sum() == 1.0
    half = Image.new("RGB", (40, 80))
    half.paste(red.crop((0, 0, 40, 40)), (0, 40))
    assert colour_histogram(half)[[0, 7 * 64]].tolist() == [0.5, 0.5]
    assert small_pixels(half).reshape(16, 8, 3)[-1].tolist() == [[255.0, 0.0, 0.0]] * 8


def test_measure_reads_files(tmp_path: Path) -> None:
    files = []
    for i, colour in enumerate([(250, 0, 0), (250, 10, 0), (0, 0, 250), (0, 10, 250)]):
        files.append(tmp_path / f"{i}.png")
        Image.new("RGB", (20, 40), colour).save(files[-1])
    assert measure(files, [1, 1, 2, 2], [1, 2, 1, 2]) == {"pixels_16x8": 1.0, "colour_histogram": 1.0}
    assert measure(files, [1, 2, 2, 1], [1, 2, 1, 2])["pixels_16x8"] == 0.0
