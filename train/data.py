"""Training data: (picture, caption) pairs of a Split with augmentation, and identity-balanced batches.

Evaluation never comes here: it goes through sdk.preprocess, whose decoding, resizing and normalisation
this file reuses, so that a picture without augmentation has the very pixels a search sees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sdk.decode import map_images
from sdk.errors import DatasetError, InputError
from sdk.preprocess import ImageSpec
from train.mended import load_picture
from train.split import Split

Batch: TypeAlias = tuple[Tensor, Tensor, Tensor]

# IRRA's augmentation (github.com/anosorae/IRRA, datasets/build.py; flip, then pad and crop, then erase)
FLIP = 0.5
PAD = 10 / 384  # of the height: 10 px at 384, on all four sides
ERASE = 0.5  # the chance of it
ERASE_AREA = (0.02, 0.4)  # of the picture
ERASE_RATIO = (0.3, 3.3)  # height / width, drawn log-uniformly
ERASE_TRIES = 10  # then the picture stays whole; a rectangle as high or wide as the picture is refused


class TrainSet(Dataset[tuple[Tensor, Tensor, int]]):
    """One item per (picture, caption) pair: pixels (3, h, w) float32, ids (t,) int64, label int.

    tokenizer: texts → (n, t) ids, as open_clip's. `labels` (items,) int64 numbers the people from 0 in
    order of their ids; `classes` is how many there are. erase: the chance of an erased rectangle.

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
        self._text = np.array([texts.setdefault(caption, len(texts)) for _, caption in pairs])
        self._ids = torch.from_numpy(np.ascontiguousarray(tokenizer(list(texts)), dtype=np.int64))
        self._table = image_spec.table()
        self._mean = np.array(image_spec.mean, np.float32)
        self._pictures = self._decode_all() if cache else None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        pixels, ids, labels = self.batch([range(len(self))[index]])
        return pixels[0], ids[0], int(labels[0])

    def set_epoch(self, epoch: int) -> None:
        """Choose the random numbers of the following items."""
        self._epoch.fill_(epoch)

    def batch(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Batch:
        """The items at once: pixels (b, 3, h, w), ids (b, t), labels (b,); about 0.1 ms an item at 128x64."""
        at = np.asarray(indices, np.int64)
        height, width = self.image_spec.height, self.image_spec.width
        samples = np.zeros((len(at), 3, height, width), np.uint8)
        holes: list[tuple[int, slice, slice]] = []
        epoch = int(self._epoch)
        for place, index in enumerate(at):
            picture = self._picture(int(self._rows[index]))
            if not self.augment:
                samples[place] = picture
                continue
            rng = np.random.default_rng([self.seed, epoch, int(index)])
            _flip_and_shift(picture, samples[place], rng)
            if rng.random() < self.erase and (hole := _hole(height, width, rng)):
                holes.append((place, *hole))
        pixels = np.empty(samples.shape, np.float32)
        for channel in range(3):
            pixels[:, channel] = self._table[channel][samples[:, channel]]
        for place, rows, columns in holes:
            # IRRA erases after normalising, with the mean triple as it stands
            pixels[place, :, rows, columns] = self._mean[:, None, None]
        return torch.from_numpy(pixels), self._ids[self._text[at]], torch.from_numpy(self.labels[at])

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


class IdentitySampler:
    """Batches of `batch // instances` different people with `instances` items each, for one of `world` ranks.

    labels: (items,) any integers. batch: items in the global batch; a rank gets its `batch // world` of
    every one. An epoch shuffles each person's items, cuts them into groups (a remainder waits for another
    epoch; someone with too few items fills one group by drawing again) and lays the groups out so that no
    batch has a person twice, in as many full batches as that allows. What doesn't fit is dropped from those
    with the most groups, so a person is left out only where the epoch has more people than places.

    Iterating yields lists of indices, for DataLoader(batch_sampler=…); `batches` gives an epoch whole.
    The same (seed, epoch) gives the same batches everywhere. Raises InputError for impossible sizes.
    """

    def __init__(
        self,
        labels: Sequence[int] | npt.NDArray[np.int64],
        batch: int,
        instances: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        for name, value in (("batch", batch), ("instances", instances), ("world", world)):
            if value < 1:
                raise InputError(f"sampler: {name}={value}; it must be at least 1")
        if batch % instances or batch % world:
            raise InputError(
                f"sampler: batch={batch} must be a multiple of instances={instances} and of the "
                f"{world} process(es) that share it"
            )
        if not 0 <= rank < world:
            raise InputError(f"sampler: rank={rank}; with {world} processes it is 0 to {world - 1}")
        self.instances, self.people = instances, batch // instances
        self.seed, self.epoch = seed, 0
        self._share = slice(rank * (batch // world), (rank + 1) * (batch // world))
        order = np.argsort(labels, kind="stable")
        cuts = np.flatnonzero(np.diff(np.asarray(labels)[order])) + 1
        self._items = np.split(order, cuts)
        if len(self._items) < self.people:
            raise InputError(
                f"sampler: a batch of {batch} with {instances} instances each needs {self.people} people; "
                f"the data has {len(self._items)}: lower the batch or raise the instances"
            )
        counts = np.array([max(1, len(items) // instances) for items in self._items])
        self._count = _most_batches(counts, self.people)
        self._groups = np.minimum(counts, self._count)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self._count

    def __iter__(self) -> Iterator[list[int]]:
        return (row.tolist() for row in self.batches(self.epoch))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that iterating gives."""
        self.epoch = epoch

    def batches(self, epoch: int) -> npt.NDArray[np.int64]:
        """(batches, batch // world) indices: this rank's share of the epoch."""
        rng = np.random.default_rng([self.seed, epoch])
        groups = self._groups.copy()
        for _ in range(int(groups.sum()) - self._count * self.people):
            most = np.flatnonzero(groups == groups.max())
            groups[rng.choice(most)] -= 1
        drawn = []
        for person in rng.permutation(len(groups)):
            if groups[person]:
                items = rng.permutation(self._items[person])[: groups[person] * self.instances]
                if len(items) < self.instances:
                    items = np.concatenate([items, rng.choice(items, self.instances - len(items))])
                drawn.append(items.reshape(-1, self.instances))
        # Group j goes to batch j mod count: a person's groups are neighbours and at most `count`, so
        # they land in different batches (McNaughton's wrap-around rule).
        laid = np.concatenate(drawn).reshape(self.people, self._count, self.instances).swapaxes(0, 1)
        laid = laid[rng.permutation(self._count)]
        for batch in laid:
            rng.shuffle(batch)  # so that every rank gets people of all kinds
        mine: npt.NDArray[np.int64] = laid.reshape(self._count, -1)[:, self._share]
        return mine


def _most_batches(groups: npt.NDArray[np.int64], people: int) -> int:
    """The largest b for which b batches of `people` different people exist: Σ min(groups, b) ≥ people · b."""
    low, high = 1, int(groups.sum()) // people
    while low < high:  # the surplus is concave in b and 0 at b = 0, so the feasible b are 1 … largest
        middle = (low + high + 1) // 2
        if np.minimum(groups, middle).sum() >= people * middle:
            low = middle
        else:
            high = middle - 1
    return low
