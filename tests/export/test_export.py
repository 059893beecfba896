"""From a checkpoint, or any open_clip model, through the gate to a bundle; and what if the gate shuts."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import export.onnx
import export.verify
from export.command import load_split, run
from export.gate import POINTS
from export.probes import pictures
from sdk.bundle import Bundle
from sdk.encoder import Encoder
from sdk.errors import ExportError, InputError
from sdk.preprocess import preprocess_images
from sdk.runtime import open_session
from train import checkpoint, datasets

ROOT = Path(export.onnx.__file__).resolve().parent.parent


def checks(bundle: Bundle) -> dict[str, Any]:
    return {check["name"]: check["value"] for check in bundle.manifest["parity"]["checks"]}


def test_the_bundle_says_what_it_is(exported: SimpleNamespace) -> None:
    bundle = Bundle.open(exported.path)
    manifest = bundle.manifest
    assert manifest["graphs"] == {
        "image": {
            "files": ["image.onnx"],
            "inputs": {"pixels": "pixels"},
            "outputs": {"features": ["n", 32]},
        },
        "text": {
            "files": ["text.onnx"],
            "inputs": {"input_ids": "input_ids"},
            "outputs": {"features": ["n", 32]},
        },
    }
    assert manifest["roles"] == {
        "gallery": "image.features",
        "query.image": "image.features",
        "query.text": "text.features",
        "query.attributes": "text.features",
    }
    assert manifest["name"] == "clip"
    about = manifest["provenance"]
    assert about["checkpoint"] == hashlib.sha256(exported.checkpoint.read_bytes()).hexdigest()
    assert (about["recipe"], about["data"], about["licence"]) == ("clip", "drawn", "Apache-2.0")
    assert about["labrador"]
    assert manifest["image"]["resize"] == "squash"
    assert (manifest["image"]["height"], manifest["image"]["width"]) == (64, 32)
    assert bundle.max_batch == 64
    assert bundle.schema == exported.module.schema


def test_the_gate_is_kept_in_the_manifest(exported: SimpleNamespace) -> None:
    parity = exported.bundle.manifest["parity"]
    assert parity["passed"] is True
    assert parity["batches"] == [1, 2, 3, 7, 64]
    values = checks(exported.bundle)
    assert 0 < values["image.features: largest difference from torch"] <= 1e-4
    assert values["text.features: smallest cosine with torch"] >= 0.99999
    assert values["image.onnx: LayerNormalization operators"] == 6  # pre, post, two in each of two blocks
    assert values["text.onnx: LayerNormalization operators"] == 3
    assert values["text.onnx: rows of token_embedding unlike torch's"] == 0
    assert all(check["passed"] and check["limit"] for check in parity["checks"])


def test_each_stage_is_said_with_its_size_and_time(exported: SimpleNamespace) -> None:
    lines = exported.log.splitlines()
    assert lines[0] == "pictures: squashed, whatever their shape, to 64x32 (height x width), bicubic"
    for line, name in zip(lines[1:4], ("image.onnx", "text.onnx", "tokenizer.json"), strict=True):
        assert line.startswith(name)
        assert line.split()[2] in ("MB", "kB")
        assert line.endswith(" s")
    assert lines[-1].startswith("the gate took ")


def test_no_path_of_this_machine_is_in_any_file(exported: SimpleNamespace) -> None:
    strays = [str(ROOT), sys.prefix, tempfile.gettempdir(), str(Path.home()), "site-packages", "stack_trace"]
    for file in exported.path.iterdir():
        data = file.read_bytes()
        assert [stray for stray in strays if len(stray) > 4 and stray.encode() in data] == [], file.name


def test_the_sdk_gives_the_features_of_the_model(exported: SimpleNamespace) -> None:
    module, images = exported.module, pictures(5, seed=3)
    texts = ["a person in a red coat", "someone"]
    encoder = Encoder(exported.bundle, open_session(exported.bundle, "cpu"))
    with torch.inference_mode():
        pixels = torch.from_numpy(preprocess_images(images, module.image_spec))
        image = F.normalize(module.encode_image(pixels), dim=-1).numpy()
        text = F.normalize(module.encode_text(module.tokenizer(texts)), dim=-1).numpy()
    assert np.abs(encoder.images([Image.fromarray(i) for i in images]) - image).max() <= 1e-5
    assert np.abs(encoder.texts(texts) - text).max() <= 1e-5
    sentence = module.schema.sentence({"coat": "red", "hat": "no"})
    assert (encoder.attributes([{"coat": "red", "hat": "no"}]) == encoder.texts([sentence])).all()


def command(monkeypatch: pytest.MonkeyPatch, module: Any, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
    return run(module.main, module.__name__, module.__doc__)


def test_the_command_exports_on_a_dataset_and_twice_gives_the_same_files(
    exported: SimpleNamespace,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "deeper" / "again.bundle"
    arguments = (exported.checkpoint, "--out", out, "--data", "drawn", "--root", dataset)
    assert command(monkeypatch, export.onnx, *arguments) == 0
    again = Bundle.open(out)
    assert again.manifest["files"] == exported.bundle.manifest["files"]
    assert again.space == exported.bundle.space
    assert again.manifest["parity"]["on"] == "drawn/test: 48 pictures, 96 queries"
    points = {name: value for name, value in checks(again).items() if "points" in name}
    assert [name.split(":")[0] for name in points] == ["Rank-1", "mAP"]
    assert max(points.values()) <= POINTS
    assert [p.name for p in out.parent.iterdir()] == ["again.bundle"]
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"next: python -m sdk index FOLDER --bundle {out} --gallery people.gallery"


def test_any_open_clip_model_becomes_a_bundle_without_a_checkpoint(
    exported: SimpleNamespace,
    model_name: str,
    make_bundle: Callable[..., Path],
    copy_graphs: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    weights, out = tmp_path / "weights.pt", make_bundle(tmp_path / "zero.bundle")  # to be replaced
    torch.save(exported.module.tower.clip.state_dict(), weights)
    monkeypatch.setattr(export.onnx, "write_graph", copy_graphs)
    code = command(monkeypatch, export.onnx, "--model", model_name, "--pretrained", weights, "--out", out)
    assert code == 0
    bundle = Bundle.open(out)
    assert bundle.name == model_name
    assert sorted(bundle.roles) == ["gallery", "query.image", "query.text"]
    assert bundle.manifest["provenance"]["checkpoint"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert str(tmp_path) not in (out / "manifest.json").read_text("utf-8")
    assert bundle.manifest["provenance"]["data"].endswith("weights weights.pt")
    assert "squashed, whatever their shape, to 64x32" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("graph", "weight"),
    [("image", "proj"), ("text", "token_embedding.weight")],  # all rows always count; few ever do
)
def test_two_swapped_weights_shut_the_gate_and_leave_nothing(
    graph: str,
    weight: str,
    exported: SimpleNamespace,
    copy_graphs: Callable[..., list[str]],
    swap_rows: Callable[[Path, str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def swapped(made: Any, folder: Path, single_file: int = 0) -> list[str]:
        files = copy_graphs(made, folder)
        if made.name == graph:
            swap_rows(folder / files[0], weight)
        return files

    monkeypatch.setattr(export.onnx, "write_graph", swapped)
    assert command(monkeypatch, export.onnx, exported.checkpoint, "--out", tmp_path / "p.bundle") == 1
    said = capsys.readouterr()
    assert f"✗ {graph}." in said.out
    assert "the gate stays shut" in said.out
    assert said.err.startswith("error: the gate stays shut, so there is no bundle")
    assert list(tmp_path.iterdir()) == []


def test_an_older_bundle_stays_when_the_gate_shuts(
    other: Path,
    make_bundle: Callable[..., Path],
    copy_graphs: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = make_bundle(tmp_path / "p.bundle")
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    monkeypatch.setattr(export.onnx, "write_graph", copy_graphs)
    bad = r"text\.features: largest difference from torch is 0\.\d+, allowed ≤ 0\.0001"
    with pytest.raises(ExportError, match=bad):
        export.onnx.export_bundle(checkpoint.load(other), out, name="clip")
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["p.bundle"]


def test_an_error_half_way_leaves_nothing(
    exported: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(export.onnx, "write_graph", broken)
    assert command(monkeypatch, export.onnx, exported.checkpoint, "--out", tmp_path / "p.bundle") == 130
    assert list(tmp_path.iterdir()) == []


def test_something_else_at_out_is_refused_before_any_work(exported: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/holiday.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="is not a bundle"):
        export.onnx.export_bundle(exported.module, tmp_path / "mine", name="clip")
    assert [p.name for p in tmp_path.rglob("*")] == ["mine", "holiday.jpg"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "either a checkpoint or --model"),
        (("ckpt.pt", "--model", "ViT-B-16"), "either a checkpoint or --model"),
        (("ckpt.pt", "--pretrained", "openai"), "a checkpoint brings its own weights"),
        (("--model", "ViT-B-16"), "pretrained: is missing"),
        (("nowhere.pt",), "there is no file 'nowhere.pt'"),
    ],
)
def test_wrong_arguments_are_said_in_one_line(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(monkeypatch, export.onnx, *arguments, "--out", tmp_path / "p.bundle") == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_verify_alone_passes_on_its_own_checkpoint_and_a_dataset(
    exported: SimpleNamespace,
    dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = json.loads((exported.path / "manifest.json").read_text("utf-8"))
    arguments = (exported.path, "--checkpoint", exported.checkpoint, "--data", "drawn", "--root", dataset)
    assert command(monkeypatch, export.verify, *arguments, "--images", 20) == 0
    said = capsys.readouterr().out
    assert "on: drawn/test: 20 pictures, 20 queries" in said
    assert "✗" not in said
    assert json.loads((exported.path / "manifest.json").read_text("utf-8")) == before


def test_verify_alone_fails_on_another_checkpoint(
    exported: SimpleNamespace,
    other: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(monkeypatch, export.verify, exported.path, "--checkpoint", other) == 1
    said = capsys.readouterr().out
    for failed in (
        "✗ text.onnx: rows of token_embedding unlike torch's",
        "✗ text.features: largest difference from torch",
        "✗ image.features: smallest cosine with torch",
        "✗ scores of a search: largest difference from torch",
        "✗ top 10 as torch ranks them",
    ):
        assert failed in said
    assert "the bundle was made from a file of SHA-256" in said


def test_half_a_dataset_is_refused(
    exported: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (exported.path, "--checkpoint", exported.checkpoint, "--data", "drawn")
    assert command(monkeypatch, export.verify, *arguments) == 2
    assert "got only data='drawn'; give both" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("roles", "tasks", "asked"),
    [
        ({"query.text": "x"}, ("text", "attributes"), "text"),
        ({"query.text": "x"}, ("attributes",), "attributes"),  # PETA has no captions
        ({"query.image": "x"}, ("text", "image"), "image"),
        ({"query.image": "x"}, ("attributes",), "image"),  # which the loader refuses, by name
    ],
)
def test_a_dataset_is_asked_by_words_of_whichever_kind_it_has(
    roles: dict[str, str], tasks: tuple[str, ...], asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "tasks", lambda name: tasks)
    monkeypatch.setattr(datasets, "load", lambda *given: given)
    module: Any = SimpleNamespace(roles=roles)
    assert load_split("peta", Path("folder"), module) == ("peta", Path("folder"), "test", asked)
