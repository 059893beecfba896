"""Any picture source → one upright RGB picture, the same pixels on every machine.

Colour order is RGB. Transparency is laid on white. Of an animation the first frame counts. The EXIF
orientation is applied. 16-bit samples keep their high byte. Colour profiles are not applied: what
training saw is what a search sees.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import ImageError

Encoded: TypeAlias = "bytes | bytearray | memoryview"
ImageSource: TypeAlias = "str | os.PathLike[str] | Encoded | Image.Image | npt.NDArray[Any]"
S = TypeVar("S")
T = TypeVar("T")

# Camera and web formats with a signature. Left out on purpose: EPS, which starts Ghostscript, and TGA,
# which any bytes may pass for.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
MIN_SIDE = 2  # px
# Pillow's own line between a picture and a decompression bomb: 1 GiB of RGBA would be 4x this.
MAX_PIXELS = 89_478_485


def load_image(source: ImageSource) -> Image.Image:
    """Decode one picture to an upright RGB ``PIL.Image`` that shares nothing with the source.

    ``source``: a path, the bytes of a file, a PIL image (its EXIF orientation is applied too), or a
    uint8 array (h,w), (h,w,1), (h,w,3) RGB or (h,w,4) RGBA.
    Raises ImageError for a file that is missing, empty, truncated, not a picture, smaller than 2 px on
    a side or above 89 megapixels (decided from the header, before memory is taken).
    """
    name = describe(source)
    try:
        if isinstance(source, np.ndarray):
            return _from_array(source, name)
        if isinstance(source, Image.Image):
            _check_size(source, name)
            return _to_rgb(_upright(source), name)
        opened = _open(source, name)
        with opened:
            _check_size(opened, name)
            opened.load()
            return _to_rgb(_upright(opened), name)
    except (ImageError, MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # decoders raise anything on damaged input: struct.error, SyntaxError, …
        raise ImageError(
            f"image {name}: can't be decoded, it is truncated or damaged ({type(error).__name__}: {error})"
        ) from error


def load_images(sources: Sequence[ImageSource], workers: int = 0) -> list[Image.Image]:
    """Decode many pictures in threads (0: one per core, at most 8), in the order given.

    Raises one ImageError that names every bad picture; its ``failures`` maps index → error.
    """
    return map_images(load_image, sources, workers)


def map_images(function: Callable[[S], T], sources: Sequence[S], workers: int = 0) -> list[T]:
    """``function`` of every source in threads, in order; collects the ImageErrors as load_images does."""
    failures: dict[int, ImageError] = {}

    def guarded(numbered: tuple[int, S]) -> T | None:
        try:
            return function(numbered[1])
        except ImageError as error:
            failures[numbered[0]] = error
            return None

    workers = min(workers or min(os.cpu_count() or 1, 8), len(sources))
    if workers <= 1:
        results = [guarded(pair) for pair in enumerate(sources)]
    else:
        with ThreadPoolExecutor(workers, thread_name_prefix="labrador-decode") as pool:
            results = list(pool.map(guarded, enumerate(sources)))
    if failures:
        raise bad_images(failures, len(sources))
    return results  # type: ignore[return-value]  # no None is left without a failure


def bad_images(failures: dict[int, ImageError], count: int) -> ImageError:
    """One error for a batch of ``count`` pictures: names every bad one, and keeps ``failures``."""
    failures = dict(sorted(failures.items()))
    if count == 1:
        return ImageError(str(failures[0]), failures)
    lines = "\n".join(f"  images[{i}]: {error}" for i, error in failures.items())
    return ImageError(f"images: {len(failures)} of {count} can't be used\n{lines}", failures)


def describe(source: object) -> str:
    """How a source is called in messages: its path, or what kind of object it is."""
    if isinstance(source, (str, os.PathLike)):
        return repr(os.fspath(source))
    if isinstance(source, np.ndarray):
        return f"<array {source.shape} {source.dtype}>"
    if isinstance(source, Image.Image):
        return f"<PIL image {source.width}x{source.height} {source.mode}>"
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"<{len(source)} bytes>"
    return f"<{type(source).__name__}>"


def _open(source: Any, name: str) -> Image.Image:
    if isinstance(source, (bytes, bytearray, memoryview)):
        size = len(source)
        file: Any = io.BytesIO(source)
    elif isinstance(source, (str, os.PathLike)):
        file = Path(os.fspath(source))
        try:
            if file.is_dir():
                raise ImageError(f"image {name}: is a folder; give a picture file")
            size = file.stat().st_size
        except OSError as error:
            raise ImageError(f"image {name}: {error.strerror or error}") from error
    else:
        raise ImageError(
            f"image {name}: is no picture; give a path, bytes, a PIL image or a uint8 array (h,w,3) RGB"
        )
    if size == 0:
        raise ImageError(f"image {name}: is empty (0 bytes)")
    try:
        return Image.open(file, formats=_formats())
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"image {name}: {_too_large(None)} ({error})") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"image {name}: is not a picture ({', '.join(_formats())} are read)") from error
    except OSError as error:
        if error.errno is None:  # the decoder's, not the system's
            raise
        raise ImageError(f"image {name}: can't be read ({error.strerror or error})") from error


def _too_large(pixels: int | None) -> str:
    came = "is too large" if pixels is None else f"has {pixels / 1e6:.1f} megapixels"
    return f"{came}; at most {MAX_PIXELS / 1e6:.1f} megapixels are decoded: crop or shrink it first"


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"image {name}: is {width}x{height}; each side needs at least {MIN_SIDE} pixels")
    if width * height > MAX_PIXELS:
        raise ImageError(f"image {name}: {_too_large(width * height)}")


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)  # a Pillow built without AVIF lacks it


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # viewers show a picture whose EXIF block is garbage, as it is stored; so do we
        return image
    return ImageOps.exif_transpose(image) if orientation in range(2, 9) else image


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        rgb = _from_deep_grey(image, name)
    elif image.has_transparency_data:
        rgba = image.convert("RGBA")
        rgb = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    else:
        rgb = image.convert("RGB")
    return rgb


def _from_deep_grey(image: Image.Image, name: str) -> Image.Image:
    """16-bit grey: the high byte, as Pillow itself reads 16-bit RGB."""
    grey = np.asarray(image)
    if image.mode == "F" or grey.min() < 0 or grey.max() > 65535:
        raise ImageError(
            f"image {name}: mode {image.mode} has no fixed range of brightness; "
            "scale it to 0..255 and convert it to mode 'L' first"
        )
    return Image.fromarray((grey >> 8).astype(np.uint8)).convert("RGB")


def _from_array(array: npt.NDArray[Any], name: str) -> Image.Image:
    advice = ""
    if array.dtype.kind == "f":
        advice = "; of floats in 0..1 make (array * 255).round().astype(numpy.uint8)"
    elif array.dtype == np.uint16:
        advice = "; of 16-bit samples make (array >> 8).astype(numpy.uint8)"
    elif array.dtype == np.uint8 and array.ndim == 3 and array.shape[0] in (1, 3, 4):
        advice = "; of channels first make array.transpose(1, 2, 0)"
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise ImageError(
            f"image {name}: allowed are uint8 arrays (h,w), (h,w,1), (h,w,3) RGB, (h,w,4) RGBA{advice}"
        )
    if min(array.shape[:2]) < MIN_SIDE:  # before Pillow, which can't hold an empty picture
        raise ImageError(
            f"image {name}: is {array.shape[1]}x{array.shape[0]}; each side needs at least {MIN_SIDE} pixels"
        )
    image = Image.fromarray(np.ascontiguousarray(array))
    _check_size(image, name)
    return _to_rgb(image, name)
