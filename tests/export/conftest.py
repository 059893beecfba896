"""A model small enough to export in seconds, its checkpoint, a drawn-like dataset, and its bundle."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import open_clip
import pytest
import torch
from onnx import numpy_helper
from PIL import Image
from rich.console import Console

from export.onnx import export_bundle
from export.probes import pictures
from sdk.attributes import Schema
from train import checkpoint, datasets

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
