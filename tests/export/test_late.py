"""A model that isn't two towers: a shared trunk, a gallery of four tokens an item, a composer, word pieces
with a mask. Export knows no method, so all of it goes the same way."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn

import export.onnx
from export.onnx import export_bundle
from export.probes import pictures
from sdk.encoder import Encoder
from sdk.preprocess import ImageSpec, TextSpec
from sdk.runtime import open_session
from train.checkpoint import GraphExport

SPEC = ImageSpec(16, 8, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
DIM, TOKENS = 16, 4
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "man", "red", "coat", "in", ",", "."]


class Trunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(3 * 16 * 8, 24), nn.LayerNorm(24)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.norm(self.linear(pixels.flatten(1)))


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(24, TOKENS * DIM)

    def forward(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        tokens = F.normalize(self.linear(cells).unflatten(1, (TOKENS, DIM)), dim=-1)
        return tokens, F.normalize(tokens.mean(1), dim=-1)


class Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(len(WORDS), DIM)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return F.normalize((self.words(input_ids) * attention_mask[:, :, None]).sum(1), dim=-1)


class Composer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.linear = nn.Embedding(len(WORDS), DIM), nn.Linear(24, DIM)

    def forward(self, cells: Tensor, input_ids: Tensor) -> Tensor:
        return F.normalize(self.linear(cells) + self.words(input_ids).mean(1), dim=-1)


class Late(nn.Module):
    """The face that `train.checkpoint.load` promises, over four graphs."""

    image_spec, text_spec = SPEC, TextSpec(8, 0, ("whitespace", "lower"), mask=True)
    schema, recipe, provenance = None, "late", {}
    similarity = {"dim": DIM, "tokens": TOKENS, "top_tokens": 2}  # noqa: RUF012
    roles = {  # noqa: RUF012
        "gallery": "head.tokens",
        "query.image": "head.features",
        "query.text": "text.features",
        "query.attributes": "text.features",
        "query.composed": "composer.features",
    }

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.head, self.text, self.composer = Trunk(), Head(), Text(), Composer()
        self.tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
        self.tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        self.tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )

    def export_graphs(self) -> Iterator[GraphExport]:
        ids, cells, d = torch.tensor([[2, 4, 5, 3, 0, 0, 0, 0]] * 2), torch.randn(2, 24), ("n", DIM)
        pixels = torch.randn(2, 3, 16, 8)
        yield GraphExport("trunk", self.trunk, (pixels,), {"pixels": "pixels"}, {"cells": ("n", 24)})
        outputs = {"tokens": ("n", TOKENS, DIM), "features": d}
        yield GraphExport("head", self.head, (cells,), {"cells": "trunk.cells"}, outputs)
        if "query.text" in self.roles:
            inputs = {"input_ids": "input_ids", "attention_mask": "attention_mask"}
            yield GraphExport("text", self.text, (ids, (ids > 0).long()), inputs, {"features": d})
            inputs = {"cells": "trunk.cells", "input_ids": "input_ids"}
            yield GraphExport("composer", self.composer, (cells, ids), inputs, {"features": d})


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Exported with every weight in a file of its own, as graphs above 2 GB have to be."""
    module: Any = Late().eval()
    out = tmp_path_factory.mktemp("late") / "late.bundle"
    return SimpleNamespace(module=module, bundle=export_bundle(module, out, name="late", single_file=1))


def test_every_graph_and_role_is_in_the_bundle(late: SimpleNamespace) -> None:
    manifest = late.bundle.manifest
    assert {name: graph["files"] for name, graph in manifest["graphs"].items()} == {
        name: [f"{name}.onnx", f"{name}.onnx.data"] for name in ("trunk", "head", "text", "composer")
    }
    assert set(manifest["files"]) >= {"head.onnx", "head.onnx.data"}
    assert manifest["roles"] == {r: t for r, t in Late.roles.items() if r != "query.attributes"}
    assert (late.bundle.space.tokens, late.bundle.space.top_tokens) == (TOKENS, 2)
    assert manifest["provenance"]["data"] == "unknown"
    names = [check["name"] for check in manifest["parity"]["checks"]]
    for target in ("head.tokens", "head.features", "text.features", "composer.features"):
        assert f"{target}: largest difference from torch" in names
    assert "text.onnx: rows of words unlike torch's" in names, "also where they lie in another file"


def test_the_sdk_composes_as_torch_does(late: SimpleNamespace) -> None:
    module, encoder = late.module, Encoder(late.bundle, open_session(late.bundle, "cpu"))
    images = [Image.fromarray(array) for array in pictures(3)]
    vectors = encoder.composed(images, ["A  man in red", "coat", "a " * 20])
    ids = torch.tensor([[2, 4, 5, 8, 6, 3, 0, 0], [2, 7, 3, 0, 0, 0, 0, 0], [2, *[4] * 6, 3]])
    with torch.inference_mode():
        cells = module.trunk(torch.from_numpy(_pixels(images)))
        expected = module.composer(cells, ids).numpy()
        tokens = module.head(cells)[0].numpy()
    assert np.abs(vectors - expected).max() <= 1e-5
    assert np.abs(encoder.images(images) - tokens).max() <= 1e-5


def _pixels(images: list[Image.Image]) -> np.ndarray:
    from sdk.preprocess import preprocess_images

    return preprocess_images(images, SPEC)


def test_a_model_without_words_is_tried_with_pictures(
    late: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied(graph: GraphExport, folder: Path, single_file: int) -> list[str]:
        files = [f"{graph.name}.onnx", f"{graph.name}.onnx.data"]
        for name in files:
            shutil.copyfile(late.bundle.path / name, folder / name)
        return files

    monkeypatch.setattr(export.onnx, "write_graph", copied)
    monkeypatch.setattr(Late, "roles", {"gallery": "head.tokens", "query.image": "head.features"})
    module: Any = Late().eval()
    bundle = export_bundle(module, tmp_path / "seeing.bundle", name="seeing")
    assert bundle.text_spec is None
    assert not (bundle.path / "tokenizer.json").exists()
    assert "top 10 as torch ranks them" in [c["name"] for c in bundle.manifest["parity"]["checks"]]
    assert bundle.space.hash == late.bundle.space.hash, "the words were no part of the space"
