"""Other ways to the batch-hard triplet loss in both directions, in torch on the CPU.

They take what ours takes, (anchors, others, ids of both, margin), and return the mean over the anchors plus
the mean over the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def pytorch_metric_learning(a: Tensor, o: Tensor, ids: Tensor, margin: float) -> Tensor:
    from pytorch_metric_learning.distances import DotProductSimilarity
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import BatchHardMiner
    from pytorch_metric_learning.reducers import MeanReducer

    distance = DotProductSimilarity(normalize_embeddings=False)
    miner, loss = (
        BatchHardMiner(distance=distance),
        TripletMarginLoss(margin, distance=distance, reducer=MeanReducer()),
    )
    others = ids.clone()  # for one and the same tensor it would take row i of both sides for one item
    first: Tensor = loss(a, ids, miner(a, ids, o, others), o, others)
    second: Tensor = loss(o, ids, miner(o, ids, a, others), a, others)
    return first + second


def dense(a: Tensor, o: Tensor, ids: Tensor, margin: float) -> Tensor:
    """Gradients flow through the whole matrix of scores."""
    scores = a @ o.T
    same = ids[:, None] == ids[None, :]
    positive, negative = scores.masked_fill(~same, float("inf")), scores.masked_fill(same, float("-inf"))
    sides = [(negative.max(i).values - positive.min(i).values + margin).relu().mean() for i in (1, 0)]
    return sides[0] + sides[1]


def sparse(a: Tensor, o: Tensor, ids: Tensor, margin: float) -> Tensor:
    """Which rows without gradients, then only their scores with them: the strongest of the simple ways."""
    import torch

    with torch.no_grad():
        scores = a @ o.T
        same = ids[:, None] == ids[None, :]
        positive = scores.masked_fill(~same, float("inf"))
        negative = scores.masked_fill_(same, float("-inf"))
        chosen = [(positive.argmin(i), negative.argmax(i)) for i in (1, 0)]
    total = a.new_zeros(())
    for x, other, (p, n) in ((a, o, chosen[0]), (o, a, chosen[1])):
        total = total + ((x * (other[n] - other[p])).sum(1) + margin).relu().mean()
    return total


Loss = Callable[..., "Tensor"]
PEERS: dict[str, tuple[Loss, tuple[str, ...]]] = {
    "pytorch-metric-learning": (pytorch_metric_learning, ("pytorch-metric-learning",)),
    "eager dense": (dense, ("eager dense", "best eager")),
    "eager sparse": (sparse, ("eager sparse", "best eager")),
}
