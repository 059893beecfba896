"""Bundles on disk: one error per kind of damage, and none of it reaches an engine."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sdk.bundle import Bundle
from sdk.errors import BundleDamagedError as DAMAGED
from sdk.errors import BundleError, MissingRoleError
from sdk.errors import BundleFormatError as FORM
from sdk.errors import BundleMissingFileError as MISSING
from sdk.errors import BundlePathError as OUTSIDE

Change = Callable[[Path], None]


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_bundle, tmp_path / "copy.bundle")
    return tmp_path / "copy.bundle"


@pytest.fixture
def heavy(make_bundle: Callable[..., Path], tmp_path: Path) -> Path:
    """The image graph's weights in a file of their own, in a folder, as graphs above 2 GB have them."""

    def outside(folder: Path) -> None:
        import onnx

        (folder / "image").mkdir()
        model = onnx.load(folder / "image.onnx")
        onnx.save_model(
            model,
            folder / "image/image.onnx",
            save_as_external_data=True,
            location="w.data",
            size_threshold=64,
        )

    graphs = {
        "image": {
            "files": ["image/image.onnx", "image/w.data"],
            "inputs": {"pixels": "pixels"},
            "outputs": {"features": ["n", 16]},
        },
        "text": {
            "files": ["text.onnx"],
            "inputs": {"input_ids": "input_ids"},
            "outputs": {"features": ["n", 16]},
        },
    }
    return make_bundle(tmp_path / "heavy.bundle", tamper=outside, graphs=graphs)


def manifest(path: Path) -> dict[str, Any]:
    return json.loads((path / "manifest.json").read_text("utf-8"))


def test_a_bundle_opens_and_knows_its_parts(tiny_bundle: Path, tiny: SimpleNamespace) -> None:
    bundle = Bundle.open(tiny_bundle)
    assert (bundle.image_spec, bundle.text_spec, bundle.schema) == (tiny.spec, tiny.text, tiny.schema)
    assert (bundle.space.dim, bundle.space.tokens, bundle.space.top_tokens) == (16, 1, 1)
    assert bundle.schema is not None
    assert list(bundle.schema.slots) == list(tiny.schema.slots)  # in the order they are spoken and listed
    assert bundle.space.hash == manifest(tiny_bundle)["space"]
    assert bundle.role("gallery") == ("image", "features")
    assert bundle.graph_path("text") == tiny_bundle / "text.onnx"
    assert list(manifest(tiny_bundle))[:2] == ["format", "name"]
    assert manifest(tiny_bundle)["provenance"].keys() == {
        "recipe",
        "data",
        "licence",
        "checkpoint",
        "labrador",
    }
    with pytest.raises(MissingRoleError, match=r"query\.composed.*it has gallery, query\.image"):
        bundle.role("query.composed")


def test_graphs_come_in_running_order_whatever_order_they_were_given(three_graph_bundle: Path) -> None:
    assert next(iter(manifest(three_graph_bundle)["graphs"])) == "composer"
    assert list(Bundle.open(three_graph_bundle).graphs) == ["trunk", "composer", "head"]


def cut(name: str) -> Change:
    return lambda path: (path / name).write_bytes((path / name).read_bytes()[:-1]) and None


def grow(name: str) -> Change:
    return lambda path: (path / name).write_bytes((path / name).read_bytes() + b"junk") and None


def flip(name: str, at: int = 100) -> Change:
    def change(path: Path) -> None:
        data = bytearray((path / name).read_bytes())
        data[at % len(data)] ^= 1
        (path / name).write_bytes(bytes(data))

    return change


def text(edit: Callable[[str], str]) -> Change:
    def change(path: Path) -> None:
        file = path / "manifest.json"
        file.write_text(edit(file.read_text("utf-8")), "utf-8")

    return change


