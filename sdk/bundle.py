"""A model on disk: a folder with ``manifest.json``, graphs, tokenizer and golden samples. No pickle, ever.

Opening checks, in this order, and nothing is parsed by an engine before all of it holds: the manifest is
readable, its version is known, its fields make sense, no file name leaves the folder, every file is
there, has its length, has its hash. ``digest`` vouches for everything; ``space`` names what defines
gallery vectors, so that a new text tower or report does not ask for re-indexing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import manifest as _manifest
from .attributes import Schema
from .errors import (
    BundleDamagedError,
    BundleError,
    BundleFormatError,
    BundleMissingFileError,
    InputError,
    MissingRoleError,
)
from .golden import GoldenCheck, check_golden, make_golden, save_golden
from .graphs import Graph, split_target
from .preprocess import ImageSpec, TextSpec
from .types import Space
from .versions import installed

__all__ = [
    "Bundle",
    "GoldenCheck",
    "Graph",
    "check_golden",
    "check_replaceable",
    "make_golden",
    "write_bundle",
]

GOLDEN = "golden.npz"


class Bundle:
    """An opened, verified bundle.

    ``path``, ``manifest`` (as read), ``name``, ``digest``, ``space``, ``max_batch``, ``image_spec``,
    ``text_spec`` and ``tokenizer_path`` (None without texts), ``schema`` (None without attributes),
    ``graphs`` (in running order) and ``roles`` (role → "<graph>.<output>").
    """

    def __init__(self, path: Path, manifest: dict[str, Any], parts: _manifest.Parts) -> None:
        self.path = path
        self.manifest = manifest
        self.name: str = manifest["name"]
        self.digest: str = manifest["digest"]
        self.max_batch: int = manifest["max_batch"]
        self.space = Space(manifest["space"], *_manifest.similarity(manifest))
        self.image_spec: ImageSpec = parts.image
        self.text_spec: TextSpec | None = parts.text
        self.schema: Schema | None = parts.schema
        self.graphs: dict[str, Graph] = parts.graphs
        self.roles: dict[str, str] = parts.roles
        self.tokenizer_path = None if parts.text is None else path / manifest["text"]["tokenizer"]
        self._stamps = {name: _stamp(path / name) for name in manifest["files"]}

    @classmethod
    def open(cls, path: str | Path, verify: bool = True) -> Bundle:
        """Open the folder. ``verify=False`` skips only the hashes (a file just hashed by the caller).

        Raises one BundleError per kind of damage: BundleFormatError, BundleVersionError,
        BundlePathError, BundleMissingFileError, BundleDamagedError.
        """
        root = Path(path)
        try:
            manifest = _manifest.read(root / _manifest.NAME)
            parts = _manifest.check(manifest)
            paths = {name: _manifest.safe_path(root, name) for name in manifest["files"]}
            _check_present(manifest, paths)
            if verify:
                _check_hashes(manifest, paths)
            return cls(root, manifest, parts)
        except BundleError as error:
            raise type(error)(f"bundle {str(root)!r}: {error}") from error

    def role(self, name: str) -> tuple[str, str]:
        """(graph, output) that plays a role; raises MissingRoleError naming those the bundle has."""
        if name not in self.roles:
            raise MissingRoleError(
                f"bundle {self.name!r} has no graph for the role {name!r}; it has {', '.join(self.roles)}"
            )
        return split_target(self.roles[name])

    def graph_path(self, name: str) -> Path:
        """The graph's .onnx file; raises BundleDamagedError if its files changed since they were verified."""
        for file in self.graphs[name].files:
            if _stamp(self.path / file) != self._stamps[file]:
                raise BundleDamagedError(
                    f"bundle {str(self.path)!r}: {file!r} changed after the bundle was opened; open it again"
                )
        return self.path / self.graphs[name].files[0]

    def __repr__(self) -> str:
        return f"Bundle({str(self.path)!r}, name={self.name!r}, digest={self.digest[:12]}, {self.space})"


