"""Retriever: a bundle and a gallery behind one face. Embed, add, search, explain."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np

from .bundle import Bundle
from .decode import ImageSource
from .encoder import Encoder
from .errors import GalleryError, IdError, InputError, SpaceMismatchError
from .explain import Explanation, explain
from .intake import Intake, as_list
from .queries import encode, excluded, is_single_image, least, take_apart, total, whole, with_vectors
from .recognition import tells
from .runtime import label, open_session
from .types import Floats, Gallery, Hits, Id, Metadata, Ranking, Where

Images: TypeAlias = "ImageSource | Iterable[ImageSource]"


class Retriever:
    """Find pictures by words, attributes, a photo, or a photo plus words.

    ``bundle``: a bundle's folder, or an opened Bundle. ``gallery``: a folder or URL, made at the first
    ``add`` if there is none; a Gallery of one's own (which stays open at ``close``); or None for a
    temporary one, gone at ``close``. ``device``: "auto", "cpu" or "cuda"; ``strict`` raises EngineError
    instead of falling back to another device. Raises BundleError, EngineError, and SpaceMismatchError
    for a gallery of another model. A context manager; searching is thread-safe.
    """

    def __init__(
        self,
        bundle: str | Path | Bundle,
        gallery: str | Path | Gallery | None = None,
        device: str = "auto",
        strict: bool = False,
    ) -> None:
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        self.session = open_session(self.bundle, device, strict)
        self.encoder = Encoder(self.bundle, self.session)
        self._lock = threading.Lock()
        self._store: Gallery | None = None
        self._place: str | Path | None = None
        self._closed = False
        self._discard: weakref.finalize[Any, Retriever] | None = None
        if isinstance(gallery, (str, os.PathLike)):
            self._place = gallery
            if "://" in str(gallery) or Path(gallery).exists():
                self._open()
        elif gallery is not None:
            self._store = gallery
            if gallery.space != self.bundle.space:
                raise SpaceMismatchError(
                    f"gallery: it holds vectors of {gallery.space}, bundle {self.bundle.name!r} makes "
                    f"{self.bundle.space}; open the gallery with its own bundle, or index it again"
                )

    @property
    def gallery(self) -> Gallery:
        """The opened gallery; raises GalleryError where none has been made yet."""
        store = self._store
        if self._closed:
            raise GalleryError("this Retriever is closed; make another one")
        if store is None:
            where = (
                f"there is no gallery at {str(self._place)!r}; check the path, or" if self._place else "first"
            )
            raise GalleryError(f"gallery: {where} add pictures")
        return store

    # Vectors

    def embed_images(self, images: Images, batch_size: int | None = None) -> Floats:
        """Pictures as the gallery stores them: (n, d) float32 of unit length, (n, t, d) for t tokens.

        One picture or many: paths, bytes, PIL images, uint8 arrays (h,w,3) RGB. Raises ImageError.
        """
        return self.encoder.images(self._images(images), batch_size)

    def embed_texts(self, texts: str | Sequence[str], batch_size: int | None = None) -> Floats:
        """One text or many → (n, d) float32 of unit length; raises TextError, MissingRoleError."""
        return self.encoder.texts(as_list(texts, (str,)), batch_size)

    def embed_attributes(
        self, attributes: Mapping[str, str] | Sequence[Mapping[str, str]], batch_size: int | None = None
    ) -> Floats:
        """One attribute set or many → (n, d) float32 of unit length; raises AttributeValueError."""
        return self.encoder.attributes(as_list(attributes, (Mapping,)), batch_size)

    # Changes

    def add(
        self,
        images: Images | None = None,
        ids: Id | Sequence[Id] | None = None,
        metadata: Metadata | Sequence[Metadata] | None = None,
        *,
        vectors: Any = None,
    ) -> list[Id]:
        """Add pictures, or ``vectors`` (n, d) or (n, t, d) made elsewhere; returns the ids. All or nothing.

        ``ids=None`` names each picture by its path as given; a path with an id of its own is kept in the
        metadata as "path". Raises ImageError naming every bad picture, IdError for a missing, repeated or
        known id, VectorError, and what the gallery raises.
        """
        intake = Intake.of(self._sources(images), ids, metadata, vectors, self.bundle.space)
        if self._store is not None and (known := [i for i in intake.ids if i in self._store]):
            raise IdError(f"ids: {known[0]!r} is in the gallery already ({len(known)} such); use update")
        features = self._features(intake)
        if intake.ids:
            self._open().add(intake.ids, features, intake.metadata)
        return intake.ids

    def update(
        self,
        ids: Id | Sequence[Id],
        images: Images | None = None,
        metadata: Metadata | Sequence[Metadata] | None = None,
        *,
        vectors: Any = None,
    ) -> None:
        """Give known items another picture (or vector), other metadata, or both; None leaves as it was.

        All or nothing; raises as ``add`` does, and IdError for an unknown id.
        """
        if images is None and vectors is None:
            if metadata is None:
                raise InputError("update: nothing to change; give images, vectors or metadata")
            names, notes = as_list(ids, (str, int)), as_list(metadata, (Mapping,))
            if len(names) != len(notes):
                raise InputError(f"metadata: got {len(notes)} entries for {len(names)} ids")
            self.gallery.update(names, None, notes)
            return
        intake = Intake.of(self._sources(images), ids, metadata, vectors, self.bundle.space)
        kept = metadata is None
        if kept:
            intake = intake.over([row.metadata if row else {} for row in self.gallery.get(intake.ids)])
        self.gallery.update(
            intake.ids, self._features(intake), intake.metadata if intake.paths or not kept else None
        )

    def remove(self, ids: Id | Sequence[Id]) -> None:
        """Take items out of every later search; raises IdError for an unknown id. See ``gallery.erase``."""
        self.gallery.remove(as_list(ids, (str, int)))

    # Search

    def search(
        self,
        *,
        text: str | Sequence[str] | None = None,
        attributes: Mapping[str, str] | Sequence[Mapping[str, str]] | None = None,
        image: Images | None = None,
        vector: Any = None,
        without: str | Sequence[str] | None = None,
        k: int = 10,
        where: Where | None = None,
        exclude: Sequence[Id] | Sequence[Sequence[Id]] | None = None,
        min_score: float | None = None,
        compose: str = "auto",
    ) -> Hits:
        """The ``k`` best items for each query: ids and scores (n, k), best first, padded with None/-inf.

        Give ``text``, ``attributes``, ``image``, ``image`` and ``text`` together, or ``vector`` (d,); a list
        is a batch. Image and text go through the bundle's composer, or with ``compose="sum"`` as
        unit(image + text). ``without``: a text to steer away from, unit(query - without). ``where``
        filters by metadata; ``exclude``: ids to leave out, one list for all or one per query;
        ``min_score``: hits below it are left out. Raises InputError (and its kinds), MissingRoleError.
        """
        k, min_score = whole("k", k), least(min_score)
        asked = take_apart(
            text=text,
            attributes=attributes,
            image=image,
            vector=vector,
            without=without,
            compose=compose,
            dim=self.bundle.space.dim,
            roles=self.bundle.roles,
        )
        left_out = excluded(exclude, asked)
        vectors = total(encode(asked, self.encoder))
        queries = with_vectors(asked.queries(), vectors)
        unmade = self._store is None and self._place is None and not self._closed
        if asked.n == 0 or unmade:
            shape = (asked.n, k)
            return Hits(np.full(shape, None, object), np.full(shape, -np.inf, np.float32), queries=queries)
        found = self.gallery.search(vectors, k, where=where, exclude=left_out, min_score=min_score)
        return replace(found, queries=queries)

    def explain(self, hits: Hits | Ranking) -> list[list[Explanation]]:
        """Take the scores of ``search``'s hits apart: a list of Explanation for each query.

        Of a search by attributes it also says which of them each hit seems to have, where the bundle can
        tell (``report()["bundle"]["tells_attributes"]``). Raises InputError for hits that no longer hold.
        """
        return explain(hits, self.encoder, self.gallery)

    # The rest

    def report(self) -> dict[str, Any]:
        """What runs and why, versions, the bundle's digest and space, the gallery's place and length.

        ``schema``: the name of the attributes that it can be asked by, or None. ``tells_attributes``:
        ``explain`` can say which of them a hit has.
        """
        from .versions import versions

        return {
            "versions": versions(),
            "engine": dict(self.session.report),
            "bundle": {
                "path": str(self.bundle.path),
                "name": self.bundle.name,
                "digest": self.bundle.digest,
                "space": self.bundle.space.hash,
                "dim": self.bundle.space.dim,
                "tokens": self.bundle.space.tokens,
                "top_tokens": self.bundle.space.top_tokens,
                "roles": dict(self.bundle.roles),
                "schema": None if self.bundle.schema is None else self.bundle.schema.name,
                "tells_attributes": tells(self.bundle),
            },
            "gallery": {"path": self._where(), "items": 0 if self._store is None else len(self._store)},
        }

    def close(self) -> None:
        """Free the engine and close the gallery (a temporary one is deleted; one handed in stays open)."""
        if self._discard is not None:
            self._discard()
            self._store = self._discard = None
        self._closed = True
        self.session.close()

    def __enter__(self) -> Retriever:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        device = self.session.report["device"]
        return f"Retriever(bundle {self.bundle.name!r}, gallery {self._where()}, on {device})"

    def _where(self) -> str:
        if self._place is not None:
            return str(self._place)
        handed_in = self._store is not None and self._discard is None
        return type(self._store).__name__ if handed_in else "temporary"

    def _open(self) -> Gallery:
        from .gallery import open_gallery

        with self._lock:
            if self._closed:
                raise GalleryError("this Retriever is closed; make another one")
            if self._store is None:
                folder = tempfile.mkdtemp(prefix="labrador-") if self._place is None else None
                place = Path(folder) / "gallery" if folder else self._place
                store = open_gallery(place or "", self.bundle.space, engine=label(self.session))
                self._discard = weakref.finalize(self, _close, store, folder)
                self._store = store
            return self._store

    def _features(self, intake: Intake) -> Floats:
        return self.encoder.images(intake.sources) if intake.vectors is None else intake.vectors

    def _sources(self, images: Images | None) -> tuple[list[ImageSource], bool] | None:
        return None if images is None else (self._images(images), is_single_image(images))

    def _images(self, images: Any) -> list[ImageSource]:
        if is_single_image(images):
            return [images]
        if isinstance(images, Mapping) or not isinstance(images, Iterable):
            raise InputError(f"images: got {type(images).__name__}; give a picture or a list of them")
        return list(images)


def _close(store: Gallery, folder: str | None) -> None:
    store.close()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
