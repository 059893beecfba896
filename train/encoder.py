"""Two trained towers with what evaluation and export ask of a model: specs, roles, graphs."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdk.attributes import Schema
from sdk.errors import InputError
from sdk.preprocess import ImageSpec, TextSpec
from train.model import TwoTower

CLEANING = {  # open_clip's cleaning functions, step by step as sdk.preprocess names them
    "_clean_lower": ("ftfy", "html", "whitespace", "lower"),
    "_clean_whitespace": ("ftfy", "html", "whitespace"),
}


@dataclass(frozen=True)
class GraphExport:
    """A graph that a bundle will hold.

    example: positional inputs at batch 2. inputs: graph input name → its source ("pixels", "input_ids",
    "attention_mask" or "<earlier graph>.<output>"), in the order of ``example``. outputs: name → shape, its
    batch axis written "n".
    """

    name: str
    module: nn.Module
    example: tuple[Tensor, ...]
    inputs: Mapping[str, str]
    outputs: Mapping[str, tuple[str | int, ...]]


class DualEncoder(nn.Module):
    """Two trained towers, with everything that evaluation and export ask of a module.

    ``similarity`` and ``roles`` are the bundle's; ``recipe`` and ``provenance`` say where it came from.
    """

    def __init__(
        self,
        tower: TwoTower,
        image_spec: ImageSpec,
        *,
        recipe: str,
        schema: Schema | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.tower, self.image_spec, self.schema, self.recipe = tower, image_spec, schema, recipe
        self.tokenizer = tower.tokenizer()
        self.text_spec = text_spec(self.tokenizer)
        self.provenance = dict(provenance or {})
        self.similarity = {"dim": tower.dim, "tokens": 1, "top_tokens": 1}
        self.roles = {"gallery": "image.features", "query.image": "image.features"}
        self.roles |= {"query.text": "text.features", "query.attributes": "text.features"}

    def encode_image(self, pixels: Tensor) -> Tensor:
        """(b, 3, h, w) → (b, d), not normalised."""
        return self.tower.encode_image(pixels)

    def encode_text(self, ids: Tensor) -> Tensor:
        """(b, t) int64 → (b, d), not normalised."""
        return self.tower.encode_text(ids)

    def extras(self) -> dict[str, Any]:
        """What a checkpoint must hold besides the towers for the recipe to build this again; plain data."""
        return {}

    def export_graphs(self) -> Iterator[GraphExport]:
        """The image graph, then the text graph; each gives unit-length (n, d) features."""
        spec, outputs = self.image_spec, {"features": ("n", self.tower.dim)}
        pixels = torch.randn(2, 3, spec.height, spec.width, generator=torch.Generator().manual_seed(0))
        yield GraphExport("image", _ImageGraph(self.tower), (pixels,), {"pixels": "pixels"}, outputs)
        ids = torch.as_tensor(self.tokenizer(["a man in a red coat", "a woman with a bag"])).long()
        yield GraphExport("text", _TextGraph(self.tower), (ids,), {"input_ids": "input_ids"}, outputs)


class _ImageGraph(nn.Module):
    def __init__(self, tower: TwoTower) -> None:
        super().__init__()
        self.visual = tower.clip.visual

    def forward(self, pixels: Tensor) -> Tensor:
        out = self.visual(pixels)  # CoCa's gives its tokens too
        return F.normalize(out[0] if isinstance(out, tuple) else out, dim=-1)


class _TextGraph(nn.Module):
    """The towers without the image tower, sharing their tensors, so that the file holds text weights only."""

    def __init__(self, tower: TwoTower) -> None:
        super().__init__()
        self.tower, clip = copy.copy(tower), copy.copy(tower.clip)
        clip._modules = {name: child for name, child in clip._modules.items() if name != "visual"}
        self.tower._modules = {"clip": clip}

    def forward(self, input_ids: Tensor) -> Tensor:
        return F.normalize(self.tower.encode_text(input_ids), dim=-1)


def image_spec(tower: TwoTower, interpolation: Any = "bilinear") -> ImageSpec:
    """The tower's own size, mean and standard deviation."""
    own = tower.clip.visual.preprocess_cfg
    return ImageSpec(*tower.image_size, tuple(own["mean"]), tuple(own["std"]), "squash", interpolation)


def text_spec(tokenizer: Any) -> TextSpec:
    """The cleaning, length and padding of an open_clip tokenizer; InputError for one it can't express."""
    steps = (
        CLEANING.get(getattr(tokenizer.clean_fn, "__name__", "")) if hasattr(tokenizer, "clean_fn") else None
    )
    if steps is None or getattr(tokenizer, "reduction_fn", None) is not None:
        raise InputError(
            f"tokenizer: {type(tokenizer).__name__} cleans texts in a way that a bundle can't state; "
            f"known are open_clip's {', '.join(name.removeprefix('_clean_') for name in CLEANING)}"
        )
    inner = getattr(tokenizer, "tokenizer", None)  # HFTokenizer wraps one, SimpleTokenizer pads with 0
    return TextSpec(tokenizer.context_length, int(getattr(inner, "pad_token_id", 0) or 0), steps)
