"""manifest.json: a field that is wrong, missing, unknown or contradictory has an error that says so."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdk import manifest as manifests
from sdk.bundle import Bundle
from sdk.errors import BundleError, BundleFormatError, BundleVersionError

FORM = BundleFormatError
Edit = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_bundle, tmp_path / "copy.bundle")
    return tmp_path / "copy.bundle"


def without(name: str) -> Edit:
    return lambda m: {k: v for k, v in m.items() if k != name}


def put(*path: Any, value: Any) -> Edit:
    def change(m: dict[str, Any]) -> dict[str, Any]:
        place = m
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        return m

    return change


LOOP = {"files": ["text.onnx"], "inputs": {"a": "b.o"}, "outputs": {"o": ["n", 16]}}
BACK = {**LOOP, "inputs": {"a": "a.o"}}
BAD_FIELDS = {
    "newer": (put("format", value=2), BundleVersionError, "newer than this Labrador.*upgrade"),
    "format is no number": (put("format", value="1"), FORM, "format: got '1'"),
    **{f"{f} missing": (without(f), FORM, f"'{f}' is missing")
       for f in ("name", "image", "graphs", "roles", "files", "similarity", "golden", "space", "digest")},
    "unknown field": (put("colour", value=1), FORM, "unknown field 'colour'"),
    "wrong type": (put("roles", value=[]), FORM, "roles: got list; allowed is an object"),
    "no licence": (put("provenance", value={"recipe": "", "data": "", "checkpoint": None}),
                   FORM, "'licence' is missing"),
    "max_batch 0": (put("max_batch", value=0), FORM, "max_batch: got 0"),
    "max_batch true": (put("max_batch", value=True), FORM, "max_batch: got bool"),
    "image spec": (put("image", "height", value=0), FORM, "height=0"),
    "text spec": (put("text", "clean", value=["upper"]), FORM, "clean='upper'"),
    "schema": (put("schema", "slots", value=3), FORM, "attribute schema"),
    "file entry": (put("files", "text.onnx", value={"bytes": -1, "sha256": "0"}),
                   FORM, "give bytes and sha256"),
    "unlisted graph file": (put("graphs", "text", "files", value=["other.onnx"]),
                            FORM, "'other.onnx' is not among 'files'"),
    "unlisted tokenizer": (put("text", "tokenizer", value="t.json"), FORM, "'t.json' is not among"),
    "graph name": (put("graphs", "a.b", value=LOOP), FORM, "letters, digits and underscores"),
    "graph fields": (put("graphs", "text", value={"files": ["text.onnx"]}), FORM, "exactly"),
    "unknown source": (put("graphs", "text", "inputs", "input_ids", value="tokens"),
                       FORM, "unknown source 'tokens'"),
    "unknown output as source": (put("graphs", "text", "inputs", "input_ids", value="image.nope"),
                                 FORM, r"unknown source 'image\.nope'"),
    "cycle": (lambda m: put("graphs", "b", value=BACK)(put("graphs", "a", value=LOOP)(m)),
              FORM, "a, b wait for one another"),
    "feeds itself": (put("graphs", "b", value=LOOP), FORM, "b wait for one another"),
    "output shape": (put("graphs", "text", "outputs", "features", value=["n", 0]), FORM, r'\["n", d\]'),
    "fixed batch": (put("graphs", "text", "outputs", "features", value=[1, 16]), FORM, r'\["n", d\]'),
    "output of other size": (put("graphs", "text", "outputs", "features", value=["n", 8]),
                             FORM, r"gives \(n, 8\), but similarity asks for \(n, 16\)"),
    "unknown role": (put("roles", "query.smell", value="text.features"), FORM, "unknown role"),
    "no gallery role": (put("roles", value={"query.text": "text.features"}), FORM, "with 'gallery'"),
    "role of an unknown graph": (put("roles", "query.text", value="words.features"),
                                 FORM, r"'words\.features' is no output of a graph"),
    "gallery from words": (put("roles", "gallery", value="text.features"),
                           FORM, "depends on input_ids"),
    "attributes without schema": (put("schema", value=None), FORM, "'schema', which is null"),
    "text role without text": (lambda m: put("text", value=None)(m), FORM, "'text', which is null"),
    "mask that isn't made": (put("graphs", "text", "inputs", value={"input_ids": "attention_mask"}),
                             FORM, "needs attention_mask, but text.mask is false"),
    "similarity": (put("similarity", "dim", value=0), FORM, "each from 1"),
    "top above tokens": (put("similarity", "top_tokens", value=2), FORM, "above tokens=1"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_FIELDS)
def test_each_wrong_field_has_its_error(kind: str, copy: Path) -> None:
    change, error, says = BAD_FIELDS[kind]
    file = copy / "manifest.json"
    file.write_text(json.dumps(change(json.loads(file.read_text("utf-8")))), "utf-8")
    with pytest.raises(error, match=says) as caught:
        Bundle.open(copy)
    assert type(caught.value) is error


@pytest.mark.parametrize("value", ["1e999", '"\\ud800"', "-1e999"])
def test_values_that_no_hash_can_cover(value: str, copy: Path) -> None:
    file = copy / "manifest.json"
    file.write_text(file.read_text("utf-8").replace('"parity": null', f'"parity": {{"x": {value}}}'), "utf-8")
    with pytest.raises(BundleFormatError, match="is not JSON"):
        Bundle.open(copy)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in inner:
        yield (*path, key)
        yield from leaves(entry, (*path, key))


odd = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "..", "image.features", "pixels", "n"]), st.lists(st.integers(0, 2), max_size=3),
    st.dictionaries(st.sampled_from(["", "a", "files", "bytes"]), st.integers(0, 2), max_size=2),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_value_in_any_place_is_accepted_or_a_bundle_error(data: st.DataObject, tiny_bundle: Path) -> None:
    manifest = json.loads((tiny_bundle / "manifest.json").read_text("utf-8"))
    path = data.draw(st.sampled_from(sorted(leaves(manifest), key=str)))
    put(*path, value=data.draw(odd))(manifest)
    try:
        manifests.check(manifest)
        for name in manifest["files"]:
            manifests.safe_path(tiny_bundle, name)
        assert len(manifests.space_of(manifest)) == len(manifests.digest_of(manifest)) == 64
    except BundleError:
        pass
