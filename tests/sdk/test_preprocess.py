"""Pictures to pixels and texts to ids, against values computed another way."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sdk.errors import BundleFormatError, ImageError, InputError, TextError
from sdk.preprocess import ImageSpec, TextPreprocess, TextSpec, check_texts, preprocess_images

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def spec(height: int = 4, width: int = 2, **options: Any) -> ImageSpec:
    return ImageSpec(height, width, MEAN, STD, **options)


def by_hand(samples: np.ndarray) -> np.ndarray:
    """(n, h, w, 3) uint8 → (n, 3, h, w), in the order of operations that CLIP's own transform has."""
    x = samples.astype(np.float32).transpose(0, 3, 1, 2) / np.float32(255)
    mean, std = (np.array(v, np.float32).reshape(3, 1, 1) for v in (MEAN, STD))
    return (x - mean) / std


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(0, 2**31))
def test_normalisation_is_equal_to_the_bit(n: int, seed: int) -> None:
    samples = np.random.default_rng(seed).integers(0, 256, (n, 4, 2, 3)).astype(np.uint8)
    pixels = preprocess_images(list(samples), spec())
    assert pixels.dtype == np.float32
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels.view(np.uint32), by_hand(samples).view(np.uint32))


def test_every_sample_value_is_equal_to_the_bit() -> None:
    samples = np.repeat(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), 3, axis=3)
    np.testing.assert_array_equal(preprocess_images(list(samples), spec(16, 16)), by_hand(samples))


def test_bilinear_squash_by_hand() -> None:
    # Twice as wide: centres fall at -1/4, 1/4, 3/4, 5/4 of the two samples, so 0, 255/4, 3*255/4, 255.
    row = np.zeros((2, 2, 3), np.uint8)
    row[:, 1] = 255
    widened = np.asarray(spec(2, 4).fit(Image.fromarray(row)))
    assert widened[:, :, 0].tolist() == [[0, 64, 191, 255]] * 2


def test_shrinking_averages_so_that_detail_is_not_skipped() -> None:
    # Pillow widens the triangle when shrinking: every sample counts. A checkerboard becomes grey.
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    image = Image.fromarray(np.repeat(board.astype(np.uint8)[:, :, None], 3, axis=2))
    small = np.asarray(spec(8, 8).fit(image)).astype(int)
    assert small.min() >= 120
    assert small.max() <= 136


def test_bicubic_differs_from_bilinear_and_overshoots() -> None:
    edge = np.zeros((8, 8, 3), np.uint8)
    edge[:, 4:] = 200
    cubic = np.asarray(spec(8, 32, interpolation="bicubic").fit(Image.fromarray(edge)))
    linear = np.asarray(spec(8, 32, interpolation="bilinear").fit(Image.fromarray(edge)))
    assert cubic.max() > 200 == linear.max()


@pytest.mark.parametrize(
    ("size", "target", "kept"),  # (w, h) of the source, (h, w) of the spec, source columns and rows kept
    [
        ((40, 20), (10, 10), (slice(10, 30), slice(0, 20))),
        ((20, 40), (10, 10), (slice(0, 20), slice(10, 30))),
        ((40, 20), (20, 10), (slice(15, 25), slice(0, 20))),
        ((16, 32), (20, 10), (slice(0, 16), slice(0, 32))),
    ],
)
def test_crop_keeps_the_centre(size: tuple[int, int], target: tuple[int, int], kept: Any) -> None:
    outside, inside = (255, 0, 0), (0, 0, 255)
    array = np.full((size[1], size[0], 3), outside, np.uint8)
    array[kept[1], kept[0]] = inside
    fitted = np.asarray(spec(*target, resize="crop").fit(Image.fromarray(array)))
    assert fitted.shape == (*target, 3)
    assert (fitted[1:-1, 1:-1] == inside).all()  # the edge itself is blended


@pytest.mark.parametrize("mode", ["squash", "crop"])
@pytest.mark.parametrize("how", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(37, 91), (91, 37), (224, 224), (63, 640)])
def test_equal_to_the_bit_with_open_clips_own_transform(mode: Any, how: Any, size: tuple[int, int]) -> None:
    open_clip = pytest.importorskip("open_clip")
    transform = open_clip.image_transform(
        (64, 64), is_train=False, mean=MEAN, std=STD,
        resize_mode={"squash": "squash", "crop": "shortest"}[mode], interpolation=how,
    )  # fmt: skip
    array = np.random.default_rng(size[0]).integers(0, 256, (*size, 3)).astype(np.uint8)
    theirs = transform(Image.fromarray(array)).numpy()
    ours = preprocess_images([array], spec(64, 64, resize=mode, interpolation=how))[0]
    np.testing.assert_array_equal(ours.view(np.uint32), theirs.view(np.uint32))


def test_workers_and_batches_change_nothing() -> None:
    rng = np.random.default_rng(3)
    arrays = [rng.integers(0, 256, (h, w, 3)).astype(np.uint8) for h, w in rng.integers(2, 90, (17, 2))]
    one = preprocess_images(arrays, spec(), workers=1)
    np.testing.assert_array_equal(one, preprocess_images(arrays, spec(), workers=5))
    np.testing.assert_array_equal(one, np.concatenate([preprocess_images([a], spec()) for a in arrays]))
    assert preprocess_images([], spec()).shape == (0, 3, 4, 2)


