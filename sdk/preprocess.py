"""Picture → (n, 3, h, w) float32, text → token ids: the ONLY preprocessing of evaluation, export and search.

Every number is defined to the bit: Pillow resizes 8-bit samples in fixed point, and the normalisation
of a sample is one of 256 float32 values per channel, ``(value / 255 - mean) / std``.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from .decode import ImageSource, load_image, load_images, map_images
from .errors import BundleFormatError, EngineError, InputError, TextError
from .types import Floats

__all__ = [
    "CLEANERS",
    "ImageSource",
    "ImageSpec",
    "TextPreprocess",
    "TextSpec",
    "check_texts",
    "load_image",
    "load_images",
    "preprocess_images",
]

MAX_CHARACTERS = 9_999  # of a query; ten thousand are a pasted document, not a description
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class ImageSpec:
    """How a picture becomes pixels.

    ``height`` x ``width`` in pixels; ``mean`` and ``std`` per RGB channel on the 0..1 scale;
    ``resize``: "squash" to the size whatever the shape, or "crop": scale until it covers the size, then
    cut out the centre. Raises InputError for a field outside its range.
    """

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: Literal["squash", "crop"] = "squash"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    def __post_init__(self) -> None:
        for side in ("height", "width"):
            value = getattr(self, side)
            if not _is_int(value) or not 2 <= value <= 8192:
                raise InputError(f"image spec: {side}={value!r}; allowed are 2 to 8192 pixels")
        for name in ("mean", "std"):
            object.__setattr__(self, name, _three(name, getattr(self, name)))
        if min(self.std) <= 0:
            raise InputError(f"image spec: std={self.std}; each must be above 0")
        _one_of("image spec", "resize", self.resize, ("squash", "crop"))
        _one_of("image spec", "interpolation", self.interpolation, tuple(_FILTERS))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ImageSpec:
        """Read ``to_json``'s form; raises InputError naming a missing, unknown or wrong field."""
        return cls(**_known("image spec", cls, data))

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    def fit(self, image: Image.Image) -> Image.Image:
        """The RGB picture at (width, height)."""
        kernel = _FILTERS[self.interpolation]
        if self.resize == "squash":
            return image.resize((self.width, self.height), kernel)
        if image.width * self.height <= image.height * self.width:  # the width is the tight side
            size = (self.width, max(self.height, int(self.width * image.height / image.width)))
        else:
            size = (max(self.width, int(self.height * image.width / image.height)), self.height)
        left, top = round((size[0] - self.width) / 2), round((size[1] - self.height) / 2)
        return image.resize(size, kernel).crop((left, top, left + self.width, top + self.height))

    def table(self) -> Floats:
        """(3, 256) float32: what each sample of each channel becomes."""
        values = np.arange(256, dtype=np.float32) / np.float32(255)
        mean, std = np.array(self.mean, np.float32)[:, None], np.array(self.std, np.float32)[:, None]
        table: Floats = (values - mean) / std
        return table


def preprocess_images(sources: Sequence[ImageSource], spec: ImageSpec, workers: int = 0) -> Floats:
    """Pictures (anything ``load_image`` takes) → (n, 3, h, w) float32, C-contiguous.

    ``workers`` threads decode and resize (0: one per core, at most 8). Raises one ImageError that names
    every bad picture; its ``failures`` maps index → error.
    """
    table = spec.table()
    pixels = np.empty((len(sources), 3, spec.height, spec.width), np.float32)

    def fill(numbered: tuple[int, ImageSource]) -> None:
        index, source = numbered
        samples = np.asarray(spec.fit(load_image(source)))  # (h, w, 3) uint8
        for channel in range(3):
            # "clip" never has to: 256 entries, 8 bits. It only spares numpy a copy.
            np.take(table[channel], samples[:, :, channel], out=pixels[index, channel], mode="clip")

    map_images(fill, list(enumerate(sources)), workers)
    return pixels


def _clean_ftfy(text: str) -> str:
    try:
        import ftfy
    except ImportError as error:
        raise EngineError("text cleaning: the package 'ftfy' is missing; pip install ftfy") from error
    return ftfy.fix_text(text)


CLEANERS: dict[str, Callable[[str], str]] = {
    "ftfy": _clean_ftfy,  # mended encodings
    "html": lambda text: html.unescape(html.unescape(text)),  # twice: web captions hold "&amp;quot;"
    "whitespace": lambda text: " ".join(text.split()),
    "lower": str.lower,
}