DAMAGE: dict[str, tuple[Change, type[BundleError], str]] = {
    "no manifest": (lambda p: (p / "manifest.json").unlink(), FORM, "can't be read"),
    "empty manifest": (text(lambda s: ""), FORM, "is not JSON"),
    "not an object": (text(lambda s: "[1]"), FORM, "holds list"),
    "half a manifest": (text(lambda s: s[: len(s) // 2]), FORM, "is not JSON"),
    "junk behind": (text(lambda s: s + "}"), FORM, "is not JSON"),
    "not UTF-8": (lambda p: (p / "manifest.json").write_bytes(b"\xff\xfe{}") and None,
                  FORM, "UTF-8"),
    "nested beyond sense": (text(lambda s: "[" * 100_000), FORM, "is not JSON"),
    "NaN": (text(lambda s: s.replace('"max_batch": 8', '"max_batch": NaN')), FORM, "NaN"),
    "field given twice": (text(lambda s: s.replace('"max_batch": 8', '"max_batch": 8, "max_batch": 9')),
                          FORM, "'max_batch' is given twice"),
    "too large": (text(lambda s: s + " " * (16 * 2**20)), FORM, "larger than a manifest"),
    "edited by hand": (text(lambda s: s.replace('"max_batch": 8', '"max_batch": 9')),
                       DAMAGED, "its digest doesn't fit"),
    "graph missing": (lambda p: (p / "text.onnx").unlink(), MISSING, r"text\.onnx' is missing"),
    "graph is a folder": (lambda p: ((p / "text.onnx").unlink(), (p / "text.onnx").mkdir()) and None,
                          MISSING, r"text\.onnx"),
    "graph cut": (cut("image.onnx"), DAMAGED, r"image\.onnx' has .* bytes, the manifest"),
    "graph grown": (grow("image.onnx"), DAMAGED, r"image\.onnx' has .* bytes, the manifest"),
    "graph byte": (flip("image.onnx"), DAMAGED, "image.onnx' changed"),
    "tokenizer byte": (flip("tokenizer.json"), DAMAGED, "tokenizer.json' changed"),
    "golden byte": (flip("golden.npz"), DAMAGED, "golden.npz' changed"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_each_damage_has_its_error(kind: str, copy: Path) -> None:
    change, error, says = DAMAGE[kind]
    change(copy)
    with pytest.raises(error, match=says) as caught:
        Bundle.open(copy)
    assert type(caught.value) is error
    assert "copy.bundle" in str(caught.value)


def test_external_data_counts_like_any_file(heavy: Path) -> None:
    assert Bundle.open(heavy).graph_path("image") == heavy / "image/image.onnx"
    flip("image/w.data")(heavy)
    with pytest.raises(DAMAGED, match=r"w\.data' changed"):
        Bundle.open(heavy)
    cut("image/w.data")(heavy)
    with pytest.raises(DAMAGED, match=r"w\.data' has"):
        Bundle.open(heavy)
    (heavy / "image/w.data").unlink()
    with pytest.raises(MISSING, match=r"w\.data"):
        Bundle.open(heavy)


@pytest.mark.parametrize(
    "name",
    [
        "../up.onnx",
        "/etc/passwd",
        "a/../../up",
        "a\\b",
        "C:/x",
        "",
        ".",
        "./text.onnx",
        "manifest.json",
        "a\0b",
    ],
)
def test_a_path_that_climbs_out(name: str, copy: Path) -> None:
    (copy.parent / "up.onnx").write_bytes(b"")
    fields = manifest(copy)
    fields["files"][name] = {"bytes": 0, "sha256": "0" * 64}
    (copy / "manifest.json").write_text(json.dumps(fields), "utf-8")
    with pytest.raises(OUTSIDE, match="not a plain path"):
        Bundle.open(copy)


def test_a_link_that_climbs_out(copy: Path) -> None:
    shutil.move(copy / "text.onnx", copy.parent / "text.onnx")
    (copy / "text.onnx").symlink_to(copy.parent / "text.onnx")
    with pytest.raises(OUTSIDE, match="link that leaves the bundle"):
        Bundle.open(copy)
    (copy / "text.onnx").unlink()
    (copy / "text.onnx").symlink_to("text.onnx")
    with pytest.raises((OUTSIDE, MISSING)):
        Bundle.open(copy)


def test_links_inside_the_bundle_and_to_the_bundle_are_fine(copy: Path) -> None:
    (copy / "text.onnx").rename(copy / "real")
    (copy / "text.onnx").symlink_to("real")
    (copy.parent / "latest").symlink_to(copy)
    assert Bundle.open(copy.parent / "latest").name == "tiny"


def test_verify_false_skips_hashes_only(copy: Path) -> None:
    flip("image.onnx")(copy)
    assert Bundle.open(copy, verify=False).name == "tiny"
    cut("image.onnx")(copy)
    with pytest.raises(DAMAGED):
        Bundle.open(copy, verify=False)


def test_a_file_changed_after_opening_is_not_loaded(copy: Path) -> None:
    bundle = Bundle.open(copy)
    data = (copy / "text.onnx").read_bytes()
    (copy / "text.onnx").write_bytes(data[:-1] + b"x")
    os.utime(copy / "text.onnx", (1, 1))
    with pytest.raises(DAMAGED, match="changed after the bundle was opened"):
        bundle.graph_path("text")
