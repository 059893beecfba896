"""Training data: (picture, caption) pairs of a Split with augmentation.

Evaluation never comes here: it goes through sdk.preprocess, whose decoding, resizing and normalisation
this file reuses, so that a picture without augmentation has the very pixels a search sees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sdk.decode import map_images
from sdk.errors import DatasetError
from sdk.preprocess import ImageSpec
from train.mended import load_picture
from train.split import Split

Batch: TypeAlias = tuple[Tensor, ...]
Indices: TypeAlias = Sequence[int] | npt.NDArray[np.int64]

# IRRA's augmentation (github.com/anosorae/IRRA, datasets/build.py; flip, then pad and crop, then erase)
FLIP = 0.5
PAD = 10 / 384  # of the height: 10 px at 384, on all four sides
ERASE = 0.5  # the chance of it
ERASE_AREA = (0.02, 0.4)  # of the picture
ERASE_RATIO = (0.3, 3.3)  # height / width, drawn log-uniformly
ERASE_TRIES = 10  # then the picture stays whole; a rectangle as high or wide as the picture is refused


class TrainSet(Dataset[Batch]):
    """One item per (picture, caption) pair: pixels (3, h, w) float32, ids (t,) int64, label () int64.

    tokenizer: texts → (n, t) ids, as open_clip's. `labels` (items,) int64 numbers the people from 0 in
    order of their ids; `classes` is how many there are. `texts` are the different captions, `text_of`
    (items,) says which is whose. erase: the chance of an erased rectangle. A recipe that needs more of an
    item overrides `batch` and draws from `chance`.

    Pictures are decoded and resized once and kept as uint8, 3·h·w bytes each (`cache=False` decodes
    at every access instead); a bad file is an ImageError naming it, here and not in the middle of an
    epoch, but for truncated JPEGs (train/mended.py). Captions are tokenised once.

    An item's random numbers depend on (seed, epoch, index) alone: any order, any number of workers and a
    resumed run draw the same. `set_epoch` reaches the workers of a DataLoader too.
    Raises DatasetError for a split with no sample, or with one that has no caption.
    """

    def __init__(
        self,
        split: Split,
        image_spec: ImageSpec,
        tokenizer: Callable[[list[str]], Any],
        augment: bool = True,
        seed: int = 0,
        cache: bool = True,
        erase: float = ERASE,
    ) -> None:
        samples = split.samples
        silent = [s for s in samples if not s.captions]
        if silent or not samples:
            what = f"{silent[0].image} has no caption" if silent else "it has no sample"
            raise DatasetError(f"{split.name}: {what}; training takes (picture, caption) pairs")
        people = {person: label for label, person in enumerate(sorted({s.person for s in samples}))}
        self.classes = len(people)
        self.image_spec, self.augment, self.seed, self.erase = image_spec, augment, seed, erase
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        self._paths = [s.image for s in samples]
        pairs = [(row, caption) for row, s in enumerate(samples) for caption in s.captions]
        self._rows = np.array([row for row, _ in pairs])
        self.labels = np.array([people[samples[row].person] for row in self._rows], np.int64)
        texts: dict[str, int] = {}
        self.text_of = np.array([texts.setdefault(caption, len(texts)) for _, caption in pairs])
        self.texts = list(texts)
        self._ids = torch.from_numpy(np.ascontiguousarray(tokenizer(self.texts), dtype=np.int64))
        self._table = image_spec.table()
        self._mean = np.array(image_spec.mean, np.float32)
        self._pictures = self._decode_all() if cache else None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        return tuple(part[0] for part in self.batch([range(len(self))[index]]))

    def set_epoch(self, epoch: int) -> None:
        """Choose the random numbers of the following items."""
        self._epoch.fill_(epoch)

    def chance(self, index: int, purpose: int = 0) -> np.random.Generator:
        """An item's random numbers in this epoch; each purpose has its own, those of the picture 0."""
        key = [self.seed, int(self._epoch), int(index)]
        return np.random.default_rng([*key, purpose] if purpose else key)

    def batch(self, indices: Indices) -> Batch:
        """The items at once: pixels (b, 3, h, w), ids (b, t), labels (b,); about 0.1 ms an item at 128x64."""
        at = np.asarray(indices, np.int64)
        return self.pixels(at), self._ids[self.text_of[at]], torch.from_numpy(self.labels[at])

    def pixels(self, at: npt.NDArray[np.int64]) -> Tensor:
        """(b,) item numbers → (b, 3, h, w), augmented and normalised."""
        height, width = self.image_spec.height, self.image_spec.width
        samples = np.zeros((len(at), 3, height, width), np.uint8)
        holes: list[tuple[int, slice, slice]] = []
        for place, index in enumerate(at):
            picture = self._picture(int(self._rows[index]))
            if not self.augment:
                samples[place] = picture
                continue
            rng = self.chance(index)
            _flip_and_shift(picture, samples[place], rng)
            if rng.random() < self.erase and (hole := _hole(height, width, rng)):
                holes.append((place, *hole))
        pixels = np.empty(samples.shape, np.float32)
        for channel in range(3):
            pixels[:, channel] = self._table[channel][samples[:, channel]]
        for place, rows, columns in holes:
            # IRRA erases after normalising, with the mean triple as it stands
            pixels[place, :, rows, columns] = self._mean[:, None, None]
        return torch.from_numpy(pixels)

    def _picture(self, row: int) -> npt.NDArray[np.uint8]:
        """(3, h, w) uint8, resized."""
        if self._pictures is not None:
            kept: npt.NDArray[np.uint8] = self._pictures[row]
            return kept
        return self._decode(self._paths[row])

    def _decode(self, path: Any) -> npt.NDArray[np.uint8]:
        samples = np.asarray(self.image_spec.fit(load_picture(path)), np.uint8)
        planes: npt.NDArray[np.uint8] = samples.transpose(2, 0, 1)
        return planes

    def _decode_all(self) -> npt.NDArray[np.uint8]:
        """(pictures, 3, h, w) in one array; one ImageError names every bad file."""
        kept = np.empty((len(self._paths), 3, self.image_spec.height, self.image_spec.width), np.uint8)
        rows: dict[Any, list[int]] = {}
        for row, path in enumerate(self._paths):
            rows.setdefault(path, []).append(row)

        def fill(path: Any) -> None:
            kept[rows[path]] = self._decode(path)

        map_images(fill, list(rows))
        return kept


