"""Tiny bundles without torch, and pictures to go with them.

The towers understand one thing: colour. A picture's vector holds the mean of its red, green and blue
beside a coarse layout; the words "red", "green", "blue" point the same way. So a test can ask for
"a man in a red coat" and know which picture must come first. Every tower also exists in NumPy, as the
source of the golden features.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis
import numpy as np
import pytest
from PIL import Image

from sdk import manifest as manifests
from sdk.attributes import Schema
from sdk.bundle import make_golden, write_bundle
from sdk.preprocess import ImageSpec, TextPreprocess, TextSpec

# No deadline: a busy machine is no failure. Derandomised: what passed before a change and fails after it
# fails because of the change.
hypothesis.settings.register_profile("labrador", deadline=None, derandomize=True)
hypothesis.settings.load_profile("labrador")

DIM = 16
SPEC = ImageSpec(32, 16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # pooled by 8: 4 x 2 cells of 3 channels
TEXT = TextSpec(length=12, pad_id=0, clean=("ftfy", "html", "whitespace", "lower"))
COLOURS = {"red": (1, -1, -1), "green": (-1, 1, -1), "blue": (-1, -1, 1)}
WORDS = ["[PAD]", "[UNK]", "[START]", "[END]", *COLOURS, "a", "man", "woman", "person", "in", "coat", "hat"]
SCHEMA = Schema.from_json(
    {
        "name": "tiny",
        "slots": {
            "gender": {"male": "man", "female": "woman"},
            "coat": {"red": "red", "green": "green", "blue": "blue", "unknown": ""},
            "hat": {"yes": "a hat"},
        },
        "clauses": [["A {gender}", "A person"], ["in a {coat} coat"], ["in {hat}"]],
    }
)


def weights(seed: int) -> dict[str, np.ndarray]:
    """Colour goes to the first three dimensions, layout and wording faintly to the others."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 0.05, (24, DIM))
    for channel in range(3):
        image[channel * 8 : channel * 8 + 8, channel] = 1 / 8
    words = rng.normal(0, 0.1, (len(WORDS), DIM))
    for word, direction in COLOURS.items():
        words[WORDS.index(word), :3] = direction
    words[0] = 0
    bias = np.full(DIM, 0.05)  # keeps grey pictures and wordless texts off the zero vector
    tokens = rng.normal(0, 0.3, (4, 24, DIM)) + image
    return {
        k: v.astype(np.float32)
        for k, v in {"image": image, "words": words, "bias": bias, "tokens": tokens}.items()
    }


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def reference(w: dict[str, np.ndarray]) -> Callable[[str, dict[str, Any]], np.ndarray]:
    """The towers in NumPy: role and feeds → features."""

    def run(role: str, feeds: dict[str, Any]) -> np.ndarray:
        pooled = feeds["pixels"].reshape(-1, 3, 4, 8, 2, 8).mean(axis=(3, 5)).reshape(-1, 24)
        image = unit(pooled @ w["image"] + w["bias"])
        text = w["words"][feeds["input_ids"]].sum(axis=1) + w["bias"] if "input_ids" in feeds else None
        if role in ("query.text", "query.attributes"):
            return unit(text)
        if role == "query.composed":
            return unit(pooled @ w["image"] + w["bias"] + text)
        if role == "gallery.tokens":
            return unit(np.einsum("nc,tcd->ntd", pooled, w["tokens"]) + w["bias"])
        return image

    return run


