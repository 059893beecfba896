"""What stored vectors say of their pictures' attributes: the graph ``attributes`` that a bundle may have.

It plays no role. Its one input is the output that plays ``gallery``, so that items can be asked without
their pictures; its one output, ``probabilities`` (n, v), gives every value of every slot of the bundle's
schema its probability, in the sorted order of (slot, value); those of a slot add up to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from .attributes import Schema
from .errors import BundleFormatError, EngineError
from .graphs import Graph
from .types import Floats

if TYPE_CHECKING:
    from .bundle import Bundle
    from .types import Session

GRAPH, OUTPUT = "attributes", "probabilities"
TARGET = f"{GRAPH}.{OUTPUT}"  # as the gate and the golden samples name it


def columns(schema: Schema) -> list[tuple[str, str]]:
    """The (slot, value) of each probability."""
    return sorted((slot, value) for slot, values in schema.slots.items() for value in values)


def check_graph(graphs: Mapping[str, Graph], roles: Mapping[str, str], schema: Schema | None) -> None:
    """Raise BundleFormatError when there is such a graph and it isn't what this file says."""
    graph = graphs.get(GRAPH)
    if graph is None:
        return
    wanted = {OUTPUT: (len(columns(schema)),)} if schema else {}
    if list(graph.inputs.values()) != [roles["gallery"]] or dict(graph.outputs) != wanted:
        raise BundleFormatError(
            f"graphs.{GRAPH}: takes {', '.join(graph.inputs.values())} and gives {dict(graph.outputs)}; it "
            f"must take {roles['gallery']}, which plays the gallery, and give {OUTPUT} for each value of the "
            f"schema: {wanted or 'there is none'}"
        )


def tells(bundle: Bundle) -> bool:
    """Whether the bundle has the graph, and so its schema (``check_graph``)."""
    return GRAPH in bundle.graphs


def recognise(bundle: Bundle, session: Session, vectors: Floats) -> list[dict[str, dict[str, float]]] | None:
    """Per vector, (n, d) or (n, t, d) as stored, slot → value → probability; None without such a graph.

    Raises EngineError or BundleFormatError when the graph gives something else than probabilities.
    """
    if not tells(bundle) or bundle.schema is None:
        return None
    [name] = bundle.graphs[GRAPH].inputs
    names, found = columns(bundle.schema), []
    for start in range(0, len(vectors), bundle.max_batch):
        rows = np.ascontiguousarray(vectors[start : start + bundle.max_batch], np.float32)
        values = session.run(GRAPH, {name: rows})[OUTPUT]
        if values.shape != (len(rows), len(names)):
            raise BundleFormatError(
                f"graph {GRAPH!r}: gave {values.shape} for {len(rows)} vectors, not (n, {len(names)})"
            )
        if not ((values >= -1e-3) & (values <= 1 + 1e-3)).all():  # NaN fails too
            raise EngineError(
                f"graph {GRAPH!r} gave values that aren't probabilities; run python -m sdk doctor"
            )
        for row in values.tolist():
            said: dict[str, dict[str, float]] = {slot: {} for slot in bundle.schema.slots}
            for (slot, value), probability in zip(names, row, strict=True):
                said[slot][value] = probability
            found.append(said)
    return found
