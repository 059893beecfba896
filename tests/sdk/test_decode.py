"""load_image: the same upright RGB picture from every source, and a clear error for what is none."""

import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sdk.decode import MAX_PIXELS, load_image, load_images
from sdk.errors import ImageError, InputError

PHOTO = np.random.default_rng(0).integers(0, 256, (5, 8, 3)).astype(np.uint8)  # (h, w, 3), no symmetry

# What a camera stores so that a viewer that obeys the orientation shows PHOTO (EXIF 2.3, tag 0x0112).
STORED = {
    1: PHOTO,
    2: PHOTO[:, ::-1],
    3: PHOTO[::-1, ::-1],
    4: PHOTO[::-1],
    5: PHOTO.swapaxes(0, 1),
    6: np.rot90(PHOTO, 1),
    7: PHOTO[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90(PHOTO, -1),
}


def encoded(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def same(source: Any, expected: np.ndarray) -> None:
    image = load_image(source)
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "options", [{"format": "PNG"}, {"format": "WEBP", "lossless": True}, {"format": "TIFF"}]
)
def test_every_exif_orientation_comes_out_upright(orientation: int, options: dict[str, Any]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(STORED[orientation])), exif=exif, **options)
    same(data, PHOTO)
    same(load_image(data), PHOTO)  # and isn't turned twice
    load_image(image := Image.fromarray(PHOTO)).putpixel((0, 0), (1, 2, 3))
    same(image, PHOTO)  # the result shares nothing with the source
    with Image.open(io.BytesIO(data)) as opened:
        same(opened, PHOTO)


def test_a_jpeg_with_orientation_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(np.ascontiguousarray(STORED[6]))
    plain = encoded(stored, format="JPEG", quality=95)
    turned = encoded(stored, format="JPEG", quality=95, exif=exif)
    same(turned, np.rot90(np.asarray(load_image(plain)), -1))


def test_a_broken_exif_block_leaves_the_picture_as_stored() -> None:
    same(
        encoded(Image.fromarray(PHOTO), format="PNG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff junk"), PHOTO
    )


def test_path_bytes_pil_and_array_are_the_same_picture(tmp_path: Path) -> None:
    image = Image.fromarray(PHOTO)
    image.save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    for source in (
        str(tmp_path / "a.png"),
        tmp_path / "a.png",
        data,
        bytearray(data),
        memoryview(data),
        image,
        PHOTO,
    ):
        same(source, PHOTO)


GREY = PHOTO[:, :, 0]
THREE = np.repeat(GREY[:, :, None], 3, axis=2)


def test_grey_and_one_bit_arrays_and_pictures() -> None:
    for grey in (GREY, GREY[:, :, None], Image.fromarray(GREY)):
        same(grey, THREE)
    bits = Image.fromarray(((GREY > 127) * 255).astype(np.uint8)).convert("1")
    same(encoded(bits, format="PNG"), np.where(THREE > 127, 255, 0).astype(np.uint8))


def test_sixteen_bit_grey_keeps_its_high_byte() -> None:
    deep = np.array([[0, 255, 256], [0x7FFF, 0x8000, 0xFFFF]], np.uint16)
    expected = np.repeat(np.array([[0, 0, 1], [0x7F, 0x80, 0xFF]], np.uint8)[:, :, None], 3, axis=2)
    for format in ("PNG", "TIFF"):
        same(encoded(Image.fromarray(deep), format=format), expected)
    same(Image.fromarray(deep.astype(np.int32)), expected)


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG written by hand, after the PNG specification: Pillow writes no 16-bit RGB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_sixteen_bit_rgb_png_keeps_its_high_byte() -> None:
    deep = np.arange(2 * 2 * 3, dtype=np.uint16).reshape(2, 2, 3) * 5000 + 77
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in deep)
    same(png(2, 2, 16, 2, rows), (deep >> 8).astype(np.uint8))


def test_cmyk() -> None:
    ink = np.zeros((2, 2, 4), np.uint8)
    ink[0, 0] = (0, 255, 255, 0)  # magenta and yellow make red
    ink[0, 1] = (255, 0, 255, 0)
    ink[1, 0] = (0, 0, 0, 255)
    expected = np.array([[(255, 0, 0), (0, 255, 0)], [(0, 0, 0), (255, 255, 255)]], np.uint8)
    cmyk = Image.fromarray(ink, "CMYK")
    same(cmyk, expected)
    same(encoded(cmyk, format="TIFF"), expected)
    jpeg = np.asarray(load_image(encoded(cmyk.resize((32, 32), Image.Resampling.NEAREST), format="JPEG")))
    assert np.abs(jpeg[4, 4].astype(int) - expected[0, 0]).max() < 12


def test_transparency_is_laid_on_white() -> None:
    rgba = np.dstack([PHOTO, np.full(GREY.shape, 255, np.uint8)])
    rgba[0] = (10, 20, 30, 0)
    rgba[1] = (0, 0, 0, 51)  # a fifth of black on white: 255 * 0.8
    expected = PHOTO.copy()
    expected[0], expected[1] = 255, 204
    same(rgba, expected)
    same(encoded(Image.fromarray(rgba), format="PNG"), expected)
    grey = Image.fromarray(np.dstack([GREY, rgba[:, :, 3]]), "LA")
    shown = THREE.copy()
    shown[0], shown[1] = 255, np.rint(255 * 0.8 + GREY[1] * 0.2).astype(np.uint8)[:, None]
    difference = np.abs(np.asarray(load_image(encoded(grey, format="PNG"))).astype(int) - shown)
    assert difference[[0, 2, 3, 4]].max() == 0
    assert difference[1].max() <= 1


