"""What a folder on disk is: the facts of a bundle or of a gallery, for ``python -m sdk info``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .errors import GalleryError, InputError
from .types import Space


def describe(path: str | Path) -> dict[str, Any]:
    """The facts as plain data; raises InputError for what is neither a bundle nor a gallery.

    A bundle is opened with all its checks, so this also says when a file was damaged.
    """
    folder = Path(path)
    if not folder.is_dir():
        came = "isn't a folder" if folder.exists() else "doesn't exist"
        raise InputError(f"path: {str(path)!r} {came}; give a bundle or a gallery")
    from .manifest import NAME

    if (folder / NAME).is_file():
        return _bundle(folder)
    try:
        return _gallery(folder)
    except GalleryError as error:
        raise InputError(f"{error} It has no {NAME} either, so it isn't a bundle.") from error


def _bundle(folder: Path) -> dict[str, Any]:
    from .bundle import Bundle

    bundle = Bundle.open(folder)
    manifest, image, text = bundle.manifest, bundle.image_spec, bundle.text_spec
    schema, parity = bundle.schema, manifest["parity"]
    sizes = {name: entry["bytes"] for name, entry in manifest["files"].items()}
    return {
        "kind": "bundle",
        "name": bundle.name,
        "format": manifest["format"],
        "digest": bundle.digest,
        "space": bundle.space.hash,
        **{key: value for key, value in manifest["provenance"].items() if value is not None},
        "image": f"{image.height}x{image.width} (h x w), {image.resize}, {image.interpolation}",
        "text": None
        if text is None
        else f"{text.length} tokens, cleaned by {', '.join(text.clean) or 'nothing'}",
        "vectors": _shape(bundle.space),
        "roles": bundle.roles,
        "graphs": {name: sum(sizes[file] for file in graph.files) for name, graph in bundle.graphs.items()},
        "max_batch": bundle.max_batch,
        "schema": None if schema is None else {slot: list(values) for slot, values in schema.slots.items()},
        "parity": parity,
        "bytes": size_on_disk(folder),
    }


def _gallery(folder: Path) -> dict[str, Any]:
    from .gallery import open_gallery
    from .jobrecord import jobs_in

    gallery = open_gallery(folder, write=False)
    try:
        known: dict[str, Any] = getattr(gallery, "info", dict)()  # a backend may know more than the face asks
        space = gallery.space
        more = {key: value for key, value in known.items() if key not in ("path", "space", "rows", "bytes")}
        return {
            "kind": "gallery",
            "rows": len(gallery),
            "vectors": _shape(space),
            "space": space.hash or "vectors of one's own",
            **more,
            "jobs": jobs_in(folder),
            "bytes": size_on_disk(folder),
        }
    finally:
        gallery.close()


def _shape(space: Space) -> str:
    if space.tokens == 1:
        return f"{space.dim} x float32"
    return f"{space.tokens} tokens of {space.dim} x float32, score = mean of the {space.top_tokens} best"


def size_on_disk(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(
        os.lstat(os.path.join(top, name)).st_size for top, _, names in os.walk(folder) for name in names
    )
