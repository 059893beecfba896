"""Which attributes a vector speaks of: one classifier per slot, and its graph that a bundle may hold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdk.attributes import Schema
from sdk.recognition import GRAPH, OUTPUT, columns
from train.encoder import DualEncoder, GraphExport
from train.heads import classifier


class AttributeHead(nn.Module):
    """A softmax over each slot's values, from (n, d) features of any length: only their direction counts.

    Inside, a slot's values stand in sorted order, as ``train.prompted.codes`` numbers them.
    """

    table: Tensor
    missing: Tensor
    place: Tensor

    def __init__(self, schema: Schema, dim: int) -> None:
        super().__init__()
        at = {pair: place for place, pair in enumerate(columns(schema))}
        widest = max(len(values) for values in schema.slots.values())
        rows = [[at[slot, value] for value in sorted(values)] for slot, values in schema.slots.items()]
        table = torch.tensor([row + [-1] * (widest - len(row)) for row in rows])  # (s, w) column numbers
        place = torch.empty(len(at), dtype=torch.int64)
        place[table[table >= 0]] = torch.arange(table.numel())[table.flatten() >= 0]
        self.scale = math.sqrt(dim)  # the length of a vector of ones, which a norm layer would give it
        self.classifier = classifier(dim, len(at))
        self.register_buffer("table", table.clamp(min=0), persistent=False)
        self.register_buffer("missing", table < 0, persistent=False)
        self.register_buffer("place", place, persistent=False)

    def logits(self, features: Tensor) -> Tensor:
        """(n, d) → (n, s, w); -inf where a slot has fewer than w values."""
        every = self.classifier(F.normalize(features, dim=-1) * self.scale)
        return every[:, self.table].masked_fill(self.missing, -torch.inf)

    def forward(self, features: Tensor) -> Tensor:
        """(n, d) → (n, v) probabilities, in the order of ``sdk.recognition.columns``."""
        return F.softmax(self.logits(features), dim=-1).flatten(1)[:, self.place]


def guessing(logits: Tensor, codes: Tensor) -> Tensor:
    """(b, s, w) logits of each slot's values, (b, s) int64 values, -1 for none: the mean cross-entropy.

    0 with a gradient when no value is known.
    """
    total = F.cross_entropy(logits.flatten(0, 1), codes.flatten(), ignore_index=-1, reduction="sum")
    return total / (codes >= 0).sum().clamp(min=1)


class AttributeEncoder(DualEncoder):
    """Two towers with an AttributeHead, which reads the image vectors and becomes a graph of the bundle."""

    def __init__(self, encoder: DualEncoder, head: AttributeHead) -> None:
        super().__init__(
            encoder.tower,
            encoder.image_spec,
            recipe=encoder.recipe,
            schema=encoder.schema,
            provenance=encoder.provenance,
        )
        self.head = head

    def extras(self) -> dict[str, Any]:
        return {"attribute_head": self.head.state_dict()}

    def export_graphs(self) -> Iterator[GraphExport]:
        """The towers' graphs, then ``attributes``: image features → a probability for each value."""
        yield from super().export_graphs()
        some = torch.randn(2, self.tower.dim, generator=torch.Generator().manual_seed(0))
        outputs = {OUTPUT: ("n", self.head.classifier.out_features)}
        yield GraphExport(
            GRAPH, self.head, (F.normalize(some, dim=1),), {"features": self.roles["gallery"]}, outputs
        )


def restore_head(encoder: DualEncoder, extras: Mapping[str, Any]) -> DualEncoder:
    """The encoder of a checkpoint with the head that its ``extras`` hold; as it is where they hold none."""
    if "attribute_head" not in extras or encoder.schema is None:
        return encoder
    head = AttributeHead(encoder.schema, encoder.tower.dim)
    head.load_state_dict(extras["attribute_head"])
    return AttributeEncoder(encoder, head)
