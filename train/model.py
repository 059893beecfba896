"""Two towers over any open_clip model: global features, and every token in the same space.

``encode_*`` are open_clip's own. ``image_tokens`` and ``text_tokens`` give every token after the tower's
last norm *and* its projection, which open_clip's ``output_tokens`` doesn't.
"""

from __future__ import annotations

import math
from typing import Any

import open_clip
import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import TextTransformer, VisionTransformer
from torch import Tensor, nn

from sdk.errors import InputError
from train.weights import create


class TwoTower(nn.Module):
    """An open_clip model whose features and tokens share one space of ``dim`` numbers.

    name: an open_clip model name, or ``labrador-tiny`` / ``labrador-tiny-conv``. image_size: (height, width)
    in pixels; None keeps the model's own. pretrained: a tag of open_clip, a local weight file, or None for
    random weights. quick_gelu: None lets the model and the weights decide; ``notes`` says so when the
    weights overruled the model's name.
    Raises InputError for an unknown name, tag or size, CheckpointError for a weight file that isn't one.
    """

    def __init__(
        self,
        name: str,
        image_size: tuple[int, int] | None = None,
        pretrained: str | None = None,
        quick_gelu: bool | None = None,
    ) -> None:
        super().__init__()
        self.clip, self.quick_gelu = create(name, image_size, pretrained, quick_gelu)
        self.name = name
        self.image_size: tuple[int, int] = self.clip.visual.image_size
        config = open_clip.get_model_config(name)
        self.dim = int(config["embed_dim"])
        overruled = quick_gelu is None and self.quick_gelu and not config.get("quick_gelu", False)
        note = f"{pretrained!r} was trained with QuickGELU, so {name} runs with QuickGELU, not GELU"
        self.notes: tuple[str, ...] = (note,) if overruled else ()

    def describe(self) -> dict[str, Any]:
        """Plain arguments from which ``TwoTower(**…)`` makes the same towers, with random weights."""
        return {"name": self.name, "image_size": list(self.image_size), "quick_gelu": self.quick_gelu}

    def set_temperature(self, temperature: float, learn: bool) -> None:
        """Start from this temperature of the cosines, learned as CLIP's logit scale or constant."""
        self.clip.logit_scale.data.fill_(math.log(1 / temperature))
        self.clip.logit_scale.requires_grad_(learn)
        if getattr(self.clip, "logit_bias", None) is not None:
            self.clip.logit_bias.requires_grad_(False)  # of the sigmoid loss, which isn't used here

    @property
    def temperature(self) -> Tensor:
        """1 / exp(scale), the scale kept at 100 or below as CLIP does."""
        scale: Tensor = self.clip.logit_scale
        return 1 / scale.clamp(max=math.log(100)).exp().squeeze()

    def forward(self, pixels: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """(b, 3, h, w) and (b, t) → image (b, d) and text (b, d) features, not normalised."""
        return self.encode_image(pixels), self.encode_text(ids)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """(b, 3, h, w) float → (b, d), not normalised; equal to open_clip's own to the bit."""
        features: Tensor = self.clip.encode_image(pixels, normalize=False)
        return features

    def encode_text(self, ids: Tensor) -> Tensor:
        """(b, t) int64 → (b, d), not normalised; equal to open_clip's own to the bit.

        ``ids`` may have been cut by ``shorten``.
        """
        text = self._text()
        if text is None or ids.shape[1] == text.positional_embedding.shape[0]:
            features: Tensor = self.clip.encode_text(ids, normalize=False)
            return features
        pooled = self._text_states(ids)[torch.arange(len(ids), device=ids.device), ids.argmax(dim=-1)]
        return _project(pooled, text.text_projection)

    def shorten(self, ids: Tensor) -> Tensor:
        """(b, t) → (b, t') cut after the batch's last end-of-text (the largest id of each row).

        Only where what follows can't reach the pooled token: for other than causal text towers, as it is.
        """
        text = self._text()
        if text is None or text.attn_mask is None:
            return ids
        return ids[:, : int(ids.argmax(dim=-1).max()) + 1]

    def image_tokens(self, pixels: Tensor) -> Tensor:
        """(b, 3, h, w) → (b, t, d): the pooled vector, then the patches (or map cells) row by row.

        A ViT's patches pass ``ln_post`` and the projection; the cells of a convolutional tower's last
        feature map pass its head, each as if it were the whole map. Raises InputError for other towers.
        """
        visual = self.clip.visual
        if isinstance(visual, VisionTransformer) and visual.attn_pool is None and visual.pool_type != "none":
            out = visual.forward_intermediates(
                pixels, indices=1, normalize_intermediates=True, output_fmt="NLC"
            )
            pooled, cells = out["image_features"], _project(out["image_intermediates"][-1], visual.proj)
        elif isinstance(visual, ModifiedResNet):
            out = visual.forward_intermediates(pixels, indices=1)
            pooled, pool = out["image_features"], visual.attnpool
            grid = out["image_intermediates"][-1].flatten(2).transpose(1, 2)
            cells = pool.c_proj(pool.v_proj(grid + pool.positional_embedding[1:].to(grid.dtype)))
        elif isinstance(visual, TimmModel) and "pool" not in dict(visual.head.named_children()):
            grid = visual.trunk.forward_features(pixels)
            if grid.ndim != 4 or grid.shape[1] != visual.trunk.num_features:
                raise _no_tokens(self.name, "image")
            pooled = visual.head(visual.trunk.forward_head(grid))
            b, c, h, w = grid.shape
            alone = grid.permute(0, 2, 3, 1).reshape(-1, c, 1, 1)
            cells = visual.head(visual.trunk.forward_head(alone)).reshape(b, h * w, -1)
        else:
            raise _no_tokens(self.name, "image")
        return torch.cat([pooled[:, None], cells], dim=1)

    @property
    def patch_grid(self) -> tuple[int, int]:
        """Rows and columns of the patches that ``some_patches`` may leave out.

        Raises InputError for a tower that has none: convolutional ones, and ViTs that pool by attention.
        """
        visual = self.clip.visual
        if not isinstance(visual, VisionTransformer) or visual.attn_pool is not None:
            raise InputError(
                f"model: patches can't be left out of {self.name}'s image tower, which restoring masked "
                "pictures (tir) needs; take a plain ViT: labrador-tiny, or open_clip's ViT-S-16, ViT-M-16, "
                "ViT-B-32, ViT-B-16, ViT-L-14, ViT-H-14, ViT-g-14 or ViT-bigG-14"
            )
        rows, columns = visual.grid_size
        return rows, columns

    def some_patches(self, pixels: Tensor, kept: Tensor) -> Tensor:
        """(b, 3, h, w) and (b, k) patch numbers → (b, 1 + k, d): the class token, then those patches.

        The others are dropped behind their positions and never enter the blocks (MAE, arXiv 2111.06377).
        Patches are numbered row by row; all of them in order give ``image_tokens`` where it pools the class
        token. Raises as ``patch_grid`` does.
        """
        visual, _ = self.clip.visual, self.patch_grid
        patches = visual.conv1(pixels).flatten(2).transpose(1, 2)
        places = visual.positional_embedding.to(patches.dtype)
        patches = patches + places[1:]
        patches = patches.gather(1, kept[:, :, None].expand(-1, -1, patches.shape[2]))
        first = (visual.class_embedding.to(patches.dtype) + places[0]).expand(len(patches), 1, -1)
        states = visual.transformer(visual.ln_pre(torch.cat([first, patches], dim=1)))
        return _project(visual.ln_post(states), visual.proj)

    def text_tokens(self, ids: Tensor) -> Tensor:
        """(b, t) → (b, t, d): every token after ``ln_final`` and the projection.

        The pooled one stands at ``ids.argmax(1)``. Raises InputError for other text towers.
        """
        text = self._text()
        if text is None:
            raise _no_tokens(self.name, "text")
        return _project(self._text_states(ids), text.text_projection)

    def tokenizer(self) -> Any:
        """open_clip's tokenizer of this model: list of str → (n, context length) int64 tensor."""
        return open_clip.get_tokenizer(self.name)

    def _text(self) -> Any:
        """What holds the parts of CLIP's own text tower, which pools at argmax; None for another one."""
        text = getattr(self.clip, "text", self.clip)
        if isinstance(text, TextTransformer):
            return text if text.pool_type == "argmax" and text.cls_emb is None else None
        return text if getattr(text, "text_pool_type", None) == "argmax" else None

    def _text_states(self, ids: Tensor) -> Tensor:
        text, t = self._text(), ids.shape[1]
        dtype, mask = text.transformer.get_cast_dtype(), text.attn_mask
        states = text.token_embedding(ids).to(dtype) + text.positional_embedding[:t].to(dtype)
        states = text.transformer(states, attn_mask=None if mask is None else mask[:t, :t])
        final: Tensor = text.ln_final(states)
        return final


def _project(states: Tensor, projection: Any) -> Tensor:
    if projection is None:
        return states
    projected: Tensor = projection(states) if isinstance(projection, nn.Module) else states @ projection
    return projected


def _no_tokens(name: str, tower: str) -> InputError:
    return InputError(
        f"model: {name}'s {tower} tower has no token outputs Labrador knows of (a CLIP ViT, a convolutional "
        f"tower and CLIP's text tower have); encode_{tower} works"
    )
