"""What an indexing job is asked to index: a folder, or a CSV or Parquet list, read item by item.

Folder: every picture below it, depth first, names sorted; id = path relative to the folder with "/".
List: a row per picture; column ``path`` (absolute, or relative to the list's folder), optional ``id``
(without it the path as written), every other column is metadata, and every item's gets "path", absolute.
A CSV column whose filled cells are all whole numbers becomes int, all numbers float, else text; "007" and
whole numbers of more than 18 digits are text; an empty cell is left out. Ids from a CSV are text; a
Parquet id may be an integer column.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from .errors import EngineError, JobError
from .types import Id

_INT = re.compile(r"[+-]?(0|[1-9]\d{0,17})")
_FLOAT = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*|(?=[eE]))|\.\d+)([eE][+-]?\d{1,3})?")
_LIST_SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True)
class Item:
    """One picture to index. ``refused`` says why it can't be, before any work ("" when it can)."""

    id: Id
    path: str
    metadata: dict[str, Any]
    size: int  # bytes; -1: not there
    mtime: int  # nanoseconds
    refused: str = ""


@dataclass
class Listing:
    """The items of a source, read lazily; ``ignored`` counts, by reason, what was passed over on the way."""

    source: Path
    ignored: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[Item]:
        self.ignored.clear()
        if self.source.is_dir():
            yield from self._folder(self.source, "", (os.path.realpath(self.source),))
        elif self.source.suffix.lower() == ".csv":
            yield from _rows(_csv_rows(self.source), self.source)
        else:
            yield from _rows(_parquet_rows(self.source), self.source)

    def _folder(self, folder: Path, prefix: str, above: tuple[str, ...]) -> Iterator[Item]:
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            raise JobError(
                f"source: can't read the folder {str(folder)!r} ({error.strerror}); "
                "nothing was indexed. Make it readable, or give a list without it"
            ) from error
        for entry in entries:
            if entry.name.startswith("."):
                self.ignored["hidden"] += 1
            elif entry.is_dir():
                real = os.path.realpath(entry.path)
                if real in above:  # a link back to a folder that we are in
                    self.ignored["a link to a folder above it"] += 1
                else:
                    yield from self._folder(Path(entry.path), f"{prefix}{entry.name}/", (*above, real))
            elif (suffix := os.path.splitext(entry.name)[1].lower()) in image_suffixes():
                yield _item(prefix + entry.name, os.path.abspath(entry.path), {})
            else:
                self.ignored[suffix or "no suffix"] += 1


def open_listing(source: str | Path) -> Listing:
    """The listing of a folder, a .csv or a .parquet file.

    Raises JobError when it isn't one, can't be read, or names no picture.
    """
    path = Path(source)
    if not path.exists():
        raise JobError(f"source: {str(source)!r} doesn't exist; give a folder, a .csv or a .parquet list")
    if not path.is_dir() and path.suffix.lower() not in _LIST_SUFFIXES:
        raise JobError(f"source: {str(source)!r} is neither a folder nor a .csv or .parquet list")
    listing = Listing(path)
    if next(iter(listing), None) is None:
        seen = ", ".join(f"{n} {what}" for what, n in listing.ignored.most_common(5))
        raise JobError(f"source: no picture in {str(source)!r}" + (f"; passed over: {seen}" if seen else ""))
    return listing


@cache
def image_suffixes() -> frozenset[str]:
    """The file suffixes, lower case with their dot, of the formats that ``load_image`` decodes."""
    from PIL import Image

    from .decode import FORMATS

    return frozenset(s for s, name in Image.registered_extensions().items() if name in FORMATS)