@dataclass(frozen=True)
class TextSpec:
    """How a text becomes ids: ``length`` tokens with truncation, ``pad_id`` behind, ``clean`` steps in order.

    ``mask``: the graph also takes an attention mask. Raises InputError for a field outside its range.
    """

    length: int
    pad_id: int
    clean: tuple[str, ...] = ()
    mask: bool = False

    def __post_init__(self) -> None:
        if not _is_int(self.length) or not 3 <= self.length <= 8192:
            raise InputError(f"text spec: length={self.length!r}; allowed are 3 to 8192 tokens")
        if not _is_int(self.pad_id) or self.pad_id < 0:
            raise InputError(f"text spec: pad_id={self.pad_id!r}; allowed are token ids from 0")
        if isinstance(self.clean, str) or not isinstance(self.clean, Sequence):
            raise InputError(f"text spec: clean={self.clean!r}; give a list of {', '.join(CLEANERS)}")
        object.__setattr__(self, "clean", tuple(self.clean))
        for step in self.clean:
            _one_of("text spec", "clean", step, tuple(CLEANERS))
        if not isinstance(self.mask, bool):
            raise InputError(f"text spec: mask={self.mask!r}; allowed are true and false")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TextSpec:
        """Read ``to_json``'s form (a "tokenizer" beside it is not ours); raises InputError."""
        return cls(**_known("text spec", cls, {k: v for k, v in data.items() if k != "tokenizer"}))

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "clean": list(self.clean)}


class TextPreprocess:
    """Texts → (n, length) int64 ids by a ``tokenizer.json`` whose post-processor adds start and end.

    A text too long keeps its first tokens and its end token. Thread-safe.
    """

    def __init__(self, spec: TextSpec, tokenizer_json: str | Path) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise EngineError("text: the package 'tokenizers' is missing; pip install tokenizers") from error
        self.spec = spec
        try:
            self._tokenizer = Tokenizer.from_file(str(tokenizer_json))
        except Exception as error:  # the Rust side raises bare Exception
            raise BundleFormatError(f"tokenizer {str(tokenizer_json)!r}: can't be read ({error})") from error
        self._tokenizer.enable_truncation(spec.length)
        self._tokenizer.enable_padding(length=spec.length, pad_id=spec.pad_id)

    def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """(n, length) ids; an empty text is only start, end and padding."""
        encoded = self._tokenizer.encode_batch([self.clean(text) for text in texts])
        return np.array([e.ids for e in encoded], np.int64).reshape(len(texts), self.spec.length)

    def clean(self, text: str) -> str:
        for step in self.spec.clean:
            text = CLEANERS[step](text)
        return text

    def mask(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """(n, length) attention mask: 1 up to the last token that isn't padding.

        The end token is never the padding id, so this is exact even where the padding id is also a word.
        """
        real = ids != self.spec.pad_id
        return (np.cumsum(real[:, ::-1], axis=1)[:, ::-1] > 0).astype(np.int64)


def check_texts(texts: Sequence[str], name: str = "text") -> None:
    """Refuse what can't be a query: TextError for a non-string, an empty text, or 10,000 characters."""
    for index, text in enumerate(texts):
        which = name if len(texts) == 1 else f"{name}[{index}]"
        if not isinstance(text, str):
            raise TextError(f"{which}: got {type(text).__name__}; give a string")
        if not text.strip():
            raise TextError(f"{which}: is empty; describe what to look for in a few words")
        if len(text) > MAX_CHARACTERS:
            raise TextError(
                f"{which}: has {len(text):,} characters; at most {MAX_CHARACTERS:,} are allowed, "
                "and a description of one or two sentences finds most"
            )


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _three(name: str, values: Any) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(v) for v in values)
    except (TypeError, ValueError) as error:
        raise InputError(f"image spec: {name}={values!r}; give three numbers (red, green, blue)") from error
    if not np.isfinite([red, green, blue]).all():
        raise InputError(f"image spec: {name}={values!r}; the numbers must be finite")
    return red, green, blue


def _one_of(where: str, name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{where}: {name}={value!r}; allowed are {', '.join(map(repr, allowed))}")


def _known(where: str, kind: type, data: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise InputError(f"{where}: got {type(data).__name__}; give an object")
    has_default = {f.name: f.default is not MISSING for f in fields(kind)}
    for name in data:
        if name not in has_default:
            raise InputError(f"{where}: unknown field {name!r}; it has {', '.join(has_default)}")
    for name, optional in has_default.items():
        if not optional and name not in data:
            raise InputError(f"{where}: field {name!r} is missing")
    return dict(data)
