"""A model small enough to export in seconds, its checkpoint, a drawn-like dataset, and its bundle.

And what is held for every recipe: a bundle is judged as its checkpoint is.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import market_folder
import numpy as np
import onnx
import open_clip
import pytest
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from PIL import Image
from rich.console import Console

import export.onnx
from export.command import run
from export.onnx import export_bundle
from export.probes import pictures
from sdk.attributes import Schema
from sdk.bundle import Bundle
from sdk.encoder import Encoder
from sdk.preprocess import preprocess_images
from sdk.recognition import columns
from sdk.runtime import open_session
from train import checkpoint, datasets, evaluate
from train.datasets._market1501_attributes import SCHEMA as MARKET
from train.encode import ModuleEncoder
from train.ranking import all_scores
from train.recipes import aima
from train.split import Split

CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": [64, 32], "patch_size": 16, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
SCHEMA = {
    "name": "two",
    "slots": {"coat": {"red": "red", "blue": "blue"}, "hat": {"yes": "with a hat", "no": "bare-headed"}},
    "clauses": [["a person in a {coat} coat"], ["{hat}"]],
}
PEOPLE = 24


@pytest.fixture(scope="session", autouse=True)
def _two_threads() -> None:
    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def model_name(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An open_clip model of 32 numbers for 64 x 32 pictures."""
    folder = tmp_path_factory.mktemp("configs")
    (folder / "labrador-test-export.json").write_text(json.dumps(CONFIG), "utf-8")
    open_clip.add_model_config(folder)
    return "labrador-test-export"


@pytest.fixture(scope="session")
def make_checkpoint(model_name: str) -> Callable[[Path, int], Path]:
    """make_checkpoint(path, seed): a checkpoint of the recipe clip with random weights."""

    def make(path: Path, seed: int) -> Path:
        torch.manual_seed(seed)
        encoder = checkpoint.from_open_clip(model_name, None)
        encoder.recipe, encoder.schema = "clip", Schema.from_json(SCHEMA)
        encoder.provenance = {"data": "drawn", "licence": "Apache-2.0"}
        checkpoint.save(path, encoder, {})
        return path

    return make


