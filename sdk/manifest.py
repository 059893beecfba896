"""``manifest.json``: read strictly, checked field by field, hashed canonically.

{"format": 1, "name": "clip",
 "provenance": {"recipe": "clip", "data": "drawn", "licence": "…", "checkpoint": "<sha256>" or null,
                "labrador": "0.1.0"},
 "image": {ImageSpec}, "text": {"tokenizer": "tokenizer.json", TextSpec} or null,
 "schema": {Schema} or null,
 "graphs": {name: {"files": […], "inputs": {…}, "outputs": {name: ["n", d]}}},
 "roles": {"gallery": "image.features", "query.text": "text.features"},
 "similarity": {"dim": 128, "tokens": 1, "top_tokens": 1}, "max_batch": 64,
 "calibration": null, "parity": {…} or null, "golden": "golden.npz",
 "files": {"image.onnx": {"bytes": 1, "sha256": "…"}}, "space": "<hex>", "digest": "<hex>"}
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from .attributes import Schema
from .errors import (
    BundleFormatError,
    BundlePathError,
    BundleVersionError,
    InputError,
)
from .graphs import MASK, Graph, check_roles, closure, ordered, sources
from .preprocess import ImageSpec, TextSpec
from .recognition import check_graph

FORMAT = 1
NAME = "manifest.json"
MAX_BYTES = 16 * 2**20  # a manifest is a few kB; more is not one, and isn't read into memory
_HEX = re.compile(r"[0-9a-f]{64}")
_KINDS: dict[str, tuple[type, ...]] = {
    "format": (int,),
    "name": (str,),
    "provenance": (dict,),
    "image": (dict,),
    "text": (dict, type(None)),
    "schema": (dict, type(None)),
    "graphs": (dict,),
    "roles": (dict,),
    "similarity": (dict,),
    "max_batch": (int,),
    "calibration": (dict, type(None)),
    "parity": (dict, type(None)),
    "golden": (str,),
    "files": (dict,),
    "space": (str,),
    "digest": (str,),
}


@dataclass(frozen=True)
class Parts:
    """The manifest's fields as what they mean; graphs in running order."""

    image: ImageSpec
    text: TextSpec | None
    schema: Schema | None
    graphs: dict[str, Graph]
    roles: dict[str, str]


def read(path: Path) -> dict[str, Any]:
    """The JSON object in the file; raises BundleFormatError for anything else, incl. a field given twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            twice = next(name for name, _ in pairs if [n for n, _ in pairs].count(name) > 1)
            raise BundleFormatError(f"{NAME}: the field {twice!r} is given twice")
        return fields

    def refuse(number: str) -> Any:
        raise BundleFormatError(f"{NAME}: {number} is not a JSON number")

    try:
        if path.stat().st_size > MAX_BYTES:
            raise BundleFormatError(f"{NAME}: is larger than a manifest may be ({MAX_BYTES:,} bytes)")
        data = json.loads(path.read_text("utf-8"), object_pairs_hook=once, parse_constant=refuse)
        canonical(data)  # refuses what JSON can say but no hash can cover: 1e999, half of a character
    except OSError as error:
        raise BundleFormatError(
            f"{NAME}: can't be read ({error.strerror or error}); a bundle is a folder with a {NAME}, "
            "as python -m export.onnx writes it"
        ) from error
    except (ValueError, RecursionError) as error:
        raise BundleFormatError(f"{NAME}: is not JSON in UTF-8 ({error})") from error
    if not isinstance(data, dict):
        raise BundleFormatError(f"{NAME}: holds {type(data).__name__}; a manifest is an object")
    return data


def check(manifest: Mapping[str, Any]) -> Parts:
    """Check version, then every field, and take them apart; raises BundleVersionError, BundleFormatError."""
    version = manifest.get("format")
    if type(version) is not int or version < 1:
        raise BundleFormatError(f"format: got {version!r}; allowed is {FORMAT}")
    if version > FORMAT:
        raise BundleVersionError(
            f"format {version} is newer than this Labrador, which reads up to {FORMAT}; "
            "pip install --upgrade labrador-retriever"
        )
    for name, kinds in _KINDS.items():
        if name not in manifest:
            raise BundleFormatError(f"the field {name!r} is missing")
        if type(manifest[name]) not in kinds:
            raise BundleFormatError(
                f"{name}: got {type(manifest[name]).__name__}; allowed is {_listed(kinds)}"
            )
    if unknown := sorted(set(manifest) - set(_KINDS)):
        raise BundleFormatError(f"unknown field {unknown[0]!r}; format {FORMAT} has {', '.join(_KINDS)}")
    if missing := {"recipe", "data", "licence", "checkpoint"} - set(manifest["provenance"]):
        raise BundleFormatError(f"provenance: the field {min(missing)!r} is missing")
    if manifest["max_batch"] < 1:
        raise BundleFormatError(f"max_batch: got {manifest['max_batch']}; allowed are whole numbers from 1")
    _check_files(manifest)
    dim, tokens, _ = similarity(manifest)
    graphs = ordered({name: Graph.from_json(name, data) for name, data in manifest["graphs"].items()})
    roles = check_roles(manifest["roles"], graphs, dim, tokens)
    try:
        text = None if manifest["text"] is None else TextSpec.from_json(manifest["text"])
        schema = None if manifest["schema"] is None else Schema.from_json(manifest["schema"])
        parts = Parts(ImageSpec.from_json(manifest["image"]), text, schema, graphs, roles)
    except InputError as error:
        raise BundleFormatError(str(error)) from error
    _check_needs(parts)
    return parts


def similarity(manifest: Mapping[str, Any]) -> tuple[int, int, int]:
    """(dim, tokens, top_tokens); raises BundleFormatError."""
    values = tuple(manifest["similarity"].get(name) for name in ("dim", "tokens", "top_tokens"))
    if set(manifest["similarity"]) != {"dim", "tokens", "top_tokens"} or not all(
        type(v) is int and v > 0 for v in values
    ):
        raise BundleFormatError(
            f"similarity: got {manifest['similarity']!r}; give dim, tokens, top_tokens, each from 1"
        )
    dim, tokens, top_tokens = values
    if top_tokens > tokens:
        raise BundleFormatError(f"similarity: top_tokens={top_tokens} is above tokens={tokens}")
    return dim, tokens, top_tokens


def safe_path(root: Path, name: str) -> Path:
    """``root / name``; raises BundlePathError when it would leave ``root``, by name or through a link."""
    pure = PurePosixPath(name)
    plain = bool(name) and not set("\\\0") & set(name) and str(pure) == name and name not in (".", NAME)
    if not plain or pure.is_absolute() or ".." in pure.parts or PureWindowsPath(name).drive:
        raise BundlePathError(f"files: {name!r} is not a plain path inside the bundle")
    try:
        inside = (root / name).resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a link that leads to itself
        inside = False
    if not inside:
        raise BundlePathError(
            f"files: {name!r} is a link that leaves the bundle; copy the bundle with its files (cp -rL)"
        )
    return root / name


def canonical(data: Any) -> bytes:
    """One spelling of a JSON value: sorted keys, no spaces, UTF-8."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def in_order(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The fields in the order a person reads them."""
    return {name: manifest[name] for name in _KINDS}


