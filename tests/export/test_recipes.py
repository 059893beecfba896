"""IRRA and SEN from a few drawn people through the commands: bundles are judged as their checkpoints."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import export.onnx
from export.command import run
from sdk import Bundle
from train.recipes import irra, sen
from train.synthesis.draw import draw


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("people") / "drawn"
    draw(root, people=72, images_per_person=2)  # six people in the test part
    return root


@pytest.mark.parametrize("recipe", [irra, sen], ids=["irra", "sen"])
def test_a_bundle_is_judged_as_its_checkpoint(
    recipe: Any,
    people: Path,
    model_name: str,
    assert_same_points: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, bundle = tmp_path / "run", tmp_path / "p.bundle"
    cfg = recipe.Config(
        "drawn", str(people), str(out), model=model_name, pretrained=None, height=64, width=32, epochs=1,
        batch=16, rule="plain", lr=1e-3, eps=1e-8, clip_norm=1, warmup=0.5, schedule="step", temperature=0.1,
        erase=0, judge=(), cache=True, workers=0,
    )  # fmt: skip
    recipe.train(cfg)
    arguments = (out / "ckpt.pt", "--out", bundle, "--data", "drawn", "--root", people)
    monkeypatch.setattr(sys, "argv", ["export.onnx", *map(str, arguments)])
    assert run(export.onnx.main, "export.onnx", "") == 0
    assert list(Bundle.open(bundle).graphs) == ["image", "text"]
    found = assert_same_points(out / "ckpt.pt", bundle, "drawn", people)
    assert list(found) == ["text", "attributes", "image", "composed"]
    assert [facts["queries"] for facts in found.values()] == [24, 6, 12, 4]