def _item(id: Id, path: str, metadata: dict[str, Any]) -> Item:
    size, mtime, refused = -1, 0, ""
    try:
        found = os.stat(path)
        size, mtime = found.st_size, found.st_mtime_ns
        if not stat.S_ISREG(found.st_mode):  # reading a pipe would wait forever
            refused = "not a regular file"
    except (OSError, ValueError):  # not there; the job will say so
        pass
    try:
        length = len(id.encode()) if isinstance(id, str) else 1
        path.encode()
    except UnicodeEncodeError:  # a file name in another encoding
        shown = [os.fsencode(t).decode(errors="backslashreplace") for t in (str(id), path)]
        return Item(shown[0], shown[1], metadata, size, mtime, "its name isn't UTF-8; rename the file")
    if length > 256:
        refused = f"its id has {length} bytes, 256 are allowed; give a list with an id column"
    return Item(id, path, {**metadata, "path": path}, size, mtime, refused)


def _rows(rows: Iterator[tuple[int, dict[str, Any]]], source: Path) -> Iterator[Item]:
    folder = os.path.abspath(source.parent)
    for line, row in rows:
        path = row.pop("path", None)
        id = row.pop("id", path)
        if not isinstance(path, str) or not path:
            raise JobError(f"source: {source.name} row {line} has no path")
        if isinstance(id, bool) or not isinstance(id, str | int) or id == "":
            raise JobError(f"source: {source.name} row {line}: id {id!r} is neither a text nor an integer")
        yield _item(id, os.path.abspath(os.path.join(folder, path)), row)


def _check_columns(names: list[str], source: Path) -> None:
    if "path" not in names:
        raise JobError(
            f"source: {source.name} has no column 'path'; its columns are {', '.join(names) or 'none'}"
        )
    if twice := [name for name, n in Counter(names).items() if n > 1]:
        raise JobError(f"source: {source.name} has the column {twice[0]!r} twice")


def _csv_rows(source: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, row) with each column converted as a whole; so the file is read twice."""
    kinds: dict[str, int] = {}  # column → 0 int, 1 float, 2 text
    for _, raw in _csv_cells(source):
        for name, cell in raw.items():
            kind = 0 if _INT.fullmatch(cell) else 1 if _is_float(cell) else 2
            kinds[name] = max(kinds.get(name, 0), kind)
    kinds["path"] = kinds["id"] = 2
    convert = (int, float, str)
    for line, raw in _csv_cells(source):
        yield line, {name: convert[kinds[name]](cell) for name, cell in raw.items()}


def _is_float(cell: str) -> bool:
    return bool(_FLOAT.fullmatch(cell)) and math.isfinite(float(cell))


def _csv_cells(source: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, the filled cells of a row by column)."""
    try:
        with source.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            names = next(reader, [])
            _check_columns(names, source)
            for cells in reader:
                if len(cells) > len(names):
                    raise JobError(
                        f"source: {source.name} line {reader.line_num} has {len(cells)} cells "
                        f"for {len(names)} columns; quote cells that hold a comma"
                    )
                if any(cells):
                    yield reader.line_num, {n: c for n, c in zip(names, cells, strict=False) if c != ""}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise JobError(f"source: can't read {str(source)!r} as UTF-8 CSV: {error}") from error


def _parquet_rows(source: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise EngineError(
            "reading a Parquet list needs pyarrow; type: pip install 'labrador-retriever[parquet]'"
        ) from error
    try:
        with parquet.ParquetFile(source) as file:
            _check_columns(list(file.schema_arrow.names), source)
            line = 0
            for batch in file.iter_batches(batch_size=4096):
                for row in batch.to_pylist():
                    line += 1
                    cells = {name: _plain(value, name, source) for name, value in row.items()}
                    yield line, {name: value for name, value in cells.items() if value is not None}
    except (OSError, arrow.ArrowException) as error:
        raise JobError(f"source: can't read {str(source)!r} as Parquet: {error}") from error


def _plain(value: Any, name: str, source: Path) -> Any:
    """A Parquet cell as JSON can hold it; None for what is missing (null, NaN)."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise JobError(
            f"source: {source.name} column {name!r} holds {type(value).__name__}, "
            "which metadata can't hold; drop the column"
        ) from error
    return value