def write_bundle(
    out: str | Path,
    *,
    name: str,
    provenance: Mapping[str, Any],
    image: ImageSpec,
    text: TextSpec | None,
    schema: Schema | None,
    graphs: Mapping[str, Mapping[str, Any]],
    roles: Mapping[str, str],
    similarity: Mapping[str, int],
    max_batch: int,
    source_dir: str | Path,
    golden: Mapping[str, Any],
    parity: Mapping[str, Any] | None = None,
    calibration: Mapping[str, Any] | None = None,
    tokenizer: str = "tokenizer.json",
) -> Bundle:
    """Write a bundle from the graph files (and tokenizer) in ``source_dir``, and open it.

    ``graphs``, ``roles``, ``similarity`` and ``provenance`` are in the manifest's form (see
    ``sdk.manifest``); ``golden`` is what ``make_golden`` returned. All or nothing: it is written beside
    ``out``, synced, checked and renamed; a failure leaves nothing. An existing bundle at ``out`` is
    replaced; anything else there is refused (InputError).
    """
    out = Path(out)
    check_replaceable(out)
    manifest: dict[str, Any] = {
        "format": _manifest.FORMAT,
        "name": name,
        "provenance": {"labrador": installed("labrador-retriever") or "unknown", **provenance},
        "image": image.to_json(),
        "text": None if text is None else {"tokenizer": tokenizer, **text.to_json()},
        "schema": None if schema is None else schema.to_json(),
        "graphs": {graph: dict(data) for graph, data in graphs.items()},
        "roles": dict(roles),
        "similarity": dict(similarity),
        "max_batch": max_batch,
        "calibration": None if calibration is None else dict(calibration),
        "parity": None if parity is None else dict(parity),
        "golden": GOLDEN,
        "files": {},
        "space": "",
        "digest": "",
    }
    manifest = json.loads(json.dumps(manifest, allow_nan=False))  # tuples become lists, as a reader sees them
    stored = [Graph.from_json(graph, data) for graph, data in manifest["graphs"].items()]
    names = list(dict.fromkeys(file for graph in stored for file in graph.files))
    names += [] if text is None else [tokenizer]
    staging = out.parent / f".{out.name}.{uuid.uuid4().hex}"
    try:
        staging.mkdir(parents=True)
        for file in names:
            target = _manifest.safe_path(staging, file)
            if not (Path(source_dir) / file).is_file():
                raise BundleMissingFileError(f"source_dir: {str(Path(source_dir) / file)!r} isn't there")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(source_dir) / file, target)
        save_golden(staging / GOLDEN, golden)
        for file in (*names, GOLDEN):
            size, sha = _hash(staging / file)
            manifest["files"][file] = {"bytes": size, "sha256": sha}
        _manifest.check(manifest)
        manifest["space"] = _manifest.space_of(manifest)
        manifest["digest"] = _manifest.digest_of(manifest)
        text_form = json.dumps(_manifest.in_order(manifest), indent=1, ensure_ascii=False)
        (staging / _manifest.NAME).write_text(text_form + "\n", "utf-8")
        _sync(staging)
        Bundle.open(staging, verify=False)
        _publish(staging, out)
    except OSError as error:
        raise BundleError(f"bundle {str(out)!r}: can't be written ({error})") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Bundle.open(out, verify=False)


def check_replaceable(out: Path) -> None:
    """Nothing or a bundle may stand where a bundle is to be written; raises InputError for anything else."""
    if not os.path.lexists(out):
        return
    try:
        known = {"format", "graphs", "digest"} <= set(_manifest.read(out / _manifest.NAME))
    except BundleFormatError:
        known = False
    if not known or out.is_symlink():
        raise InputError(f"out: {str(out)!r} exists and is not a bundle; choose another place or remove it")


def _publish(staging: Path, out: Path) -> None:
    """Rename into place. Of an old bundle the folder moves away first, so that nobody ever sees a mixture;
    if the second rename fails it comes back."""
    old = out.parent / f".{out.name}.{uuid.uuid4().hex}"
    if out.exists():
        out.rename(old)
    try:
        staging.rename(out)
    except BaseException:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
    _sync_folder(out.parent)


def _sync(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            _sync_folder(path)
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _check_present(manifest: Mapping[str, Any], paths: Mapping[str, Path]) -> None:
    missing = [name for name, path in paths.items() if not path.is_file()]
    if missing:
        raise BundleMissingFileError(f"{_listed(missing)} missing; export or copy the bundle again")
    for name, path in paths.items():
        size, expected = path.stat().st_size, manifest["files"][name]["bytes"]
        if size != expected:
            raise BundleDamagedError(
                f"{name!r} has {size:,} bytes, the manifest says {expected:,}; copy the bundle again"
            )


def _check_hashes(manifest: Mapping[str, Any], paths: Mapping[str, Path]) -> None:
    for name, path in paths.items():
        if _hash(path)[1] != manifest["files"][name]["sha256"]:
            raise BundleDamagedError(
                f"{name!r} changed: its hash is not the manifest's; copy the bundle again"
            )
    for field, compute in (("digest", _manifest.digest_of), ("space", _manifest.space_of)):
        if compute(manifest) != manifest[field]:
            raise BundleDamagedError(
                f"{_manifest.NAME} changed: its {field} doesn't fit; copy the bundle again"
            )


def _hash(path: Path) -> tuple[int, str]:
    sha, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                sha.update(block)
                size += len(block)
    except OSError as error:
        raise BundleDamagedError(f"{path.name!r} can't be read ({error.strerror or error})") from error
    return size, sha.hexdigest()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(map(repr, names))} {'is' if len(names) == 1 else 'are'}"
