"""Cross-attention of one modality to the other, then transformer blocks: IRRA's interaction encoder.

Shapes, order and initial weights are those of IRRA's released code (arXiv 2303.12501, model/build.py);
activations are QuickGELU whatever the towers use. Names matter: train/optim.py's rule ``irra`` gives
5 x lr to what has "cross" or "mlm_head" in its name, so the attention and the blocks have it and the norms
around them don't.
"""

from __future__ import annotations

import torch
from open_clip import SimpleTokenizer
from open_clip.transformer import LayerNorm, QuickGELU, ResidualAttentionBlock
from torch import Tensor, nn

from sdk.errors import InputError
from train.encode import evaluating
from train.encoder import DualEncoder
from train.masking import MASK, VOCABULARY

HEAD_WIDTH = 64  # numbers per attention head, as in CLIP: 8 heads at 512


class CrossModalEncoder(nn.Module):
    """Tokens of one modality that have looked at those of the other: (b, q, d), (b, k, d) → (b, q, d).

    Norms on both sides, one cross-attention *without* a residual around it, ``layers`` pre-norm blocks,
    a norm. Nothing is masked: padding takes part on both sides, as in the source. norm_between: one more
    norm between the cross-attention and the blocks, which SEN's decoder has.
    """

    def __init__(self, dim: int, layers: int = 4, norm_between: bool = False) -> None:
        super().__init__()
        heads = dim // HEAD_WIDTH if dim % HEAD_WIDTH == 0 else 1
        self.ln_pre_query, self.ln_pre_memory = LayerNorm(dim), LayerNorm(dim)
        self.cross_attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.ln_between = LayerNorm(dim) if norm_between else nn.Identity()
        blocks = [ResidualAttentionBlock(dim, heads, act_layer=QuickGELU) for _ in range(layers)]
        self.cross_blocks = nn.Sequential(*blocks)
        self.ln_post = LayerNorm(dim)
        _init_attention(self.cross_attn, dim, layers)
        for block in blocks:
            _init_attention(block.attn, dim, layers)
            nn.init.normal_(block.mlp.c_fc.weight, std=_inner_std(dim))
            nn.init.normal_(block.mlp.c_proj.weight, std=_output_std(dim, layers))

    def forward(self, queries: Tensor, memory: Tensor, wanted: Tensor | None = None) -> Tensor:
        """wanted: (n,) ascending places in the flattened b · q; then those alone come back, (n, d).

        They are equal to the same places of the whole: the last block computes nothing for the others but
        keys and values.
        """
        memory = self.ln_pre_memory(memory)
        seen, _ = self.cross_attn(self.ln_pre_query(queries), memory, memory, need_weights=False)
        states = self.ln_between(seen)
        if wanted is None:
            fused: Tensor = self.ln_post(self.cross_blocks(states))
            return fused
        last = self.cross_blocks[-1]
        return self.ln_post(_at(last, self.cross_blocks[:-1](states), wanted))


class VocabularyHead(nn.Module):
    """(…, d) → (…, vocabulary) logits: linear, QuickGELU, norm, linear. Call it ``mlm_head`` in the heads."""

    def __init__(self, dim: int, vocabulary: int, layers: int = 4) -> None:
        """layers: of the encoder before it, which the source scales the last weights by."""
        super().__init__()
        self.dense, self.gelu, self.ln = nn.Linear(dim, dim), QuickGELU(), LayerNorm(dim)
        self.fc = nn.Linear(dim, vocabulary)
        nn.init.normal_(self.dense.weight, std=_inner_std(dim))
        nn.init.normal_(self.fc.weight, std=_output_std(dim, layers))

    def forward(self, states: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.ln(self.gelu(self.dense(states))))
        return logits


@torch.no_grad()
def check_tokens(encoder: DualEncoder) -> None:
    """Raise InputError unless both towers give tokens, and texts are in CLIP's vocabulary, which MASK is of.

    It runs one black picture and one word, so that a training doesn't find out at its first step.
    """
    tower, tokenizer = encoder.tower, encoder.tokenizer
    if not isinstance(tokenizer, SimpleTokenizer) or tokenizer.vocab_size != VOCABULARY:
        raise InputError(
            f"model: {tower.name}'s texts aren't in CLIP's vocabulary of {VOCABULARY}, whose id {MASK} "
            f"hides words here; take a model with CLIP's own tokenizer, such as ViT-B-16 or labrador-tiny"
        )
    with evaluating(encoder):
        tower.image_tokens(torch.zeros(1, 3, *tower.image_size))
        tower.text_tokens(tokenizer(["person"]))


def _at(block: ResidualAttentionBlock, states: Tensor, wanted: Tensor) -> Tensor:
    """(b, q, d) → what a block makes of the ``wanted`` places alone, (n, d)."""
    b, q, _ = states.shape
    row = wanted // q
    counts = torch.bincount(row, minlength=b)
    slot = torch.arange(len(wanted), device=wanted.device) - (counts.cumsum(0) - counts)[row]
    own = wanted.new_zeros(b, max(1, int(counts.max())))  # where a row wants fewer, its first place fills up
    own[row, slot] = wanted % q
    normed = block.ln_1(states)
    asking = normed[torch.arange(b, device=wanted.device)[:, None], own]
    found = states.flatten(0, 1)[wanted] + block.attention(asking, normed, normed)[row, slot]
    return found + block.mlp(block.ln_2(found))


def _init_attention(attention: nn.MultiheadAttention, dim: int, layers: int) -> None:
    nn.init.normal_(attention.in_proj_weight, std=dim**-0.5)
    nn.init.normal_(attention.out_proj.weight, std=_output_std(dim, layers))


def _inner_std(dim: int) -> float:
    return (2 * dim) ** -0.5


def _output_std(dim: int, layers: int) -> float:
    """Smaller with depth, so that the residual sum keeps its size."""
    return dim**-0.5 * (2 * layers) ** -0.5