def digest_of(manifest: Mapping[str, Any]) -> str:
    """Integrity: SHA-256 over the whole manifest (which holds every file's hash) but the digest itself."""
    return hashlib.sha256(canonical({k: v for k, v in manifest.items() if k != "digest"})).hexdigest()


def space_of(manifest: Mapping[str, Any]) -> str:
    """Comparability: SHA-256 over what defines gallery vectors: the gallery role's graphs with the hashes
    of their files, the picture preprocessing, and the similarity. Nothing else moves it."""
    graphs = ordered({name: Graph.from_json(name, data) for name, data in manifest["graphs"].items()})
    target = manifest["roles"]["gallery"]
    behind = {
        name: {
            **graphs[name].to_json(),
            "files": [manifest["files"][file]["sha256"] for file in graphs[name].files],
        }
        for name in closure(graphs, target)
    }
    parts = {
        "gallery": target,
        "graphs": behind,
        "image": ImageSpec.from_json(manifest["image"]).to_json(),
        "similarity": manifest["similarity"],
    }
    return hashlib.sha256(canonical(parts)).hexdigest()


def _check_files(manifest: Mapping[str, Any]) -> None:
    for name, entry in manifest["files"].items():
        size, sha = (entry.get("bytes"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
        if type(size) is not int or size < 0 or not isinstance(sha, str) or not _HEX.fullmatch(sha):
            raise BundleFormatError(f"files.{name}: got {entry!r}; give bytes and sha256")
    named = [("golden", manifest["golden"])]
    if manifest["text"] is not None:
        named.append(("text.tokenizer", manifest["text"].get("tokenizer")))
    for graph, data in manifest["graphs"].items():
        files = data.get("files") if isinstance(data, dict) else None
        named += [(f"graphs.{graph}.files", file) for file in (files if isinstance(files, list) else [])]
    for where, file in named:
        if not isinstance(file, str) or file not in manifest["files"]:
            raise BundleFormatError(f"{where}: {file!r} is not among 'files', so nothing vouches for it")


def _check_needs(parts: Parts) -> None:
    check_graph(parts.graphs, parts.roles, parts.schema)
    for role, target in parts.roles.items():
        need = sources(parts.graphs, target)
        if role in ("query.text", "query.attributes", "query.composed") and parts.text is None:
            raise BundleFormatError(f"roles.{role}: needs the field 'text', which is null")
        if role == "query.attributes" and parts.schema is None:
            raise BundleFormatError("roles.query.attributes: needs the field 'schema', which is null")
        if MASK in need and not (parts.text and parts.text.mask):
            raise BundleFormatError(f"roles.{role}: needs {MASK}, but text.mask is false")


def _listed(kinds: tuple[type, ...]) -> str:
    names = {int: "a whole number", str: "a string", dict: "an object", type(None): "null"}
    return " or ".join(names[k] for k in kinds)
