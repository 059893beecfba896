"""The training set: the same pixels as evaluation, repeatable chance."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from sdk.errors import DatasetError, ImageError
from sdk.preprocess import ImageSpec, preprocess_images
from train import data
from train.data import TrainSet
from train.split import Sample, Split

MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
SPEC = ImageSpec(96, 48, MEAN, STD)
PEOPLE = (7, 7, 3, 12, 3)


def tokenizer(texts: list[str]) -> torch.Tensor:
    """Characters as ids: enough to see which caption an item carries."""
    return torch.tensor([[ord(c) for c in text.ljust(12)[:12]] for text in texts])


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    samples = []
    for i, person in enumerate(PEOPLE):
        path = folder / f"{i}.png"
        # light pixels only, so that black can only come from the padding
        Image.fromarray(rng.integers(60, 256, (70 + 9 * i, 40 + i, 3), np.uint8)).save(path)
        captions = (f"red {i}", f"blue {i}") if i % 2 else (f"red {i}",)
        samples.append(Sample(f"{i}", path, person, captions))
    return Split("five", tuple(samples))


def test_one_item_per_caption_with_contiguous_labels(split: Split) -> None:
    made = TrainSet(split, SPEC, tokenizer)
    assert len(made) == 7
    assert made.labels.tolist() == [1, 1, 1, 0, 2, 2, 0]  # people 3, 7, 12 → 0, 1, 2
    assert made.classes == 3
    pixels, ids, label = made[2]
    assert (pixels.shape, pixels.dtype) == ((3, 96, 48), torch.float32)
    assert (ids.dtype, bytes(ids.tolist()).decode().strip(), label) == (torch.int64, "blue 1", 1)


def test_without_augmentation_the_pixels_are_those_of_a_search(split: Split) -> None:
    for cache in (True, False):
        made = TrainSet(split, SPEC, tokenizer, augment=False, cache=cache)
        pixels, _, _ = made.batch([0, 1, 3])
        expected = preprocess_images([split.samples[i].image for i in (0, 1, 2)], SPEC)
        assert pixels.numpy().tobytes() == expected.tobytes()


def test_chance_depends_on_seed_epoch_and_index_only(split: Split) -> None:
    made, again = (TrainSet(split, SPEC, tokenizer, seed=5) for _ in range(2))
    whole = made.batch(range(7))[0]
    again.batch([6, 2])  # other things asked before
    assert torch.equal(again.batch([6, 0])[0], whole[[6, 0]])
    assert torch.equal(again[4][0], whole[4])
    uncached = TrainSet(split, SPEC, tokenizer, seed=5, cache=False)
    assert torch.equal(uncached.batch(range(7))[0], whole)
    made.set_epoch(1)
    later = made.batch(range(7))[0]
    assert not any(torch.equal(a, b) for a, b in zip(later, whole, strict=True))
    made.set_epoch(0)
    assert torch.equal(made.batch(range(7))[0], whole)
    other = TrainSet(split, SPEC, tokenizer, seed=6).batch(range(7))[0]
    assert not any(torch.equal(a, b) for a, b in zip(other, whole, strict=True))


def test_workers_draw_the_same_and_follow_the_epoch(split: Split) -> None:
    made = TrainSet(split, SPEC, tokenizer, seed=5)
    loader = DataLoader(made, batch_size=7, num_workers=1, persistent_workers=True)
    for epoch in (0, 1):
        made.set_epoch(epoch)
        (pixels, ids, labels) = next(iter(loader))
        expected = made.batch(range(7))
        assert all(torch.equal(a, b) for a, b in zip((pixels, ids, labels), expected, strict=True))


def test_negative_and_outside_indices(split: Split) -> None:
    made = TrainSet(split, SPEC, tokenizer)
    assert torch.equal(made[-1][0], made[6][0])
    with pytest.raises(IndexError):
        made[7]


def one(split: Split, monkeypatch: pytest.MonkeyPatch, flip: float, erase: float) -> TrainSet:
    monkeypatch.setattr(data, "FLIP", flip)
    return TrainSet(split, SPEC, tokenizer, erase=erase)


def test_the_shift_moves_the_picture_and_pads_with_black(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = one(split, monkeypatch, flip=0, erase=0)
    plain = TrainSet(split, SPEC, tokenizer, augment=False)[0][0].numpy()
    black = SPEC.table()[:, 0]
    pad = round(10 * 96 / 384)
    seen = set()
    for epoch in range(60):
        made.set_epoch(epoch)
        got = made[0][0].numpy()
        framed = np.empty((3, 96 + 2 * pad, 48 + 2 * pad), np.float32)
        framed[:] = black[:, None, None]
        framed[:, pad:-pad, pad:-pad] = plain
        windows = np.lib.stride_tricks.sliding_window_view(framed, (96, 48), (1, 2))
        where = [
            (y, x) for y in range(2 * pad + 1) for x in range(2 * pad + 1) if (windows[:, y, x] == got).all()
        ]
        assert len(where) == 1
        seen.add(where[0])
    assert {0, 2 * pad} <= {y for y, _ in seen}
    assert {0, 2 * pad} <= {x for _, x in seen}


def test_the_flip_happens_half_of_the_time(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "PAD", 0)
    made = one(split, monkeypatch, flip=0.5, erase=0)
    plain = TrainSet(split, SPEC, tokenizer, augment=False)[0][0]
    flipped = 0
    for epoch in range(200):
        made.set_epoch(epoch)
        got = made[0][0]
        assert torch.equal(got, plain) or torch.equal(got, plain.flip(2))
        flipped += int(torch.equal(got, plain.flip(2)))
    assert 70 < flipped < 130  # 4 standard deviations around 100


def test_erasing_cuts_one_rectangle_of_the_mean_triple(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "PAD", 0)
    made = one(split, monkeypatch, flip=0, erase=0.5)
    plain = TrainSet(split, SPEC, tokenizer, augment=False)[0][0].numpy()
    areas, ratios = [], []
    for epoch in range(300):
        made.set_epoch(epoch)
        got = made[0][0].numpy()
        changed = (got != plain).any(0)
        if not changed.any():
            continue
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        box = np.s_[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert (got[box] == np.array(MEAN, np.float32)[:, None, None]).all()
        areas.append(len(rows) * len(columns) / (96 * 48))
        ratios.append(len(rows) / len(columns))
        got[box] = plain[box]
        assert (got == plain).all()
    assert 110 < len(areas) < 190
    assert 0.015 < min(areas) < 0.06
    assert 0.3 < max(areas) < 0.43
    assert 0.25 < min(ratios) < 0.5
    assert 2.2 < max(ratios) < 3.8


def test_pictures_of_any_tiny_size_survive_augmentation(split: Split) -> None:
    spec = ImageSpec(2, 2, MEAN, STD)
    made = TrainSet(split, spec, tokenizer)
    for epoch in range(20):
        made.set_epoch(epoch)
        assert torch.isfinite(made.batch(range(7))[0]).all()


def test_a_bad_picture_is_named_before_training_starts_and_a_truncated_jpeg_is_used(tmp_path: Path) -> None:
    good, bad, empty = (tmp_path / f"{name}.jpg" for name in ("good", "bad", "empty"))
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 40, 3), np.uint8)).save(good)
    bad.write_bytes(good.read_bytes()[:-600])
    empty.write_bytes(b"")
    samples = tuple(Sample(p.name, p, i, ("a man",)) for i, p in enumerate((good, bad, empty)))
    truncated = pytest.warns(UserWarning, match=r"bad\.jpg is truncated: it is read as far as it goes")
    with truncated, pytest.raises(ImageError) as caught:
        TrainSet(Split("three", samples), SPEC, tokenizer)
    assert "empty.jpg" in str(caught.value)
    assert "good.jpg" not in str(caught.value)
    assert "bad.jpg" not in str(caught.value)
    with truncated:
        made = TrainSet(Split("two", samples[:2]), SPEC, tokenizer, augment=False)
    whole, part, _ = (*made.batch([0, 1])[0], None)
    assert torch.equal(whole[:, 0], part[:, 0])  # the upper rows are there
    assert not torch.equal(whole, part)


def test_refuses_a_split_without_samples_or_captions(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no sample"):
        TrainSet(Split("none", ()), SPEC, tokenizer)
    with pytest.raises(DatasetError, match=r"x\.jpg has no caption"):
        TrainSet(Split("mute", (Sample("x", tmp_path / "x.jpg", 1),)), SPEC, tokenizer)
