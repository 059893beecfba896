"""How far one gets on the pictures without learning anything: nearest neighbour on pixels and on colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

LIMITS = {"pixels_16x8": 0.25, "colour_histogram": 0.40}  # Rank-1 above these makes the data too easy
_BINS = 8  # per channel


def small_pixels(image: Image.Image) -> npt.NDArray[np.float64]:
    """(384,) the picture shrunk to 16 rows of 8 pixels."""
    return np.asarray(image.convert("RGB").resize((8, 16), Image.Resampling.BILINEAR), np.float64).reshape(-1)


def colour_histogram(image: Image.Image) -> npt.NDArray[np.float64]:
    """(512,) share of the picture's pixels in each of 8 x 8 x 8 colours."""
    level = np.asarray(image.convert("RGB"), np.int64) * _BINS // 256
    cell = (level[..., 0] * _BINS + level[..., 1]) * _BINS + level[..., 2]
    return np.bincount(cell.reshape(-1), minlength=_BINS**3) / cell.size


def rank1_across_cameras(
    features: npt.NDArray[np.float64], people: Sequence[int], cameras: Sequence[int], norm: int
) -> float:
    """Share of pictures whose nearest one of any other camera shows the same person.

    features (m, d); distance is the L1 or L2 one (`norm` 1 or 2), the first of equals wins. Pictures whose
    person no other camera saw are left out; 0.0 when none remains.
    """
    person, camera = np.asarray(people), np.asarray(cameras)
    right = counted = 0
    for i in range(len(features)):
        elsewhere = camera != camera[i]
        if not (elsewhere & (person == person[i])).any():
            continue
        gap = features - features[i]
        distance = np.abs(gap).sum(1) if norm == 1 else (gap * gap).sum(1)
        nearest = int(np.argmin(np.where(elsewhere, distance, np.inf)))
        counted += 1
        right += int(person[nearest] == person[i])
    return right / counted if counted else 0.0


def measure(files: Sequence[Path], people: Sequence[int], cameras: Sequence[int]) -> dict[str, float]:
    """Both figures over these pictures, by the names of LIMITS."""
    pixels, colours = [], []
    for path in files:
        with Image.open(path) as image:
            pixels.append(small_pixels(image))
            colours.append(colour_histogram(image))
    return {
        "pixels_16x8": rank1_across_cameras(np.stack(pixels), people, cameras, norm=2),
        "colour_histogram": rank1_across_cameras(np.stack(colours), people, cameras, norm=1),
    }