def test_palette_with_transparency() -> None:
    image = Image.new("P", (3, 2), 1)
    image.putpalette([9, 9, 9, 200, 0, 0])
    image.putpixel((0, 0), 0)
    expected = np.full((2, 3, 3), (200, 0, 0), np.uint8)
    expected[0, 0] = 255
    for options in ({"format": "PNG", "transparency": 0}, {"format": "GIF", "transparency": 0},
                    {"format": "PNG", "transparency": bytes([0, 255])}):  # fmt: skip
        same(encoded(image, **options), expected)


@pytest.mark.parametrize(
    "options", [{"format": "GIF"}, {"format": "WEBP", "lossless": True}, {"format": "PNG"}]
)
def test_an_animation_gives_its_first_frame(options: dict[str, Any]) -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], save_all=True, append_images=frames[1:], duration=100, **options)
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.n_frames == 3
    same(data, np.full((4, 6, 3), (255, 0, 0), np.uint8))


def test_a_truncated_file() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    for options in ({"format": "PNG"}, {"format": "JPEG"}, {"format": "WEBP"}, {"format": "TIFF"}):
        data = encoded(Image.fromarray(noise), **options)
        with pytest.raises(ImageError, match=r"truncated or damaged|is not a picture"):
            load_image(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"%PDF-1.7 not a picture", "is not a picture"),
        (b"\xff\xd8\xff\xe0", "damaged|is not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture"),  # would start Ghostscript
    ],
)
def test_bytes_that_are_no_picture(data: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(data)
    with pytest.raises(ImageError, match=says):
        load_image(data)
    with pytest.raises(ImageError, match=r"x\.jpg.*" + says):
        load_image(tmp_path / "x.jpg")


def test_paths_that_are_no_picture(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nope\.jpg.*No such file"):
        load_image(tmp_path / "nope.jpg")
    with pytest.raises(ImageError, match="is a folder"):
        load_image(tmp_path)
    with pytest.raises(ImageError, match=r"int.*is no picture"):
        load_image(7)  # type: ignore[arg-type]


def test_a_pixel_is_no_picture() -> None:
    for side in ((1, 1), (1, 9), (9, 1)):
        with pytest.raises(ImageError, match="at least 2 pixels"):
            load_image(encoded(Image.new("RGB", side), format="PNG"))
        with pytest.raises(ImageError, match="at least 2 pixels"):
            load_image(np.zeros((*side, 3), np.uint8))
    with pytest.raises(ImageError, match="at least 2 pixels"):
        load_image(np.zeros((0, 5, 3), np.uint8))


@pytest.mark.parametrize("side", [9460, 14143, 60000])  # just above; 200 megapixels; 3.6 gigapixels
def test_a_huge_picture_is_refused_by_its_header(side: int) -> None:
    assert side * side > MAX_PIXELS
    for filter in ("error", "ignore"):  # Pillow warns, raises or is silenced: the answer is the same
        with warnings.catch_warnings():
            warnings.simplefilter(filter)  # type: ignore[arg-type]
            with pytest.raises(ImageError, match=r"at most 89\.5 megapixels"):
                load_image(png(side, side, 8, 2, b""))


@pytest.mark.parametrize(
    ("array", "advice"),
    [
        (np.zeros((4, 4, 3)), r"\(array \* 255\)\.round\(\)"),
        (np.zeros((4, 4), np.uint16), r"array >> 8"),
        (np.zeros((3, 5, 7), np.uint8), r"transpose\(1, 2, 0\)"),
        (np.zeros((4, 4, 2), np.uint8), r"uint8 arrays \(h,w\)"),
        (np.zeros(4, np.uint8), r"uint8 arrays \(h,w\)"),
        (np.zeros((4, 4), bool), r"uint8 arrays \(h,w\)"),
    ],
)
def test_arrays_of_another_kind_are_refused_with_advice(array: np.ndarray, advice: str) -> None:
    with pytest.raises(ImageError, match=advice):
        load_image(array)


def test_float_pictures_have_no_fixed_range() -> None:
    for image in (Image.new("F", (4, 4), 0.5), Image.new("I", (4, 4), 70000)):
        with pytest.raises(ImageError, match="no fixed range"):
            load_image(image)


def test_a_batch_names_every_bad_picture_and_keeps_the_errors() -> None:
    good = encoded(Image.fromarray(PHOTO), format="PNG")
    with pytest.raises(ImageError, match=r"2 of 4 can't be used") as caught:
        load_images([good, b"", good, b"junk"])
    assert list(caught.value.failures) == [1, 3]
    assert "images[1]" in str(caught.value)
    assert "empty" in str(caught.value.failures[1])
    assert isinstance(caught.value, (InputError, ValueError))
    assert load_images([]) == []


def test_a_file_is_closed_after_reading(tmp_path: Path) -> None:
    Image.fromarray(PHOTO).save(tmp_path / "a.png")

    def open_files() -> int:
        return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    before = open_files()
    images = [load_image(tmp_path / "a.png") for _ in range(20)]
    assert len(images) == 20
    assert open_files() - before < 10


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 2**31))
def test_lossless_files_give_back_what_was_saved(height: int, width: int, seed: int) -> None:
    array = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    for options in ({"format": "PNG"}, {"format": "BMP"}, {"format": "TIFF"}, {"format": "PPM"}):
        same(encoded(Image.fromarray(array), **options), array)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP"]), st.integers(0, 300))
def test_damage_gives_an_image_error_and_nothing_else(junk: bytes, format: str, at: int) -> None:
    data = encoded(Image.fromarray(np.tile(PHOTO, (4, 4, 1))), format=format)
    broken = data[:at] + junk + data[at + len(junk) :]
    try:
        assert load_image(broken).mode == "RGB"
    except ImageError:
        pass
