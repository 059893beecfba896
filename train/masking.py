"""Hide words of a caption for masked language modelling, with the ids of CLIP's byte-pair vocabulary.

CLIP has no mask token. IRRA's released code gives the last merge's slot to one: id 49405, in the stock
vocabulary the word "jekyll". Start and end of text (49406, 49407), padding (0) and that word are never
hidden, so the end stays the largest id of its row, where the text tower pools.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

MASK = 49405
VOCABULARY = 49408
RATE = 0.15
REPLACED, RANDOM = 0.8, 0.1  # of the hidden: by MASK, by a random id; the rest stay as they are


def mask_tokens(
    ids: Tensor,
    chance: Sequence[np.random.Generator],
    rate: float | npt.NDArray[np.floating[Any]] = RATE,
) -> tuple[Tensor, Tensor]:
    """(b, t) int64 ids → masked (b, t), and targets (b, t): the hidden id, 0 where there is nothing to guess.

    chance: one generator per row. rate: a token's chance of being hidden, or (b, t) of them. Of the hidden,
    80 % become MASK, 10 % a random id of 1 … 49404, 10 % stay. A row in which chance hid nothing has the
    token after the start replaced by MASK, as in IRRA (not an end of text, though, which IRRA would take).
    """
    tokens = ids.numpy()
    hides, ways = np.empty((2, *tokens.shape))
    randoms = np.empty_like(tokens)
    for row, rng in enumerate(chance):
        hides[row], ways[row] = rng.random((2, tokens.shape[1]))
        randoms[row] = rng.integers(1, MASK, tokens.shape[1])
    candidates = (tokens > 0) & (tokens < MASK)
    hidden = candidates & (hides < rate)
    without = ~hidden.any(axis=1)
    hidden[without, 1] = candidates[without, 1]
    ways[without, 1] = 0
    masked = np.where(ways < REPLACED, MASK, np.where(ways < REPLACED + RANDOM, randoms, tokens))
    masked = np.where(hidden, masked, tokens)
    return torch.from_numpy(masked), torch.from_numpy(np.where(hidden, tokens, 0))