@pytest.fixture(scope="session")
def other(make_checkpoint: Callable[[Path, int], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint like that of `exported`, with other weights."""
    return make_checkpoint(tmp_path_factory.mktemp("other") / "other.pt", 1)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layout of drawn people with made-up pictures: 24 people, 2 pictures each, all in the test part."""
    root = tmp_path_factory.mktemp("drawn")
    (root / "imgs/test").mkdir(parents=True)
    (root / "schema.json").write_text(json.dumps(SCHEMA), "utf-8")
    entries, rows = [], []
    for i, array in enumerate(pictures(2 * PEOPLE, seed=7)):
        person, camera = divmod(i, 2)
        coat, hat = ("red", "blue")[person % 2], ("yes", "no")[person // 2 % 2]
        name = f"test/{person:05d}_c{camera}_0.jpg"
        Image.fromarray(array).save(root / "imgs" / name)
        captions = [
            f"person {person} in a {coat} coat, seen by camera {camera}",
            f"a {coat} coat, number {i}",
        ]
        entries.append({"split": "test", "captions": captions, "file_path": name, "id": person})
        rows.append([name, person, camera, "front", "test", coat, hat])
    (root / "reid_raw.json").write_text(json.dumps(entries), "utf-8")
    with (root / "attributes.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file_path", "id", "camera", "view", "split", "coat", "hat"], *rows])
    assert len(datasets.load("drawn", root, "test").gallery) == 2 * PEOPLE
    return root


@pytest.fixture(scope="session")
def exported(
    make_checkpoint: Callable[[Path, int], Path], tmp_path_factory: pytest.TempPathFactory
) -> SimpleNamespace:
    """checkpoint, module, and the bundle made of it on made-up pictures. Don't change it."""
    folder = tmp_path_factory.mktemp("exported")
    path = make_checkpoint(folder / "ckpt.pt", 0)
    module = checkpoint.load(path)
    log = io.StringIO()
    console = Console(file=log, width=200)
    bundle = export_bundle(module, folder / "person.bundle", name="clip", checkpoint=path, console=console)
    return SimpleNamespace(
        checkpoint=path, module=module, bundle=bundle, path=bundle.path, log=log.getvalue()
    )


@pytest.fixture
def swap_rows() -> Callable[[Path, str], None]:
    """swap_rows(file, ending): exchange the first two rows of the one weight whose name ends so."""

    def swap(path: Path, ending: str) -> None:
        model = onnx.load(str(path))
        [tensor] = [t for t in model.graph.initializer if t.name.endswith(ending)]
        array = numpy_helper.to_array(tensor).copy()
        array[[0, 1]] = array[[1, 0]]
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        onnx.save(model, str(path))

    return swap


@pytest.fixture
def copy_graphs(exported: SimpleNamespace) -> Callable[..., list[str]]:
    """Stands in for write_graph where the graphs don't matter: copies those of `exported`."""

    def copy(graph: Any, folder: Path, single_file: int = 0) -> list[str]:
        shutil.copyfile(exported.path / f"{graph.name}.onnx", folder / f"{graph.name}.onnx")
        return [f"{graph.name}.onnx"]

    return copy


def same_points(path: Path, bundle: Path, data: str, root: Path, part: Any = "test") -> dict[str, Any]:
    """The checkpoint's figures by task; the bundle's are within 0.1 points of them, for every task there is.

    A tiny test set moves by whole points when one pair changes places, so no answer may stand so close to a
    wrong one that two engines' last bits decide.
    """
    found = {}
    opened = Bundle.open(bundle)
    encoders = ModuleEncoder(checkpoint.load(path)), Encoder(opened, open_session(opened, "cpu"))
    for task in datasets.tasks(data):
        split = datasets.load(data, root, part, task)
        (ours, close), (theirs, _) = (scores(encoder, split) for encoder in encoders)
        assert np.abs(ours - theirs).max() < close / 2, f"{task}: {close:.1e} between a right and a wrong one"
        how: dict[str, Any] = {"root": root, "data": data, "part": part, "task": task}
        [before] = evaluate.run(evaluate.Args(checkpoint=(path,), **how))
        [after] = evaluate.run(evaluate.Args(bundle=bundle, **how))
        for name, points in before.metrics.means().items():
            assert after.metrics.means()[name] == pytest.approx(points, abs=0.1), f"{task}: {name}"
        engines = [report.facts["engine"]["engine"] for report in (before, after)]
        assert engines == ["torch", "onnxruntime"]
        found[task] = before.facts
    return found


def scores(encoder: Encoder, split: Split) -> tuple[np.ndarray, float]:
    """Of every pair, and the smallest step from an answer's to another's, over all queries."""
    every = all_scores(*evaluate.encode_split(encoder, split))
    right, ignored = split.relevant(), split.ignored()
    steps = [
        np.abs(row[good][:, None] - row[~good & ~junk][None]).min()
        for row, good, junk in zip(every, right, ignored, strict=True)
        if good.any() and (~good & ~junk).any()
    ]
    return every, float(min(steps))


@pytest.fixture(scope="session")
def assert_same_points() -> Callable[..., dict[str, Any]]:
    """assert_same_points(checkpoint, bundle, data, root, part="test") -> the checkpoint's figures by task."""
    return same_points


ASKED = (
    {"gender": "female", "upper_color": "red", "carrying": "handbag"},
    {"gender": "female", "upper_color": "blue", "hat": "no"},
    {"age": "old", "upper_color": "green"},
)
MEANT = (0, 1, 3)  # the look that each of them means


@torch.no_grad()
def teach(module: Any, root: Path) -> None:
    """Make the model right about the test people by least squares, since two steps of training don't.

    Of each look's mean vector the head then says its attributes, and hardly ever what nobody has; each
    sentence's vector has the dot product 1 with its own look's mean and 0 with the others'.
    """
    split = datasets.load("market1501", root, "test", "attributes")
    pixels = torch.from_numpy(preprocess_images([s.image for s in split.gallery], module.image_spec))
    vectors = F.normalize(module.encode_image(pixels), dim=1).double()
    looks = torch.tensor([sample.person % 4 for sample in split.gallery])
    means = torch.stack([vectors[looks == look].mean(dim=0) for look in range(4)])
    given = [next(s.attributes for s in split.gallery if s.person % 4 == look) for look in range(4)]

    has = torch.tensor([[pair in attributes.items() for pair in columns(MARKET)] for attributes in given])
    logits = torch.where(has, 12.0, torch.where(has.any(dim=0), 0.0, -24.0)).double()
    extended = torch.cat([F.normalize(means, dim=1) * module.head.scale, torch.ones(4, 1)], dim=1)
    solved = torch.linalg.pinv(extended) @ logits
    module.head.classifier.weight.copy_(solved[:-1].T)
    module.head.classifier.bias.copy_(solved[-1])

    sentences = [MARKET.sentence(attributes) for attributes in (*given, *ASKED)]
    projection = module.tower.clip.text_projection
    projection.copy_(torch.eye(len(projection)))
    plain = module.encode_text(torch.as_tensor(module.tokenizer(sentences))).double()
    wanted = torch.linalg.pinv(means).T[[0, 1, 2, 3, *MEANT]]
    projection.copy_(torch.linalg.pinv(plain) @ wanted)


@pytest.fixture(scope="session")
def taught(model_name: str, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """aima trained for two steps on a small Market-1501, taught it, and exported by the command.

    checkpoint, module, bundle and root; asked: attribute sets, looks: of the people each of them means.
    """
    out = tmp_path_factory.mktemp("aima")
    root = out / "Market-1501-v15.09.15"
    market_folder.few_people(root)
    cfg = aima.Config(
        "market1501", str(root), str(out), model=model_name, pretrained=None, height=64, width=32, epochs=2,
        batch=16, lr=1e-3, temperature=0.1, eps=1e-8, rule="plain", schedule="step", warmup=1, clip_norm=1,
        erase=0, augment=False, cache=True, workers=0, judge=(), head="class", seed=2,
    )  # fmt: skip
    aima.train(cfg)
    path, bundle = out / "ckpt.pt", out / "people.bundle"
    module = checkpoint.load(path)
    teach(module, root)
    checkpoint.save(path, module, checkpoint.read(path)["config"])
    with pytest.MonkeyPatch.context() as patch:
        arguments = (path, "--out", bundle, "--data", "market1501", "--root", root)
        patch.setattr(sys, "argv", ["export.onnx", *map(str, arguments)])
        assert run(export.onnx.main, "export.onnx", "") == 0
    return SimpleNamespace(
        checkpoint=path,
        module=checkpoint.load(path),
        bundle=Bundle.open(bundle),
        root=root,
        asked=ASKED,
        looks=MEANT,
    )
