"""A graph that tells attributes from stored vectors: what explain makes of it, samples, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sdk import Bundle, Retriever
from sdk.bundle import GoldenCheck, check_golden
from sdk.cli import main
from sdk.errors import BundleFormatError, EngineError, MissingRoleError
from sdk.explain import Seen
from sdk.observe import examine_bundle
from sdk.recognition import TARGET, columns, recognise
from sdk.runtime import open_session

COLOURS = ("red", "green", "blue")
SIZES = (4, 2, 1)  # coat, gender, hat: the slots in sorted order
BOTH = {"query.text": "text.features", "query.attributes": "text.features"}
ROLES = {"gallery": "image.features", "query.image": "image.features", **BOTH}


def weights() -> np.ndarray:
    """Coat by the vector's first three numbers, which are the picture's red, green, blue; gender by none."""
    found = np.zeros((16, sum(SIZES)), np.float32)
    for column, number in enumerate((2, 1, 0)):  # blue, green, red; then unknown, which stays 0
        found[number, column] = 30
    return found


def reference(vectors: np.ndarray) -> np.ndarray:
    """What the graph gives, by NumPy."""
    powers = np.exp(vectors.astype(np.float64) @ weights())
    slots = np.split(powers, np.cumsum(SIZES)[:-1], axis=1)
    return np.concatenate([slot / slot.sum(axis=1, keepdims=True) for slot in slots], axis=1)


def write(folder: Path, factor: float = 1) -> None:
    parts = [f"p{i}" for i in range(len(SIZES))]
    nodes = [
        helper.make_node("MatMul", ["features", "w"], ["logits"]),
        helper.make_node("Split", ["logits", "sizes"], parts, axis=1),
        *(helper.make_node("Softmax", [p], [f"{p}s"], axis=1) for p in parts),
        helper.make_node("Concat", [f"{p}s" for p in parts], ["probabilities"], axis=1),
    ]
    face = [("features", 16), ("probabilities", sum(SIZES))]
    taken, given = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", size]) for n, size in face)
    constants = [("w", weights() * np.float32(factor)), ("sizes", np.array(SIZES))]
    stored = [numpy_helper.from_array(array, name) for name, array in constants]
    graph = helper.make_graph(nodes, "g", [taken], [given], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "attributes.onnx")


def graphs(source: str = "image.features", name: str = "attributes", size: int = 7) -> dict[str, Any]:
    def one(file: str, inputs: dict[str, str], **outputs: list[object]) -> dict[str, Any]:
        return {"files": [f"{file}.onnx"], "inputs": inputs, "outputs": outputs}

    return {
        "image": one("image", {"pixels": "pixels"}, features=["n", 16]),
        "text": one("text", {"input_ids": "input_ids"}, features=["n", 16]),
        name: one("attributes", {"features": source}, probabilities=["n", size]),
    }


@pytest.fixture(scope="module")
def bundle(make_bundle: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("seen") / "seen.bundle", tamper=write, graphs=graphs())


@pytest.fixture(scope="module")
def r(bundle: Path, picture: Any) -> Iterator[Retriever]:
    """Nine pictures, more than max_batch: 0 to 2 red, 3 to 5 green, 6 to 8 blue."""
    with Retriever(bundle) as retriever:
        retriever.add([picture(c, i) for c in COLOURS for i in range(3)], ids=list(range(9)))
        yield retriever


def test_explain_says_which_attributes_a_hit_matches(r: Retriever) -> None:
    hits = r.search(attributes={"coat": "red", "gender": "male"}, k=9)
    for told in r.explain(hits)[0]:
        coat, gender = told.attributes["coat"], told.attributes["gender"]
        colour = COLOURS[int(told.id) // 3]
        assert list(told.attributes) == ["coat", "gender"]
        assert (coat.asked, coat.likeliest) == ("red", colour)
        assert coat.matches == (colour == "red")
        assert coat.certainty > 0.9
        assert coat.probability == pytest.approx(coat.certainty if coat.matches else 0, abs=0.1)
        assert gender.probability == pytest.approx(0.5)
    best, worst = str(r.explain(hits)[0][0]), str(r.explain(hits)[0][-1])
    assert "matches coat=red (" in best
    assert f"coat=red seems {COLOURS[int(hits[0].ids[-1]) // 3]} (" in worst


def test_only_attribute_queries_are_compared(r: Retriever, picture: Any) -> None:
    for query in ({"text": "red"}, {"image": picture("red", 9)}):
        assert r.explain(r.search(**query, k=1))[0][0].attributes == {}


def test_every_vector_has_a_probability_for_every_value(r: Retriever, tiny: SimpleNamespace) -> None:
    vectors = np.stack([row.vector for row in r.gallery.get(list(range(9))) if row])
    found = recognise(r.bundle, r.session, vectors)
    assert found is not None
    assert len(found) == 9
    for one in found:
        assert {slot: set(values) for slot, values in one.items()} == {
            slot: set(values) for slot, values in tiny.schema.slots.items()
        }
        assert all(sum(values.values()) == pytest.approx(1, abs=1e-6) for values in one.values())
    assert recognise(r.bundle, r.session, vectors[:0]) == []
    assert columns(tiny.schema)[:5] == [
        ("coat", "blue"), ("coat", "green"), ("coat", "red"), ("coat", "unknown"), ("gender", "female")
    ]  # fmt: skip


def test_a_bundle_without_it_explains_as_ever_and_shares_its_space(
    r: Retriever, tiny_bundle: Path, bundle: Path, picture: Any
) -> None:
    with Retriever(tiny_bundle) as plain:
        plain.add([picture("red")], ids=[1])
        told = plain.explain(plain.search(attributes={"coat": "red"}, k=1))[0][0]
        assert told.attributes == {}
        assert recognise(plain.bundle, plain.session, np.ones((1, 16), np.float32)) is None
    assert Bundle.open(bundle).space == Bundle.open(tiny_bundle).space
    assert Bundle.open(bundle).manifest["format"] == 1


def test_golden_samples_cover_it(bundle: Path, make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    """Of another graph they fail, and so the doctor does; those written before it was covered still pass."""
    assert [c.name for c in checked(bundle) if not c.ok or TARGET in c.name] == []
    with np.load(bundle / "golden.npz") as stored:
        samples = {name: stored[name] for name in stored.files}
    samples[TARGET] = reference(samples["gallery"])
    covered = make_bundle(tmp_path / "covered.bundle", tamper=write, graphs=graphs(), golden=samples)
    assert all(check.ok for check in checked(covered))
    [check] = [check for check in checked(covered) if check.name == "golden attributes probabilities"]
    assert 0 < check.value < check.limit == 1e-4
    assert {finding.state for finding in examine_bundle(covered)} == {"ok"}
    other = make_bundle(
        tmp_path / "other.bundle", tamper=partial(write, factor=1.01), graphs=graphs(), golden=samples
    )
    assert [check.name for check in checked(other) if not check.ok] == ["golden attributes probabilities"]
    broken = [finding.what for finding in examine_bundle(other) if finding.state == "broken"]
    assert [what.split(":")[0] for what in broken] == ["golden attributes probabilities"]


def checked(path: Path) -> list[GoldenCheck]:
    opened = Bundle.open(path)
    return check_golden(opened, open_session(opened))


def test_the_command_line_explains_its_hits(
    r: Retriever,
    bundle: Path,
    tiny_bundle: Path,
    tmp_path: Path,
    picture: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = str(tmp_path / "people.gallery")
    with Retriever(bundle, place) as filling:
        filling.add([picture("red"), picture("blue")], ids=["red.png", "blue.png"])
    asked = ["search", "--gallery", place, "--attributes", "coat=red", "gender=male", "--k", "2"]
    assert main([*asked, "--bundle", str(bundle), "--explain"]) == 0
    said = capsys.readouterr().out
    table, best, worst = said.split("\n\n")
    assert table.splitlines()[1].split()[::2] == ["1", "red.png"]
    assert best.splitlines()[0].endswith("  red.png")
    assert "  asked: A man, in a red coat." in best
    assert "  matches coat=red (" in best
    assert "  coat=red seems blue (" in worst
    assert main([*asked, "--bundle", str(bundle), "--explain", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["id"], first["metadata"]) == ("red.png", {})
    assert sum(first["parts"].values()) == pytest.approx(first["score"], abs=1e-5)
    assert [hit["attributes"]["coat"]["matches"] for hit in (first, second)] == [True, False]
    assert second["attributes"]["coat"]["likeliest"] == "blue"
    assert main([*asked, "--bundle", str(tiny_bundle), "--explain"]) == 0
    assert "bundle can't tell which attributes a picture has" in capsys.readouterr().out
    assert main([*asked, "--bundle", str(tiny_bundle), "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)[0]) == ["id", "score", "metadata"]


def test_the_report_says_whether_it_can_tell(
    r: Retriever, tiny_bundle: Path, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    none = {name: target for name, target in ROLES.items() if name != "query.attributes"}
    bare = make_bundle(tmp_path / "bare.bundle", schema=None, roles=none)
    for path, schema, can in (
        (r.bundle.path, "tiny", True),
        (tiny_bundle, "tiny", False),
        (bare, None, False),
    ):
        with Retriever(path) as one:
            about = one.report()["bundle"]
        assert (about["schema"], about["tells_attributes"]) == (schema, can)
    with (
        Retriever(bare) as one,
        pytest.raises(MissingRoleError, match=r"has no attribute schema.*ask by text"),
    ):
        one.search(attributes={"coat": "red"})


def test_a_graph_without_a_role_and_of_any_other_name_is_passed_over(
    make_bundle: Callable[..., Path], tmp_path: Path, picture: Any
) -> None:
    path = make_bundle(tmp_path / "extra.bundle", tamper=write, graphs=graphs(name="extra"))
    with Retriever(path) as plain:
        plain.add([picture("red")], ids=[1])
        assert plain.explain(plain.search(attributes={"coat": "red"}, k=1))[0][0].attributes == {}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"graphs": graphs(size=6)}, r"gives \{'probabilities': \(6,\)\}.*\{'probabilities': \(7,\)\}"),
        ({"graphs": graphs("text.features")}, r"takes text\.features .*must take image\.features"),
        ({"graphs": graphs(), "schema": None, "roles": {"gallery": "image.features"}}, "there is none"),
    ],
    ids=["another size", "another input", "no schema"],
)
def test_another_graph_of_its_name_is_refused(
    make_bundle: Callable[..., Path], tmp_path: Path, changes: dict[str, Any], match: str
) -> None:
    with pytest.raises(BundleFormatError, match=match):
        make_bundle(tmp_path / "wrong.bundle", tamper=write, **changes)


class Fixed:
    """A session that always gives the same."""

    def __init__(self, values: np.ndarray) -> None:
        self.report: dict[str, Any] = {}
        self.values = values.astype(np.float32)

    def run(self, graph: str, inputs: Any) -> dict[str, Any]:
        return {"probabilities": self.values}

    def close(self) -> None: ...


@pytest.mark.parametrize("value", [np.nan, -0.5, 2.0])
def test_what_is_no_probability_is_an_error(r: Retriever, value: float) -> None:
    with pytest.raises(EngineError, match="aren't probabilities"):
        recognise(r.bundle, Fixed(np.full((1, 7), value)), np.ones((1, 16), np.float32))


def test_another_shape_is_an_error(r: Retriever) -> None:
    with pytest.raises(BundleFormatError, match=r"gave \(1, 7\) for 2 vectors"):
        recognise(r.bundle, Fixed(np.zeros((1, 7))), np.ones((2, 16), np.float32))


def test_seen_matches_when_the_likeliest_is_what_was_asked() -> None:
    assert Seen("red", 0.6, "red", 0.6).matches
    assert not Seen("red", 0.4, "blue", 0.6).matches
