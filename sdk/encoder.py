"""Pictures, texts and attributes → unit vectors, by one bundle and one engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from .bundle import Bundle
from .decode import ImageSource, bad_images
from .errors import BundleFormatError, EngineError, ImageError, InputError, MissingRoleError
from .graphs import IDS, MASK, PIXELS, run_roles, sources
from .preprocess import TextPreprocess, check_texts, preprocess_images
from .types import Floats, Session

Array = npt.NDArray[Any]
T = TypeVar("T")

# fp32 graphs keep the length of a unit vector within 1e-6, fp16 ones within 1e-3; more is a mistake.
UNIT_LIMIT = 2e-3


class Encoder:
    """Turns queries and gallery items into (n, d) float32 of unit length; gallery items of a bundle with
    t tokens into (n, t, d), each token of unit length.

    A vector doesn't depend on what else was in its batch (within 1e-5). Inputs above ``max_batch`` are
    split; pictures are decoded in threads while the engine runs. Thread-safe if the session is.
    """

    def __init__(self, bundle: Bundle, session: Session) -> None:
        self.bundle = bundle
        self.session = session
        self._text: TextPreprocess | None = None

    def images(
        self, images: Sequence[ImageSource], batch_size: int | None = None, role: str = "gallery"
    ) -> Floats:
        """Pictures (whatever ``load_image`` takes) → (n, d), or (n, t, d) for the gallery of a late bundle.

        ``role``: "gallery" for what is stored, "query.image" for what is searched with. Raises one
        ImageError naming every bad picture, with ``failures``: index → error; MissingRoleError.
        """
        self.bundle.role(role)
        _check_sequence("images", images)
        size = self._batch(batch_size)
        chunks = [images[i : i + size] for i in range(0, len(images), size)]
        parts: list[Floats] = []
        failures: dict[int, ImageError] = {}
        for number, pixels in enumerate(_ahead(lambda c: self._decode(c), chunks)):
            if isinstance(pixels, ImageError):
                failures.update((number * size + i, error) for i, error in pixels.failures.items())
            elif not failures:  # once one is bad only the other bad ones are of interest
                parts.append(self.pixels(pixels, role=role))
        if failures:
            raise bad_images(failures, len(images))
        return self._joined(parts, role)

    def pixels(self, pixels: Floats, batch_size: int | None = None, role: str = "gallery") -> Floats:
        """Preprocessed pictures (n, 3, h, w) float32 → as ``images``; raises InputError for another shape."""
        spec = self.bundle.image_spec
        if pixels.ndim != 4 or pixels.shape[1:] != (3, spec.height, spec.width) or pixels.dtype != np.float32:
            raise InputError(
                f"pixels: got {pixels.shape} {pixels.dtype}; "
                f"allowed is (n, 3, {spec.height}, {spec.width}) float32, as preprocess_images gives"
            )
        return self._run(role, {PIXELS: pixels}, batch_size)

    def texts(self, texts: Sequence[str], batch_size: int | None = None, role: str = "query.text") -> Floats:
        """Texts → (n, d); raises TextError for an empty or overlong one, MissingRoleError."""
        self.bundle.role(role)
        _check_sequence("texts", texts)
        check_texts(texts, "text")
        return self._run(role, self._ids(texts), batch_size)

    def attributes(self, attributes: Sequence[Mapping[str, str]], batch_size: int | None = None) -> Floats:
        """Attribute sets → the schema's sentences → (n, d); AttributeValueError lists what is known."""
        _check_sequence("attributes", attributes)
        return self.texts(self.sentences(attributes), batch_size, role="query.attributes")

    def sentences(self, attributes: Sequence[Mapping[str, str]]) -> list[str]:
        """The prompt sentence of each attribute set."""
        if self.bundle.schema is None:
            raise MissingRoleError(
                f"attributes: bundle {self.bundle.name!r} has no attribute schema, since its model wasn't "
                "trained on people with attributes; ask by text"
            )
        self.bundle.role("query.attributes")
        return [self.bundle.schema.sentence(given) for given in attributes]

    def composed(
        self, images: Sequence[ImageSource], texts: Sequence[str], batch_size: int | None = None
    ) -> Floats:
        """Picture i changed by text i → (n, d), by the bundle's composer; raises MissingRoleError."""
        role = "query.composed"
        self.bundle.role(role)
        _check_sequence("images", images)
        _check_sequence("texts", texts)
        check_texts(texts, "text")
        if len(images) != len(texts):
            raise InputError(f"images, texts: got {len(images)} pictures and {len(texts)} texts; give pairs")
        pixels = preprocess_images(images, self.bundle.image_spec)
        return self._run(role, {PIXELS: pixels, **self._ids(texts)}, batch_size)

    def _run(self, role: str, feeds: Mapping[str, Array], batch_size: int | None) -> Floats:
        graph, output = self.bundle.role(role)
        needed = sources(self.bundle.graphs, f"{graph}.{output}")
        size, count = self._batch(batch_size), len(next(iter(feeds.values())))
        parts = []
        for start in range(0, count, size):
            batch = {name: feeds[name][start : start + size] for name in needed}
            features = run_roles(self.bundle, self.session, (role,), batch)[role]
            parts.append(_checked(features, f"graph {graph!r}"))
        return self._joined(parts, role)

    def _joined(self, parts: list[Floats], role: str) -> Floats:
        if parts:
            return np.concatenate(parts)
        graph, output = self.bundle.role(role)
        return np.zeros((0, *self.bundle.graphs[graph].outputs[output]), np.float32)

    def _ids(self, texts: Sequence[str]) -> dict[str, Array]:
        if self._text is None:
            if self.bundle.text_spec is None or self.bundle.tokenizer_path is None:
                raise MissingRoleError(f"bundle {self.bundle.name!r} has no tokenizer")
            self._text = TextPreprocess(self.bundle.text_spec, self.bundle.tokenizer_path)
        ids = self._text(texts)
        return {IDS: ids, MASK: self._text.mask(ids)}

    def _decode(self, chunk: Sequence[ImageSource]) -> Floats | ImageError:
        try:
            return preprocess_images(chunk, self.bundle.image_spec)
        except ImageError as error:
            return error

    def _batch(self, batch_size: int | None) -> int:
        if batch_size is None:
            return self.bundle.max_batch
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
            raise InputError(f"batch_size: got {batch_size!r}; allowed are whole numbers from 1")
        return min(batch_size, self.bundle.max_batch)