def save_graph(
    path: Path, nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any], constants: Any
) -> None:
    """inputs and outputs: name → (dtype, shape)."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kinds = {"float": TensorProto.FLOAT, "int64": TensorProto.INT64}
    values = [
        [helper.make_tensor_value_info(name, kinds[kind], shape) for name, (kind, shape) in side.items()]
        for side in (inputs, outputs)
    ]
    stored = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph([helper.make_node(*n[:3], **n[3]) for n in nodes], "g", *values, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


POOL = [
    ("AveragePool", ["pixels"], ["pooled"], {"kernel_shape": [8, 8], "strides": [8, 8]}),
    ("Flatten", ["pooled"], ["cells"], {}),
]
PIXELS = {"pixels": ("float", ["n", 3, 32, 16])}
IDS = {"input_ids": ("int64", ["n", 12])}
WORD_SUM = [
    ("Gather", ["words", "input_ids"], ["embedded"], {}),
    ("ReduceSum", ["embedded", "one"], ["said"], {"keepdims": 0}),
]
ONE, LAST = {"one": np.array([1])}, {"last": np.array([-1])}


def unit_nodes(source: str, target: str) -> list[Any]:
    return [
        ("ReduceL2", [source, "last"], [f"{target}_norm"], {"keepdims": 1}),
        ("Div", [source, f"{target}_norm"], [target], {}),
    ]


def save_tokenizer(path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[START] $A [END]", special_tokens=[("[START]", 2), ("[END]", 3)]
    )
    tokenizer.save(str(path))


def stored(name: str, inputs: dict[str, str], **outputs: list[Any]) -> dict[str, Any]:
    return {
        "files": [f"{name}.onnx"],
        "inputs": inputs,
        "outputs": {k: ["n", *v] for k, v in outputs.items()},
    }


LINEAR = [("MatMul", ["cells", "w"], ["projected"], {}), ("Add", ["projected", "bias"], ["moved"], {})]
FEATURES = {"features": ("float", ["n", DIM])}


def save_two_towers(folder: Path, w: dict[str, np.ndarray]) -> dict[str, Any]:
    nodes = [*POOL, *LINEAR, *unit_nodes("moved", "features")]
    save_graph(folder / "image.onnx", nodes, PIXELS, FEATURES, {"w": w["image"], "bias": w["bias"], **LAST})
    nodes = [*WORD_SUM, ("Add", ["said", "bias"], ["moved"], {}), *unit_nodes("moved", "features")]
    constants = {"words": w["words"], "bias": w["bias"], **LAST, **ONE}
    save_graph(folder / "text.onnx", nodes, IDS, FEATURES, constants)
    both = {"query.text": "text.features", "query.attributes": "text.features"}
    return {
        "graphs": {
            "image": stored("image", {"pixels": "pixels"}, features=[DIM]),
            "text": stored("text", {"input_ids": "input_ids"}, features=[DIM]),
        },
        "roles": {"gallery": "image.features", "query.image": "image.features", **both},
        "similarity": {"dim": DIM, "tokens": 1, "top_tokens": 1},
    }


def save_three_graphs(folder: Path, w: dict[str, np.ndarray]) -> dict[str, Any]:
    """A trunk; a gallery head with 4 tokens and a pooled output; a composer over trunk and words."""
    cells = {"cells": ("float", ["n", 24])}
    constants = {"w": w["image"], "bias": w["bias"], **LAST}
    save_graph(folder / "trunk.onnx", POOL, PIXELS, cells, {})
    late = [
        ("MatMul", ["cells", "w4"], ["flat"], {}),
        ("Reshape", ["flat", "shape"], ["split"], {}),
        ("Add", ["split", "bias"], ["moved4"], {}),
    ]
    nodes = [*LINEAR, *unit_nodes("moved", "features"), *late, *unit_nodes("moved4", "tokens")]
    flat = {"w4": w["tokens"].transpose(1, 0, 2).reshape(24, 4 * DIM), "shape": np.array([-1, 4, DIM])}
    outputs = {"tokens": ("float", ["n", 4, DIM]), **FEATURES}
    save_graph(folder / "head.onnx", nodes, cells, outputs, {**constants, **flat})
    added = [("Add", ["moved", "said"], ["summed"], {}), ("Add", ["summed", "bias"], ["all"], {})]
    nodes = [*LINEAR, *WORD_SUM, *added, *unit_nodes("all", "features")]
    words = {"words": w["words"], **ONE}
    save_graph(folder / "composer.onnx", nodes, {**cells, **IDS}, FEATURES, {**constants, **words})
    both = {"cells": "trunk.cells", "input_ids": "input_ids"}
    return {
        "graphs": {
            "composer": stored("composer", both, features=[DIM]),  # before what it needs, on purpose
            "trunk": stored("trunk", {"pixels": "pixels"}, cells=[24]),
            "head": stored("head", {"cells": "trunk.cells"}, tokens=[4, DIM], features=[DIM]),
        },
        "roles": {
            "gallery": "head.tokens",
            "query.image": "head.features",
            "query.composed": "composer.features",
        },
        "similarity": {"dim": DIM, "tokens": 4, "top_tokens": 2},
    }


def build(folder: Path, out: Path, kind: str, seed: int, tamper: Any, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    w = weights(seed)
    save_tokenizer(folder / "tokenizer.json")
    parts = (save_two_towers if kind == "two" else save_three_graphs)(folder, w)
    if tamper is not None:
        tamper(folder)
    run = reference(w)
    late = kind == "three"
    arguments: dict[str, Any] = {
        "name": "tiny",
        "provenance": {"recipe": "tiny", "data": "colours", "licence": "Apache-2.0", "checkpoint": None},
        "image": SPEC,
        "text": TEXT,
        "schema": SCHEMA,
        "max_batch": 8,
        "source_dir": folder,
        **parts,
    }
    arguments.update(changes)
    arguments.setdefault(
        "golden",
        make_golden(
            arguments["image"],
            TextPreprocess(TEXT, folder / "tokenizer.json"),
            lambda role, feeds: run("gallery.tokens" if late and role == "gallery" else role, feeds),
            list(arguments["roles"]),
        ),
    )
    return write_bundle(out, **arguments).path


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """make_bundle(out, kind="two"|"three", seed=0, tamper=None, **write_bundle arguments) -> its path.

    Another seed is another model, of another space. ``tamper(folder)`` may change the graph files.
    """

    def make(out: Path, kind: str = "two", seed: int = 0, tamper: Any = None, **changes: Any) -> Path:
        return build(tmp_path_factory.mktemp("graphs"), out, kind, seed, tamper, **changes)

    return make


@pytest.fixture(scope="session")
def tiny_bundle(make_bundle: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two towers, schema and golden samples; shared by the whole run, so copy it before changing it."""
    return make_bundle(tmp_path_factory.mktemp("bundle") / "tiny.bundle")


