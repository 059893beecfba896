"""Truncated JPEGs of a dataset: read as far as they go, and said.

The public code for these sets has Pillow accept a JPEG whose end is missing, so the published figures include
such pictures. The SDK refuses them: nobody should index half a picture unawares. Here, for a dataset's own
files only, the end marker is put back; what the file lacks the decoder fills with grey, as it does for them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from sdk.decode import ImageSource, load_image
from sdk.errors import ImageError
from sdk.types import Floats

START, END = b"\xff\xd8", b"\xff\xd9"


def load_picture(path: Path) -> Image.Image:
    """``load_image``, but a truncated JPEG is read as far as it goes, with a warning that names it."""
    try:
        return load_image(path)
    except ImageError as error:
        return load_image(_mended(path, error))


def encode_pictures(encode: Callable[[Sequence[ImageSource]], Floats], paths: Sequence[Path]) -> Floats:
    """``encode(paths)``; where pictures can't be decoded, once more with the truncated JPEGs mended.

    Raises encode's ImageError when one of them is no truncated JPEG.
    """
    try:
        return encode(paths)
    except ImageError as error:
        if not error.failures:
            raise
        sources: list[ImageSource] = list(paths)
        for place in error.failures:
            sources[place] = _mended(paths[place], error)
        return encode(sources)


def _mended(path: Path, error: ImageError) -> bytes:
    """The file with its end marker; raises ``error`` when that isn't what it lacks."""
    try:
        data = path.read_bytes()
        if not data.startswith(START) or data.endswith(END):
            raise error
        load_image(data + END)
    except (OSError, ImageError):
        raise error from None
    warnings.warn(f"{path} is truncated: it is read as far as it goes", stacklevel=3)
    return data + END
