"""The graph ``attributes`` of a bundle beside the module it was made of: the same vectors to both.

Vectors are its input, since it is asked of what a gallery stores (sdk.recognition); how well pictures become
vectors is judged elsewhere. It gets those of pictures, and made-up ones that point anywhere: pictures show a
few of the values, and the weights behind the others would go unseen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sdk.bundle import Bundle
from sdk.recognition import GRAPH, OUTPUT, TARGET
from sdk.types import Session

from .convert import Array, run_torch
from .gate import Check, independence, logarithms, parity
from .probes import rows_of

if TYPE_CHECKING:
    from train.checkpoint import GraphExport


def recognition(
    graph: GraphExport, bundle: Bundle, session: Session, pictures: Array, batches: Sequence[int]
) -> Iterator[Check]:
    """Probabilities on batches of these sizes. pictures: (m, d) or (m, t, d), torch's vectors of some."""
    rows = rows_of(batches)
    items = 1 + max(max(row) for row in rows.values())
    made = np.random.default_rng(0).standard_normal((items, *pictures.shape[1:]))
    vectors = (made / np.linalg.norm(made, axis=-1, keepdims=True)).astype(np.float32)
    vectors[::2] = pictures[np.arange(len(vectors[::2])) % len(pictures)]
    [(name, source)] = graph.inputs.items()
    torch, engine = {}, {}
    for b, row in rows.items():
        torch[b] = run_torch([graph], {source: vectors[row]})[TARGET]
        engine[b] = session.run(GRAPH, {name: vectors[row]})[OUTPUT]
    yield from parity(TARGET, torch, engine, unit=False)
    yield from independence(TARGET, engine)
    yield logarithms(TARGET, torch, engine)
