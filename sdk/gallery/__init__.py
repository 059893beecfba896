"""Galleries: where vectors live and are searched. One file per backend, found by name.

``open_gallery("people.gallery", space)`` opens a directory with the backend ``local``; a URL such as
``local:///data/people.gallery`` names its backend first.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ..errors import GalleryError
from ..types import Gallery, Space

BACKENDS = {"local": "sdk.gallery.local:LocalGallery"}


def open_gallery(
    path: str | Path,
    space: Space | None = None,
    *,
    write: bool | None = None,
    engine: str | None = None,
) -> Gallery:
    """Open a gallery, or create it when it isn't there and ``space`` is given.

    ``space``: what the vectors are; ``None`` opens an existing gallery with the space it recorded.
    ``write``: ``None`` opens for reading and takes the writer lock at the first write (and keeps it until
    ``close``), so that a search service may open a gallery while an indexing job fills it; ``True`` takes
    the lock now; ``False`` never does, and refuses writes. ``engine`` is kept with every vector written,
    such as ``"onnxruntime cpu fp32"``.

    Raises SpaceMismatchError when the gallery holds another model's vectors, GalleryLockedError when
    ``write=True`` and another writer has it, GalleryDamagedError when its files are shorter than recorded,
    GalleryError when there is nothing to open or the format is newer.
    """
    scheme, found, rest = str(path).partition("://")
    name, location = (scheme, rest) if found else ("local", str(path))
    if name not in BACKENDS:
        raise GalleryError(
            f"path: {str(path)!r} asks for the gallery backend {name!r}; known are {', '.join(BACKENDS)}. "
            "A plain path opens a local gallery."
        )
    module, _, attribute = BACKENDS[name].partition(":")
    backend: Any = getattr(importlib.import_module(module), attribute)
    gallery: Gallery = backend(location, space, write=write, engine=engine)
    return gallery


__all__ = ["BACKENDS", "open_gallery"]
