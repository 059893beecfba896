"""A filter's rows as bits: evaluated once per block, kept until the block is gone."""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from . import rows
from .columns import MISSING, Column, encode_field, fields_of, matches
from .filters import Node
from .segments import Bits
from .snapshot import Segment, Snapshot, first_rows, verify

_FILTERS = 64  # kept; a million rows take 128 kB each


@dataclass
class Tail:
    """Metadata of the rows of a segment's last, unfinished block, which has no columns yet."""

    first: int
    documents: list[dict[str, Any]] = field(default_factory=list)


class Masks:
    """Evaluates filters for snapshots. Full blocks never change, so only what is new is looked at."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._full: OrderedDict[Node, dict[int, Bits]] = OrderedDict()  # per segment, its full blocks
        self._tails: dict[int, Tail] = {}
        self._generation = 0

    def forget(self) -> None:
        """After fork: another thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    def of(self, connection: sqlite3.Connection, snapshot: Snapshot, node: Node | None) -> list[Bits | None]:
        """Per segment, which rows exist and match; None stands for all rows."""
        if node is None:
            return [segment.live for segment in snapshot.segments]
        found = snapshot.masks.get(node)
        if found is None:
            with self._lock:
                if snapshot.generation < self._generation:  # what is kept already knows of later removals
                    found = Masks()._evaluate(connection, snapshot, node)
                else:
                    found = self._evaluate(connection, snapshot, node)
                snapshot.masks[node] = found
                if len(snapshot.masks) > _FILTERS:
                    del snapshot.masks[next(iter(snapshot.masks))]
        return list(found)

    def _evaluate(self, connection: sqlite3.Connection, snapshot: Snapshot, node: Node) -> list[Bits]:
        if snapshot.generation > self._generation:
            self._prune({segment.id for segment in snapshot.segments})
            self._generation = snapshot.generation
        kept = self._full.setdefault(node, {})
        self._full.move_to_end(node)
        if len(self._full) > _FILTERS:
            self._full.popitem(last=False)
        fields = _field_ids(connection, fields_of(node))
        result = []
        for segment in snapshot.segments:
            full = segment.rows // snapshot.layout.block_rows
            kept[segment.id] = self._blocks(connection, snapshot, segment, node, fields, kept.get(segment.id))
            size = full * snapshot.layout.block_rows // 8
            bits = np.zeros(-(-segment.rows // 8), np.uint8)
            bits[:size] = kept[segment.id][:size]
            rest = segment.rows - 8 * size
            if rest:
                documents = self._tail(connection, snapshot, segment)[:rest]
                bits[size:] = np.packbits(_match_documents(node, documents), bitorder="little")
            bits &= first_rows(segment.rows) if segment.live is None else segment.live
            result.append(bits)
        return result

    def _blocks(
        self,
        connection: sqlite3.Connection,
        snapshot: Snapshot,
        segment: Segment,
        node: Node,
        fields: dict[str, int],
        kept: Bits | None,
    ) -> Bits:
        """Bits of a segment's full blocks, carried on from the ones already known."""
        size = snapshot.layout.block_rows
        known = 0 if kept is None else 8 * len(kept) // size
        full = segment.rows // size
        if kept is not None and known >= full:
            return kept
        columns: dict[tuple[str, int], Column] = {}
        for name, number in fields.items():
            stored = connection.execute(
                "SELECT block, data FROM columns WHERE field = ? AND segment = ? AND block BETWEEN ? AND ?",
                (number, segment.id, known, full - 1),
            )
            columns.update({(name, block): Column(data, size) for block, data in stored})

        def column(block: int, name: str) -> Column | None:
            return columns.get((name, block))

        found = np.empty((full - known, size), np.bool_)
        for block in range(known, full):
            found[block - known] = matches(node, partial(column, block), size)
        bits = np.packbits(found.ravel(), bitorder="little")
        return bits if kept is None else np.concatenate([kept, bits])

    def _tail(
        self, connection: sqlite3.Connection, snapshot: Snapshot, segment: Segment
    ) -> list[dict[str, Any]]:
        """Metadata of the rows after the last full block; whatever for rows that are gone."""
        first = segment.rows - segment.rows % snapshot.layout.block_rows
        tail = self._tails.get(segment.id)
        if tail is None or tail.first != first:
            tail = self._tails[segment.id] = Tail(first)
        start = first + len(tail.documents)
        if start < segment.rows:
            last = np.zeros(segment.rows, np.bool_)
            last[first:] = True
            bits = np.packbits(last, bitorder="little")
            verify(connection, snapshot, [(segment, bits)], ("places",))
            places = segment.mapped.places[start : segment.rows].tolist()
            found = rows.at_places(connection, places, "metadata")
            tail.documents += rows.documents(found.get(place, ("{}",))[0] for place in places)
        return tail.documents

    def _prune(self, segments: set[int]) -> None:
        for kept in self._full.values():
            for gone in kept.keys() - segments:
                del kept[gone]
        for gone in self._tails.keys() - segments:
            del self._tails[gone]


def _field_ids(connection: sqlite3.Connection, names: set[str]) -> dict[str, int]:
    query = "SELECT id FROM fields WHERE name = ?"
    found = {name: connection.execute(query, (name,)).fetchone() for name in names}
    return {name: row[0] for name, row in found.items() if row}


def _match_documents(node: Node, documents: list[dict[str, Any]]) -> Any:
    columns: dict[str, Column | None] = {}

    def column(name: str) -> Column | None:
        if name not in columns:
            values = [d.get(name, MISSING) for d in documents]
            columns[name] = Column(encode_field(values), len(documents))
        return columns[name]

    return matches(node, column, len(documents))
