"""aima's class head, from a folder like Market-1501 to what a user is told: search, explain, gate, doctor."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import numpy_helper

import export.onnx
from export.verify import verify
from sdk import Bundle, Retriever, jobs
from sdk.errors import AttributeValueError, ExportError
from sdk.observe import examine_bundle
from sdk.preprocess import preprocess_images
from sdk.recognition import TARGET, columns, recognise
from train import datasets
from train.attribute_head import AttributeEncoder
from train.datasets import market1501
from train.datasets._market1501_attributes import SCHEMA, read_attributes

PEOPLE = {"folder": "bounding_box_test", "person": {"$gt": 0}}


@pytest.fixture(scope="module")
def r(taught: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Retriever]:
    """The test pictures, from the list that `python -m train.datasets.market1501` writes."""
    folder = tmp_path_factory.mktemp("gallery")
    market1501.write_list(taught.root, folder / "market.csv")
    jobs.index(folder / "market.csv", taught.bundle.path, folder / "people.gallery")
    with Retriever(taught.bundle.path, folder / "people.gallery") as retriever:
        yield retriever


def person_of(identity: object) -> int:
    return int(str(identity).split("/")[1].split("_")[0])


def test_attributes_find_the_people_who_have_them(r: Retriever, taught: SimpleNamespace) -> None:
    hits = r.search(attributes=taught.asked, k=4, where=PEOPLE)
    for ranking, look in zip(hits, taught.looks, strict=True):
        assert [person_of(hit.id) % 4 for hit in ranking] == [look] * 4
    module = taught.module
    with torch.no_grad():
        asked = module.encode_text(
            torch.as_tensor(module.tokenizer([SCHEMA.sentence(a) for a in taught.asked]))
        )
    assert np.stack([q.vector for q in hits.queries]) == pytest.approx(F.normalize(asked).numpy(), abs=1e-5)
    assert (r.report()["bundle"]["schema"], r.report()["bundle"]["tells_attributes"]) == ("market1501", True)


def test_explain_says_which_attributes_a_hit_matches(r: Retriever, taught: SimpleNamespace) -> None:
    """All ten slots of every person, as the table has them."""
    table = read_attributes(taught.root, "test")
    asked = [table[person] for person in range(20, 24)]
    hits = r.search(attributes=asked, k=24, where={"person": {"$gt": 0}})
    for given, explained in zip(asked, r.explain(hits), strict=True):
        assert explained[0].sentence == SCHEMA.sentence(given)
        assert len(explained) == 24
        for told in explained:
            has = table[person_of(told.id)]
            assert {slot: seen.likeliest for slot, seen in told.attributes.items()} == has
            assert {slot: seen.matches for slot, seen in told.attributes.items()} == {
                slot: given[slot] == has[slot] for slot in SCHEMA.slots
            }
            lines = str(told).splitlines()
            for slot, value in given.items():
                start = (
                    f"matches {slot}={value}" if has[slot] == value else f"{slot}={value} seems {has[slot]}"
                )
                assert [line for line in lines if line.startswith(f"  {start} (")]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"upper_color": "orange"}, "upper_color='orange' is unknown; 'upper_color' takes 'black', 'white'"),
        (
            {"upper_colour": "red"},
            r"'upper_colour' \(did you mean 'upper_color'\?\); schema 'market1501' has",
        ),
        ({"hat": True}, "hat=True is unknown; 'hat' takes 'no', 'yes'"),
        ({}, "give a dict of at least one of 'age', 'gender'"),
    ],
)
def test_what_the_schema_lacks_is_refused_by_name(
    r: Retriever, attributes: dict[str, str], message: str
) -> None:
    with pytest.raises(AttributeValueError, match=message):
        r.search(attributes=attributes)


def test_the_bundle_is_judged_as_its_checkpoint(
    taught: SimpleNamespace, assert_same_points: Callable[..., dict[str, Any]]
) -> None:
    found = assert_same_points(taught.checkpoint, taught.bundle.path, "market1501", taught.root)
    assert list(found) == ["text", "attributes", "image"]
    assert (found["attributes"]["queries"], found["attributes"]["rank1"]) == (4, 100)
    assert [found[task]["gallery"] for task in found] == [24, 24, 18]


def test_the_gate_and_the_samples_cover_the_graph_and_it_plays_no_role(taught: SimpleNamespace) -> None:
    manifest = taught.bundle.manifest
    assert manifest["format"] == 1
    assert manifest["graphs"]["attributes"] == {
        "files": ["attributes.onnx"],
        "inputs": {"features": "image.features"},
        "outputs": {"probabilities": ["n", len(columns(SCHEMA))]},
    }
    assert TARGET not in manifest["roles"].values()
    assert manifest["parity"]["on"] == "market1501/test: 24 pictures, 8 queries"
    checks = {c["name"]: c for c in manifest["parity"]["checks"] if "attributes" in c["name"].split(":")[0]}
    assert {name.split(": ")[1] for name in checks if name.startswith(TARGET)} == {
        "largest difference from torch",
        "smallest cosine with torch",
        "one input in batches of different sizes",
        "one input twice in a batch",
        "largest difference of logarithms",
    }
    assert all(check["passed"] for check in checks.values())
    assert 0 < checks["golden attributes probabilities"]["value"] <= 1e-4
    assert checks["attributes.onnx: opset"]["passed"]


def weights(model: onnx.ModelProto, name: str, change: Callable[[np.ndarray], Any]) -> None:
    [tensor] = [t for t in model.graph.initializer if t.name == name]
    array = numpy_helper.to_array(tensor).copy()
    change(array)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def swap(array: np.ndarray) -> None:
    array[[0, 1]] = array[[1, 0]]


def swap_columns(model: onnx.ModelProto) -> None:
    last = [node for node in model.graph.node if node.op_type == "GatherND"][-1]
    weights(model, last.input[1], swap)


def no_softmax(model: onnx.ModelProto) -> None:
    [node] = [node for node in model.graph.node if node.op_type == "Softmax"]
    node.op_type = "Identity"
    del node.attribute[:]


def more_purple(bias: np.ndarray) -> None:
    bias[columns(SCHEMA).index(("upper_color", "purple"))] += 0.1


CORRUPTIONS: dict[str, Callable[[onnx.ModelProto], None]] = {
    "two values' weights change places": lambda model: weights(model, "classifier.weight", swap),
    "two columns change places": swap_columns,
    "no softmax": no_softmax,
    "a value that nobody has": lambda model: weights(model, "classifier.bias", more_purple),
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_a_corrupted_graph_shuts_the_gate_and_the_doctor_sees_it(
    corruption: str, taught: SimpleNamespace, tmp_path: Path, reseal: Callable[..., None]
) -> None:
    """The doctor has a few pictures, and none shows purple; the gate's vectors point anywhere."""
    copy = Path(shutil.copytree(taught.bundle.path, tmp_path / "copy.bundle"))
    rewrite(copy / "attributes.onnx", CORRUPTIONS[corruption])
    data = (copy / "attributes.onnx").read_bytes()
    entry = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    reseal(copy, files={**taught.bundle.manifest["files"], "attributes.onnx": entry})
    report = verify(Bundle.open(copy), taught.module, datasets.load("market1501", taught.root, "test"))
    failed = {check.name for check in report.failures}
    assert failed >= {f"{TARGET}: largest difference {what}" for what in ("from torch", "of logarithms")}
    assert all("attributes" in name for name in failed)
    broken = {finding.what.split(":")[0] for finding in examine_bundle(copy) if finding.state == "broken"}
    assert broken == (set() if "nobody" in corruption else {"golden attributes probabilities"})


