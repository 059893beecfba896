"""Write splits into one archive of crops at the size a model sees, for machines without the dataset.

Pictures are kept without loss as they are after resizing, so a run on the archive (`--data packed --root
FILE`, train/datasets/packed.py) gets the very pixels that it gets from the dataset.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdk.attributes import Schema
from sdk.decode import map_images
from sdk.errors import InputError
from sdk.preprocess import ImageSpec
from train.datasets.packed import FORMAT
from train.mended import load_picture
from train.split import Sample, Split

LIMIT = 50 << 20  # bytes


def write(path: str | Path, splits: Mapping[str, Split], task: str, spec: ImageSpec) -> int:
    """Write the splits (by part, all for one task) to a new archive; returns the number of pictures.

    InputError when it would be larger than LIMIT, ImageError naming every picture that can't be read; no file
    is left behind then, and an older one stays as it was.
    """
    path = Path(path)
    parts = splits.values()
    shown = [s.image for part in parts for s in (*part.samples, *part.gallery)]
    asked = [q.image for part in parts for q in part.queries if q.image]
    names = {image: f"{place:06d}.webp" for place, image in enumerate(dict.fromkeys(shown + asked))}

    def crop(image: Path) -> bytes:
        held = io.BytesIO()
        spec.fit(load_picture(image)).save(held, "webp", lossless=True, quality=100, method=3)
        return held.getvalue()

    crops = map_images(crop, list(names))
    held = {part: _split(split, names) for part, split in splits.items()}
    listed = json.dumps({"format": FORMAT, "task": task, "parts": held})
    part = path.with_name(f".{path.name}.part")
    try:
        with zipfile.ZipFile(part, "w") as archive:
            archive.writestr("splits.json", listed, zipfile.ZIP_DEFLATED)
            for name, data in zip(names.values(), crops, strict=True):
                archive.writestr(name, data)
        if (size := part.stat().st_size) > LIMIT:
            raise InputError(
                f"pack: {len(names):,} pictures of {spec.height}x{spec.width} make {size / 2**20:.0f} MiB, "
                f"the limit is {LIMIT >> 20}: take fewer --people or a smaller --height and --width"
            )
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return len(names)


def _split(split: Split, names: Mapping[Path, str]) -> dict[str, Any]:
    by_set = split.match == "attributes"  # then keys are attribute sets, which follow from the attributes

    def sample(s: Sample) -> dict[str, Any]:
        attributes = None if s.attributes is None else dict(s.attributes)
        plain = {"id": s.image_id, "image": names[s.image], "person": s.person, "captions": list(s.captions)}
        return plain | {"camera": s.camera, "attributes": attributes, "view": s.view}

    queries = [
        {
            "key": None if by_set else q.key,
            "text": q.text,
            "image": None if q.image is None else names[q.image],
            "attributes": None if q.attributes is None else dict(q.attributes),
            "camera": q.camera,
            "person": q.person,
        }
        for q in split.queries
    ]
    schema: Schema | None = split.schema
    return {
        "name": split.name,
        "match": split.match,
        "notes": list(split.notes),
        "schema": None if schema is None else schema.to_json(),
        "samples": [sample(s) for s in split.samples],
        "gallery": [sample(s) for s in split.gallery],
        "gallery_keys": None if by_set else list(split.gallery_keys),
        "queries": queries,
    }
