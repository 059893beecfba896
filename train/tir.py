"""Text-guided image restoration (SEN, arXiv 2307.09059): words help a masked grey picture to its colours.

As its authors released it, except that all masked patches count (their code leaves one out): the picture is
turned grey after normalisation and augmentation, 0.7 of its patches never enter the tower, the places of
those hold one learned token in the decoder, and the target is the colour picture, as augmented.
"""

from __future__ import annotations

import torch
from open_clip.transformer import LayerNorm
from torch import Tensor, nn

from train.crossmodal import CrossModalEncoder

GREY = (0.2989, 0.5870, 0.1140)  # of red, green, blue: the luma of ITU-R BT.601


def grey(pixels: Tensor) -> Tensor:
    """(b, 3, h, w) normalised pixels → the same shape, each channel the weighted sum of the three."""
    weights = torch.tensor(GREY, dtype=pixels.dtype, device=pixels.device)
    return (pixels * weights[:, None, None]).sum(dim=1, keepdim=True).expand(-1, 3, -1, -1)


def visible(patches: int, ratio: float) -> int:
    """How many of the patches are kept when `ratio` of the tokens, the class token among them, is masked.

    192 patches at 0.7 leave int(193 · 0.3) = 57 tokens: the class token and 56 patches. At least one patch
    stays, and at least one goes.
    """
    return min(max(int((patches + 1) * (1 - ratio)) - 1, 1), patches - 1)


def patchify(pixels: Tensor, grid: tuple[int, int]) -> Tensor:
    """(b, c, h, w) → (b, patches, values), patches row by row; a patch's values by row, column, channel."""
    (b, c, h, w), (rows, columns) = pixels.shape, grid
    cut = pixels.reshape(b, c, rows, h // rows, columns, w // columns)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(b, rows * columns, -1)


def unshuffle(tokens: Tensor, kept: Tensor, filler: Tensor, patches: int) -> Tensor:
    """(b, k, d) tokens of the patches numbered `kept` (b, k) → (b, patches, d), `filler` (d,) elsewhere."""
    whole = filler.to(tokens.dtype).expand(len(tokens), patches, -1)
    return whole.scatter(1, kept[:, :, None].expand_as(tokens), tokens)


def positions(dim: int, grid: tuple[int, int]) -> Tensor:
    """(1 + patches, dim) fixed sine-cosine positions, the class token's row zeros (MAE, arXiv 2111.06377).

    The first half of a row tells the patch's column, the second its row; each half is the sines, then the
    cosines, of place / 10000^(4i/dim) for i = 0 … dim/4 - 1. dim must be a multiple of 4.
    """
    rates = 10000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    row, column = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
    angles = [place.flatten()[:, None] * rates for place in (column, row)]
    table = torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1)
    return torch.cat([torch.zeros(1, dim, dtype=torch.float64), table]).float()


def masked_errors(restored: Tensor, pixels: Tensor, kept: Tensor, grid: tuple[int, int]) -> Tensor:
    """(b,) mean squared error of each picture over its masked patches alone; its mean is the loss.

    restored: (b, patches, values) as ``patchify`` orders them. pixels: (b, 3, h, w), the target. kept:
    (b, k) numbers of the patches that were shown.
    """
    errors = (restored.float() - patchify(pixels, grid)).square().mean(dim=2)
    masked = torch.ones_like(errors).scatter(1, kept, 0.0)
    return (errors * masked).sum(dim=1) / masked.sum(dim=1)


class Restorer(nn.Module):
    """From the kept patches' tokens and the text's to every patch's pixels; only training has it.

    dim: of the tokens. grid: rows and columns of patches. values: of a patch, height · width · 3. What has
    "cross" in its name, the attention and the blocks, learns 5 x as fast by train/optim.py's rule ``irra``.
    """

    positions: Tensor

    def __init__(self, dim: int, grid: tuple[int, int], values: int, layers: int = 4) -> None:
        super().__init__()
        self.ln_in, self.linear_in = LayerNorm(dim), nn.Linear(dim, dim)
        self.mask_token = nn.Parameter(torch.zeros(dim))
        self.register_buffer("positions", positions(dim, grid), persistent=False)
        self.decoder = CrossModalEncoder(dim, layers, norm_between=True)
        self.linear_out = nn.Linear(dim, values)

    def forward(self, image: Tensor, text: Tensor, kept: Tensor) -> Tensor:
        """(b, 1 + k, dim) as TwoTower.some_patches gives, (b, t, dim), (b, k) → (b, patches, values)."""
        tokens = self.linear_in(self.ln_in(image))
        patches = unshuffle(tokens[:, 1:], kept, self.mask_token, len(self.positions) - 1)
        tokens = torch.cat([tokens[:, :1], patches], dim=1) + self.positions
        return self.linear_out(self.decoder(tokens, text))[:, 1:]