def _flip_and_shift(
    picture: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8], rng: np.random.Generator
) -> None:
    """Flip by chance, pad with black on all sides and crop at random, into the zeroed (3, h, w) `out`."""
    if rng.random() < FLIP:
        picture = picture[:, :, ::-1]
    height, width = picture.shape[1:]
    pad = round(PAD * height)
    down, right = (int(shift) for shift in rng.integers(-pad, pad + 1, 2))
    (to_y, from_y), (to_x, from_x) = _overlap(down, height), _overlap(right, width)
    out[:, to_y, to_x] = picture[:, from_y, from_x]


def _overlap(shift: int, size: int) -> tuple[slice, slice]:
    """Where a line of `size` lands when moved by `shift`, and which part of it stays inside."""
    shift = max(-size, min(size, shift))
    return slice(max(shift, 0), size + min(shift, 0)), slice(max(-shift, 0), size - max(shift, 0))


def _hole(height: int, width: int, rng: np.random.Generator) -> tuple[slice, slice] | None:
    """The rows and columns to erase (random erasing, Zhong et al. 2020); None when no rectangle fits."""
    low, high = math.log(ERASE_RATIO[0]), math.log(ERASE_RATIO[1])
    for _ in range(ERASE_TRIES):
        area = height * width * rng.uniform(*ERASE_AREA)
        ratio = math.exp(rng.uniform(low, high))
        h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < h < height and 0 < w < width:
            y, x = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            return slice(y, y + h), slice(x, x + w)
    return None