def _ahead(
    function: Callable[[Sequence[ImageSource]], T], chunks: Sequence[Sequence[ImageSource]]
) -> Iterator[T]:
    """``function`` of each chunk, computed one chunk ahead of who asks."""
    if len(chunks) < 2:
        yield from map(function, chunks)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="labrador-ahead") as pool:
        coming = pool.submit(function, chunks[0])
        for chunk in chunks[1:]:
            done, coming = coming, pool.submit(function, chunk)
            yield done.result()
        yield coming.result()


def _checked(features: Array, where: str) -> Floats:
    """float32, finite and of unit length, or an error that says whose fault it is."""
    vectors = np.ascontiguousarray(features, np.float32)
    off = np.abs(np.linalg.norm(vectors, axis=-1) - 1)
    if not np.isfinite(vectors).all():
        raise EngineError(f"{where} gave NaN or infinity; check the engine with python -m sdk doctor")
    if off.size and off.max() > UNIT_LIMIT:
        raise BundleFormatError(
            f"{where} gave vectors of length {1 + off.max():.4f} or {1 - off.max():.4f}; a bundle's graphs "
            "normalise to length 1: export it again"
        )
    return vectors


def _check_sequence(name: str, values: object) -> None:
    if isinstance(values, np.ndarray) and name == "images" and values.ndim != 4:
        raise InputError(f"{name}: got an array {values.shape}; give a list of pictures or (n, h, w, 3)")
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, (Sequence, np.ndarray)):
        raise InputError(f"{name}: got {type(values).__name__}; give a list")
