"""From a trained class head to what explain says: a schema like Market-1501's through training and bundle."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from export.onnx import export_bundle
from export.verify import verify
from sdk import Bundle, Retriever
from sdk.preprocess import preprocess_images
from sdk.recognition import columns, recognise
from train import checkpoint
from train.attribute_head import AttributeEncoder
from train.datasets._market1501_attributes import SCHEMA
from train.recipes import aima

LOOKS = [
    {"gender": "female", "hat": "yes", "upper_color": "red", "carrying": "handbag"},
    {"gender": "male", "hat": "no", "upper_color": "blue", "carrying": "nothing"},
    {"gender": "male", "hat": "no", "upper_color": "unknown", "carrying": "backpack"},
    {"gender": "female", "hat": "no", "upper_color": "green", "carrying": "bag"},
]
COLOURS = [(220, 40, 40), (40, 40, 220), (128, 128, 128), (40, 220, 40)]  # of the pictures of each look
ALIKE = {
    "age": "adult", "hair": "long", "sleeve": "short", "lower_color": "black", "lower_length": "long",
    "lower_type": "pants",
}  # fmt: skip
ASKED = {"gender": "female", "upper_color": "red", "hat": "yes"}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight people, two pictures each, in the layout of drawn people and the schema of Market-1501."""
    root = tmp_path_factory.mktemp("market")
    (root / "imgs/train").mkdir(parents=True)
    (root / "schema.json").write_text(json.dumps(SCHEMA.to_json()), "utf-8")
    entries, rows = [], []
    rng = np.random.default_rng(0)
    for i in range(16):
        person, name = i // 2, f"train/{i // 2:05d}_c{i % 2}_0.jpg"
        noise = rng.integers(-30, 31, (64, 32, 3))
        Image.fromarray((np.array(COLOURS[person % 4]) + noise).clip(0, 255).astype(np.uint8)).save(
            root / "imgs" / name
        )
        entries.append({"split": "train", "captions": ["someone"], "file_path": name, "id": person})
        look = {**ALIKE, **LOOKS[person % 4]}
        rows.append([name, person, i % 2, "front", "train", *(look[slot] for slot in SCHEMA.slots)])
    (root / "reid_raw.json").write_text(json.dumps(entries), "utf-8")
    with (root / "attributes.csv").open("w", newline="", encoding="utf-8") as file:
        head = ["file_path", "id", "camera", "view", "split", *SCHEMA.slots]
        csv.writer(file).writerows([head, *rows])
    return root


@pytest.fixture(scope="module")
def made(people: Path, model_name: str, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """module and bundle of a class head trained for sixty steps, until it knows its pictures."""
    out = tmp_path_factory.mktemp("aima")
    cfg = aima.Config(
        "drawn", str(people), str(out), model=model_name, pretrained=None, height=64, width=32, epochs=60,
        batch=16, lr=1e-2, temperature=0.3, eps=1e-8, rule="plain", schedule="step", warmup=1, clip_norm=1,
        erase=0, augment=False, cache=True, workers=0, judge=(), save_every=60, losses=("infonce", "map"),
        head="class",
    )  # fmt: skip
    aima.train(cfg)
    path = out / "ckpt.pt"
    module = checkpoint.load(path)
    bundle = export_bundle(module, out / "aima.bundle", name="aima", checkpoint=path)
    return SimpleNamespace(module=module, bundle=bundle, images=sorted((people / "imgs/train").iterdir()))


@pytest.fixture(scope="module")
def r(made: SimpleNamespace) -> Iterator[Retriever]:
    with Retriever(made.bundle.path) as retriever:
        retriever.add(made.images, ids=list(range(16)))
        yield retriever


def test_attributes_find_people_and_explain_says_what_they_match(r: Retriever) -> None:
    hits = r.search(attributes=ASKED, k=16)
    explained = r.explain(hits)[0]
    assert explained[0].sentence == "A woman, wearing a hat, wearing a red top."
    assert {int(told.id) // 2 % 4 for told in explained[:4]} == {0}
    right = 0
    for told in explained:
        look = LOOKS[int(told.id) // 2 % 4]
        assert set(told.attributes) == set(ASKED)
        right += sum(seen.likeliest == look[slot] for slot, seen in told.attributes.items())
    assert right >= 40  # of 48, on the pictures it was trained on
    women = [told for told in explained if int(told.id) // 2 % 4 == 0]
    men = [told for told in explained if int(told.id) // 2 % 4 in (1, 2)]
    for slot in ASKED:
        sure = [np.mean([told.attributes[slot].probability for told in some]) for some in (women, men)]
        assert sure[0] > sure[1] + 0.1, slot


def test_the_gate_covers_the_graph_and_it_plays_no_role(made: SimpleNamespace) -> None:
    manifest = made.bundle.manifest
    assert manifest["format"] == 1
    assert manifest["graphs"]["attributes"] == {
        "files": ["attributes.onnx"],
        "inputs": {"features": "image.features"},
        "outputs": {"probabilities": ["n", sum(len(values) for values in SCHEMA.slots.values())]},
    }
    assert "attributes.probabilities" not in manifest["roles"].values()
    checks = {check["name"]: check for check in manifest["parity"]["checks"]}
    assert checks["attributes.probabilities: largest difference from torch"]["value"] <= 1e-4
    assert checks["attributes.probabilities: one input twice in a batch"]["passed"]
    assert "attributes.probabilities: distance from unit length" not in checks
    assert checks["attributes.onnx: opset"]["passed"]


@torch.no_grad()
def test_the_gate_stays_shut_for_another_head(made: SimpleNamespace, people: Path) -> None:
    weight = made.module.head.classifier.weight
    before = weight.clone()
    weight[0] += 0.1
    try:
        report = verify(made.bundle, made.module)
    finally:
        weight.copy_(before)
    failed = [check.name for check in report.failures]
    assert "attributes.probabilities: largest difference from torch" in failed
    assert all(name.startswith("attributes.") for name in failed)


@torch.no_grad()
def test_the_columns_are_the_values_they_are_named_by(made: SimpleNamespace, r: Retriever) -> None:
    module: Any = made.module
    assert isinstance(module, AttributeEncoder)
    pixels = torch.from_numpy(preprocess_images(made.images[:4], module.image_spec))
    vectors = F.normalize(module.encode_image(pixels), dim=1)
    found = recognise(r.bundle, r.session, vectors.numpy())
    assert found is not None
    slots = module.head.logits(vectors).softmax(dim=2)  # as training asked them: values in sorted order
    for row, said in enumerate(found):
        for place, (slot, values) in enumerate(SCHEMA.slots.items()):
            ours = slots[row, place, : len(values)].tolist()
            assert [said[slot][value] for value in sorted(values)] == pytest.approx(ours, abs=1e-5)
    assert len(columns(SCHEMA)) == sum(len(values) for values in SCHEMA.slots.values())


def test_a_sorted_manifest_means_the_same(made: SimpleNamespace, r: Retriever, tmp_path: Path) -> None:
    """The order of a JSON object says nothing, and no hash covers it."""
    copy = tmp_path / "sorted.bundle"
    copy.mkdir()
    for file in made.bundle.path.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((copy / "manifest.json").read_text("utf-8"))
    (copy / "manifest.json").write_text(json.dumps(manifest, sort_keys=True), "utf-8")
    vectors = np.stack([row.vector for row in r.gallery.get([0, 1]) if row])
    assert recognise(Bundle.open(copy), r.session, vectors) == recognise(r.bundle, r.session, vectors)
