"""Which files an .onnx graph would read beside itself, without the onnx package.

A manifest vouches for the files it lists; weights that a graph pulls from any other file would run
unverified. So the few protobuf fields that can name a file are followed here (onnx.proto: numbers are
part of the format and never change), and everything else is skipped by its length.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from ..errors import BundleFormatError

# message → {field number: message}; a leaf "string" is read.
_FIELDS = {
    "model": {7: "graph", 25: "function"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_DEPTH = 64  # graphs within graphs; onnx files hold a handful


def external_files(path: Path) -> set[str]:
    """The ``location`` of every externally stored tensor; BundleFormatError if it isn't protobuf."""
    if path.stat().st_size == 0:
        raise BundleFormatError(f"graph file {path.name!r} is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return set(_walk(data, 0, len(data), "model", 0))
        except (IndexError, ValueError) as error:
            raise BundleFormatError(f"graph file {path.name!r} is not ONNX ({error})") from error


def _walk(data: mmap.mmap, at: int, end: int, message: str, depth: int) -> Iterator[str]:
    if depth > _DEPTH:
        raise ValueError("graphs are nested too deeply")
    for field, start, stop in _lengths(data, at, end):
        inner = _FIELDS[message].get(field)
        if inner == "entry":
            pair = {number: data[a:b] for number, a, b in _lengths(data, start, stop)}
            if pair.get(1) == b"location":
                yield pair.get(2, b"").decode("utf-8")
        elif inner is not None:
            yield from _walk(data, start, stop, inner, depth + 1)


def _lengths(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(field number, start, stop) of every length-delimited field in data[at:end]."""
    while at < end:
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            _, at = _varint(data, at)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        elif wire == 2:
            size, at = _varint(data, at)
            if at + size > end:
                raise ValueError("a field is longer than its message")
            yield key >> 3, at, at + size
            at += size
        else:
            raise ValueError(f"wire type {wire}")


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number is longer than 64 bits")
