"""Writing bundles: what moves the space and what doesn't, all or nothing, replacing."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdk import bundle as bundles
from sdk import errors
from sdk.attributes import Schema
from sdk.bundle import Bundle
from sdk.preprocess import ImageSpec, TextSpec


def manifest(path: Path) -> dict[str, Any]:
    return json.loads((path / "manifest.json").read_text("utf-8"))


KEEPS = {
    "calibration": {"calibration": {"threshold": 0.3}},
    "parity": {"parity": {"max_abs": 1e-6}},
    "name and provenance": {
        "name": "other",
        "provenance": {"recipe": "b", "data": "c", "licence": "d", "checkpoint": "e"},
    },
    "schema": {"schema": Schema("other", {"hat": {"yes": "a hat"}}, [["{hat}"]])},
    "text spec": {"text": TextSpec(12, 0, ("lower",))},
    "batch": {"max_batch": 3},
}


@pytest.mark.parametrize("kind", KEEPS)
def test_what_leaves_the_space_as_it_is(
    kind: str, make_bundle: Callable[..., Path], tiny_bundle: Path, tmp_path: Path
) -> None:
    before, after = Bundle.open(tiny_bundle), Bundle.open(make_bundle(tmp_path / "b", **KEEPS[kind]))
    assert after.space == before.space
    assert after.digest != before.digest


def test_a_new_text_tower_or_role_leaves_the_space_as_it_is(
    make_bundle: Callable[..., Path], tiny_bundle: Path, tmp_path: Path
) -> None:
    before = Bundle.open(tiny_bundle)
    other = make_bundle(tmp_path / "b", tamper=lambda f: reword(f / "text.onnx", "words"))
    assert Bundle.open(other).space == before.space
    assert Bundle.open(other).digest != before.digest
    fewer = make_bundle(tmp_path / "c", roles={"gallery": "image.features"})
    assert Bundle.open(fewer).space == before.space


def reword(path: Path, constant: str) -> None:
    """Double one stored constant of a graph."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    for stored in model.graph.initializer:
        if stored.name == constant:
            stored.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(stored) * 2, constant))
    onnx.save(model, path)


MOVES = {
    "image graph": {"tamper": lambda folder: reword(folder / "image.onnx", "bias")},
    "mean": {"image": ImageSpec(32, 16, (0.5, 0.5, 0.4), (0.5, 0.5, 0.5))},
    "interpolation": {"image": ImageSpec(32, 16, (0.5,) * 3, (0.5,) * 3, interpolation="bicubic")},
    "resize": {"image": ImageSpec(32, 16, (0.5,) * 3, (0.5,) * 3, resize="crop")},
}


@pytest.mark.parametrize("kind", MOVES)
def test_what_makes_another_space(
    kind: str, make_bundle: Callable[..., Path], tiny_bundle: Path, tmp_path: Path
) -> None:
    after = Bundle.open(make_bundle(tmp_path / "b", **MOVES[kind]))
    assert after.space.hash != Bundle.open(tiny_bundle).space.hash


def test_similarity_trunk_and_composer(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    before = Bundle.open(make_bundle(tmp_path / "a", kind="three"))
    similarity = {"dim": 16, "tokens": 4, "top_tokens": 1}
    assert Bundle.open(make_bundle(tmp_path / "b", kind="three", similarity=similarity)).space != before.space
    composer = make_bundle(
        tmp_path / "c", kind="three", tamper=lambda f: reword(f / "composer.onnx", "words")
    )
    assert Bundle.open(composer).space == before.space
    head = make_bundle(tmp_path / "d", kind="three", tamper=lambda f: reword(f / "head.onnx", "w4"))
    assert Bundle.open(head).space != before.space


def test_the_same_inputs_make_the_same_digest(
    make_bundle: Callable[..., Path], tiny_bundle: Path, tmp_path: Path
) -> None:
    again = make_bundle(tmp_path / "again")
    assert Bundle.open(again).digest == Bundle.open(tiny_bundle).digest
    assert (again / "golden.npz").read_bytes() == (tiny_bundle / "golden.npz").read_bytes()


@pytest.mark.parametrize("fails", ["copyfile", "save_golden", "_sync", "_publish"])
def test_a_failure_while_writing_leaves_nothing(
    fails: str, make_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil if fails == "copyfile" else bundles, fails, no_space)
    with pytest.raises(errors.BundleError, match="No space left"):
        make_bundle(tmp_path / "b.bundle")
    assert os.listdir(tmp_path) == []


def test_a_wrong_argument_leaves_nothing(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(errors.BundleFormatError, match="no output"):
        make_bundle(tmp_path / "b.bundle", roles={"gallery": "image.nope"}, golden={"pixels": np.zeros(1)})
    with pytest.raises(errors.BundleMissingFileError, match=r"text\.onnx"):
        make_bundle(tmp_path / "b.bundle", tamper=lambda folder: (folder / "text.onnx").unlink())
    assert os.listdir(tmp_path) == []


def test_a_bundle_is_replaced_whole_or_not_at_all(
    make_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = make_bundle(tmp_path / "b.bundle")
    old = Bundle.open(out)
    rename = Path.rename

    def fail_into_place(self: Path, target: Path) -> Path:
        if target == out and (self / "manifest.json").exists() and manifest(self)["digest"] != old.digest:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_into_place)
    with pytest.raises(errors.BundleError, match="Input/output"):
        make_bundle(out, seed=1)
    assert Bundle.open(out).digest == old.digest
    monkeypatch.undo()
    make_bundle(out, seed=1)
    assert Bundle.open(out).digest != old.digest
    assert os.listdir(tmp_path) == ["b.bundle"]
    with pytest.raises(errors.BundleDamagedError, match="open it again"):
        old.graph_path("image")


def test_what_is_no_bundle_is_not_replaced(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.txt").write_text("years of work")
    (tmp_path / "file").write_text("x")
    for place in ("thesis", "file"):
        with pytest.raises(errors.InputError, match="is not a bundle"):
            make_bundle(tmp_path / place)
    assert (tmp_path / "thesis/chapter.txt").read_text() == "years of work"