def test_swapped_colours_are_another_tensor() -> None:
    array = np.random.default_rng(4).integers(0, 256, (4, 2, 3)).astype(np.uint8)
    assert not np.array_equal(
        preprocess_images([array], spec()), preprocess_images([array[:, :, ::-1]], spec())
    )


def test_bad_pictures_of_a_batch_are_all_named() -> None:
    with pytest.raises(ImageError, match=r"2 of 3.*\n.*images\[0\].*\n.*images\[2\]"):
        preprocess_images([b"", np.zeros((4, 4), np.uint8), b"junk"], spec())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"height": 0}, "height=0"),
        ({"width": 2.5}, "width=2.5"),
        ({"height": True}, "height=True"),
        ({"mean": (0.5, 0.5)}, "mean"),
        ({"mean": (0.5, 0.5, float("nan"))}, "finite"),
        ({"std": (0.5, 0.0, 0.5)}, "above 0"),
        ({"resize": "pad"}, "'squash', 'crop'"),
        ({"interpolation": "nearest"}, "'bilinear', 'bicubic'"),
        ({"gamma": 2}, "unknown field 'gamma'"),
    ],
)
def test_an_image_spec_outside_its_range(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        ImageSpec.from_json({**spec().to_json(), **change})


def test_specs_survive_json() -> None:
    one = spec(resize="crop", interpolation="bicubic")
    assert ImageSpec.from_json(one.to_json()) == one
    two = TextSpec(77, 0, ("ftfy", "html", "whitespace", "lower"), mask=True)
    assert TextSpec.from_json({**two.to_json(), "tokenizer": "tokenizer.json"}) == two
    with pytest.raises(InputError, match="field 'height' is missing"):
        ImageSpec.from_json({k: v for k, v in one.to_json().items() if k != "height"})
    with pytest.raises(InputError, match="got list"):
        ImageSpec.from_json([])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [{"length": 2}, {"length": "77"}, {"pad_id": -1}, {"clean": ["upper"]}, {"clean": "lower"}, {"mask": 1}],
)
def test_a_text_spec_outside_its_range(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        TextSpec.from_json({"length": 77, "pad_id": 0, "clean": [], **change})


@pytest.fixture
def text(tiny_bundle: Any, tiny: SimpleNamespace) -> TextPreprocess:
    return TextPreprocess(tiny.text, tiny_bundle / "tokenizer.json")


def test_ids_by_hand(text: TextPreprocess, tiny: SimpleNamespace) -> None:
    ids = text(["A  man in\tRED", "", "zebra"])
    assert ids.shape == (3, 12)
    assert ids.dtype == np.int64
    said = [[tiny.words[i] for i in row] for row in ids]
    assert said[0] == ["[START]", "a", "man", "in", "red", "[END]"] + ["[PAD]"] * 6
    assert said[1] == ["[START]", "[END]"] + ["[PAD]"] * 10
    assert said[2] == ["[START]", "[UNK]", "[END]"] + ["[PAD]"] * 9
    assert text([]).shape == (0, 12)


def test_a_long_text_keeps_its_beginning_and_its_end_token(
    text: TextPreprocess, tiny: SimpleNamespace
) -> None:
    said = [tiny.words[i] for i in text(["red " * 5 + "blue " * 50])[0]]
    assert said == ["[START]"] + ["red"] * 5 + ["blue"] * 5 + ["[END]"]


def test_the_mask_covers_what_is_not_padding(tiny_bundle: Any, tiny: SimpleNamespace) -> None:
    # id 6 is "blue", and here also the padding: a mask of `ids != pad` would lose the word.
    text = TextPreprocess(TextSpec(8, tiny.words.index("blue"), mask=True), tiny_bundle / "tokenizer.json")
    ids = text(["a blue coat", "", "blue blue"])
    assert text.mask(ids).tolist() == [[1] * 5 + [0] * 3, [1] * 2 + [0] * 6, [1] * 4 + [0] * 4]


def test_cleaning_steps_run_in_the_order_given(tiny_bundle: Any) -> None:
    def clean(text: str, *steps: str) -> str:
        return TextPreprocess(TextSpec(12, 0, steps), tiny_bundle / "tokenizer.json").clean(text)

    assert clean("a\u00a0 b\n", "whitespace") == "a b"
    assert clean("&amp;lt;", "html") == "<"  # unescaped twice
    assert clean("cafÃ©", "ftfy") == "café"
    assert clean("&EACUTE;", "html", "lower") == "&eacute;"
    assert clean("&EACUTE;", "lower", "html") == "é"
    assert clean("As Is ") == "As Is "


def test_a_tokenizer_that_is_none(tmp_path: Any) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BundleFormatError, match=r"tokenizer\.json"):
        TextPreprocess(TextSpec(12, 0), tmp_path / "tokenizer.json")


def test_texts_that_are_no_query() -> None:
    check_texts(["a man", "x" * 9_999])
    for bad, says in (("", "empty"), (" \n\t", "empty"), ("x" * 10_000, "10,000 characters"), (7, "got int")):
        with pytest.raises(TextError, match=says):
            check_texts([bad])  # type: ignore[list-item]
    with pytest.raises(TextError, match=r"text\[1\]"):
        check_texts(["fine", ""])