@pytest.fixture(scope="session")
def three_graph_bundle(make_bundle: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trunk, gallery head with t = 4 (top 2), composer; no text role. Copy it before changing it."""
    return make_bundle(tmp_path_factory.mktemp("bundle") / "three.bundle", kind="three")


@pytest.fixture(scope="session")
def tiny() -> SimpleNamespace:
    """What the tiny bundles are made of: dim, spec, text, schema, weights(seed), reference(weights)."""
    return SimpleNamespace(
        dim=DIM, spec=SPEC, text=TEXT, schema=SCHEMA, words=WORDS, weights=weights, reference=reference
    )


@pytest.fixture(scope="session")
def reseal() -> Callable[..., None]:
    """reseal(bundle path, **fields): change the manifest, and make space and digest fit again."""

    def apply(path: Path, *, space: bool = True, **fields: Any) -> None:
        file = path / manifests.NAME
        manifest = json.loads(file.read_text("utf-8"))
        manifest.update(fields)
        if space:
            manifest["space"] = manifests.space_of(manifest)
        manifest["digest"] = manifests.digest_of(manifest)
        file.write_text(json.dumps(manifest), "utf-8")

    return apply


@pytest.fixture(scope="session")
def picture() -> Callable[..., Image.Image]:
    """picture("red", number) -> a noisy 24 x 48 picture of mostly that colour; each number another one."""

    def draw(colour: str, number: int = 0) -> Image.Image:
        rng = np.random.default_rng([number, *colour.encode()])
        base = np.array([200 if c > 0 else 40 for c in COLOURS[colour]])
        noise = rng.integers(-40, 41, (6, 3, 3)).repeat(8, axis=0).repeat(8, axis=1)
        return Image.fromarray((base + noise).clip(0, 255).astype(np.uint8))

    return draw
