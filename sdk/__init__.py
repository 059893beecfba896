"""Labrador: find a person in a gallery from words, attributes, a photo, or a photo plus words."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import errors

if TYPE_CHECKING:
    from .attributes import Schema
    from .bundle import Bundle
    from .encoder import Encoder
    from .explain import Explanation
    from .gallery import open_gallery
    from .preprocess import ImageSpec, TextSpec, load_image, preprocess_images
    from .retriever import Retriever
    from .runtime import open_session
    from .types import Gallery, Hit, Hits, Query, Ranking, Row, Session, Space

# name → the module that holds it; loaded at first use, so that `import sdk` costs nothing.
_HOME = {
    "Bundle": "bundle",
    "Encoder": "encoder",
    "Explanation": "explain",
    "Gallery": "types",
    "Hit": "types",
    "Hits": "types",
    "ImageSpec": "preprocess",
    "Query": "types",
    "Ranking": "types",
    "Retriever": "retriever",
    "Row": "types",
    "Schema": "attributes",
    "Session": "types",
    "Space": "types",
    "TextSpec": "preprocess",
    "load_image": "preprocess",
    "open_gallery": "gallery",
    "open_session": "runtime",
    "preprocess_images": "preprocess",
}

__all__ = [
    "Bundle",
    "Encoder",
    "Explanation",
    "Gallery",
    "Hit",
    "Hits",
    "ImageSpec",
    "Query",
    "Ranking",
    "Retriever",
    "Row",
    "Schema",
    "Session",
    "Space",
    "TextSpec",
    "errors",
    "load_image",
    "open_gallery",
    "open_session",
    "preprocess_images",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