def rewrite(path: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)


def test_no_bundle_is_written_with_a_corrupted_graph(
    taught: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def corrupted(graph: Any, folder: Path, single_file: int = 0) -> list[str]:
        file = f"{graph.name}.onnx"
        shutil.copyfile(taught.bundle.path / file, folder / file)
        if graph.name == "attributes":
            rewrite(folder / file, CORRUPTIONS["a value that nobody has"])
        return [file]

    monkeypatch.setattr(export.onnx, "write_graph", corrupted)
    with pytest.raises(
        ExportError, match=r"stays shut.*: attributes\.probabilities: largest difference from"
    ):
        export.onnx.export_bundle(taught.module, tmp_path / "p.bundle", name="aima")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_without_the_graph_is_not_its_checkpoint(
    taught: SimpleNamespace, tmp_path: Path, reseal: Callable[..., None]
) -> None:
    copy = Path(shutil.copytree(taught.bundle.path, tmp_path / "copy.bundle"))
    graphs = {name: graph for name, graph in taught.bundle.manifest["graphs"].items() if name != "attributes"}
    reseal(copy, graphs=graphs)
    report = verify(Bundle.open(copy), taught.module, datasets.load("market1501", taught.root, "test"))
    [failed] = report.failures
    assert (failed.name, failed.value) == ("manifest: fields that differ from the checkpoint", "graphs")


@torch.no_grad()
def test_the_columns_are_the_values_they_are_named_by(taught: SimpleNamespace, r: Retriever) -> None:
    module: Any = taught.module
    assert isinstance(module, AttributeEncoder)
    pictures = sorted((taught.root / "query").glob("*.jpg"))
    vectors = F.normalize(
        module.encode_image(torch.from_numpy(preprocess_images(pictures, module.image_spec)))
    )
    found = recognise(r.bundle, r.session, vectors.numpy())
    assert found is not None
    slots = module.head.logits(vectors).softmax(dim=2)  # as training asked them: values in sorted order
    for row, said in enumerate(found):
        for place, (slot, values) in enumerate(SCHEMA.slots.items()):
            ours = slots[row, place, : len(values)].tolist()
            assert [said[slot][value] for value in sorted(values)] == pytest.approx(ours, abs=1e-5)


def test_a_sorted_manifest_means_the_same(taught: SimpleNamespace, r: Retriever, tmp_path: Path) -> None:
    """The order of a JSON object says nothing, and no hash covers it."""
    copy = Path(shutil.copytree(taught.bundle.path, tmp_path / "sorted.bundle"))
    manifest = json.loads((copy / "manifest.json").read_text("utf-8"))
    (copy / "manifest.json").write_text(json.dumps(manifest, sort_keys=True), "utf-8")
    vectors = r.embed_images(np.full((2, 64, 32, 3), 200, np.uint8))
    assert recognise(Bundle.open(copy), r.session, vectors) == recognise(r.bundle, r.session, vectors)
