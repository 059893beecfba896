"""Golden samples: a bundle carries pictures, texts and what became of them, so that any machine can tell
whether it computes the same.

They start at decoded pixels. Preprocessing and token ids must be equal to the bit; features within 1e-4
of those of the model that was exported, and so the probabilities of the graph ``attributes``, where there is
one. The pictures are drawn by integer arithmetic, of odd sizes, with unlike colour channels (so that a swap
of red and blue shows).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import BundleFormatError
from .graphs import IDS, MASK, PIXELS, run_roles, sources
from .preprocess import ImageSpec, TextPreprocess, preprocess_images
from .recognition import GRAPH, OUTPUT, TARGET

if TYPE_CHECKING:
    from .bundle import Bundle
    from .types import Session

Array = npt.NDArray[Any]

SIZES = ((61, 43), (33, 97), (129, 65))  # (h, w) in pixels: upright, lying, larger than small models take
TEXTS = (
    "a man in a red coat",
    "A woman\u2019s back: dark-blue jeans &amp; white trainers, caf\u00e9 bag \U0001f45c",
    "someone " + "walking quickly past a shop window " * 40,  # longer than any tower's context
)
FEATURE_LIMIT = 1e-4


class GoldenCheck(NamedTuple):
    """One comparison: ``ok`` is ``value <= limit``."""

    name: str
    ok: bool
    value: float
    limit: float


def golden_images() -> list[npt.NDArray[np.uint8]]:
    """The pictures, (h, w, 3) uint8: gradients, bands and a little texture."""
    images = []
    for number, (height, width) in enumerate(SIZES, start=1):
        y, x = np.mgrid[0:height, 0:width]
        red = (x * 255) // (width - 1)
        green = (y * 255) // (height - 1)
        blue = ((x // 8 + y // 8) % 2) * 160 + (x * y * number) % 64
        images.append(np.stack([red, green, blue], axis=2).astype(np.uint8))
    return images


def make_golden(
    image: ImageSpec,
    text: TextPreprocess | None,
    run: Callable[[str, dict[str, Array]], Array],
    roles: Sequence[str],
) -> dict[str, Array]:
    """Golden arrays for ``write_bundle``.

    ``run(role, feeds)`` gives the reference features, (g, d) or (g, t, d), of the model itself (not of
    the exported graph); ``feeds`` holds ``pixels`` (g,3,h,w) and, with ``text``, ``input_ids`` and
    ``attention_mask`` (g,length). For a model with the graph ``attributes``, ``roles`` also names its
    output, ``sdk.recognition.TARGET``; its probabilities, (g, v), are those of the same pictures.
    """
    images = golden_images()
    arrays: dict[str, Array] = {f"image_{i}": array for i, array in enumerate(images)}
    feeds: dict[str, Array] = {PIXELS: preprocess_images(images, image)}
    if text is not None:
        feeds[IDS] = text(TEXTS)
        arrays["texts"] = np.array(TEXTS)
    arrays.update(feeds)
    if text is not None:
        feeds[MASK] = text.mask(feeds[IDS])
    for role in roles:
        arrays[role] = np.asarray(run(role, dict(feeds)), np.float32)
    return arrays


def save_golden(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write an .npz whose bytes depend on the arrays only (numpy's own holds the time of day)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in sorted(arrays.items()):
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), buffer.getvalue())


def check_golden(bundle: Bundle, session: Session) -> list[GoldenCheck]:
    """Recompute the golden samples here: preprocessing and ids to the bit, every role within 1e-4.

    The graph ``attributes`` is given the stored vectors, as ``explain`` gives it a gallery's: what another
    machine does to a picture's vector is the gallery role's check, and a steep softmax would magnify it.
    Bundles written before it was covered have no sample of it, and none is asked for.

    Raises BundleFormatError when the samples themselves can't be read.
    """
    arrays = _load(bundle.path / bundle.manifest["golden"])
    try:
        images = [arrays[f"image_{i}"] for i in range(len(arrays[PIXELS]))]
        feeds: dict[str, Array] = {PIXELS: preprocess_images(images, bundle.image_spec)}
        checks = [_equal("pixels", feeds[PIXELS], arrays[PIXELS])]
        if bundle.text_spec is not None and bundle.tokenizer_path is not None:
            text = TextPreprocess(bundle.text_spec, bundle.tokenizer_path)
            feeds[IDS] = text([str(t) for t in arrays["texts"]])
            feeds[MASK] = text.mask(feeds[IDS])
            checks.append(_equal(IDS, feeds[IDS], arrays[IDS]))
        roles = [role for role in bundle.roles if role in arrays]
        rows = min(len(array) for array in feeds.values())
        feeds = {name: array[:rows] for name, array in feeds.items()}
        needed = {s for role in roles for s in sources(bundle.graphs, bundle.roles[role])}
        features = run_roles(bundle, session, roles, {name: feeds[name] for name in needed})
        checks += [_close(f"{role} features", features[role], arrays[role][:rows]) for role in roles]
        if GRAPH in bundle.graphs and TARGET in arrays:
            [name] = bundle.graphs[GRAPH].inputs
            found = session.run(GRAPH, {name: np.ascontiguousarray(arrays["gallery"], np.float32)})[OUTPUT]
            checks.append(_close(f"{GRAPH} {OUTPUT}", found, arrays[TARGET]))
        return checks
    except KeyError as error:
        raise BundleFormatError(f"golden samples of {str(bundle.path)!r}: {error} is missing") from error


def _load(path: Path) -> dict[str, Array]:
    try:
        # Opened here, because numpy leaves the file open when it turns out not to be a zip.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise BundleFormatError(f"golden samples {str(path)!r}: can't be read ({error})") from error


def _equal(name: str, here: Array, stored: Array) -> GoldenCheck:
    """value: how many numbers differ in any bit."""
    differing = float(here.size if here.shape != stored.shape else np.count_nonzero(here != stored))
    return GoldenCheck(f"golden {name} equal", differing == 0, differing, 0.0)


def _close(name: str, here: Array, stored: Array) -> GoldenCheck:
    """value: the largest absolute difference; infinite for NaN or another shape."""
    same = here.shape == stored.shape and bool(np.isfinite(here).all())
    value = float(np.abs(here.astype(np.float64) - stored).max()) if same else float("inf")
    return GoldenCheck(f"golden {name}", value <= FEATURE_LIMIT, value, FEATURE_LIMIT)
