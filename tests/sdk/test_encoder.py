"""Encoder: unit vectors that don't depend on their batch, a trunk that runs once, clear refusals."""

import io
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdk.bundle import Bundle
from sdk.encoder import Encoder
from sdk.errors import (
    AttributeValueError,
    BundleFormatError,
    EngineError,
    ImageError,
    InputError,
    MissingRoleError,
    TextError,
)
from sdk.graphs import run_roles
from sdk.preprocess import preprocess_images
from sdk.runtime import open_session


class Watched:
    """A session that counts runs and batch sizes, and may spoil what comes out."""

    def __init__(self, bundle: Bundle, spoil: Callable[[str, np.ndarray], np.ndarray] | None = None) -> None:
        self.inner = open_session(bundle, "cpu")
        self.report: dict[str, Any] = self.inner.report
        self.runs: Counter[str] = Counter()
        self.sizes: list[int] = []
        self.spoil = spoil

    def run(self, graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.runs[graph] += 1
        self.sizes.append(len(next(iter(inputs.values()))))
        outputs = self.inner.run(graph, inputs)
        return {k: self.spoil(graph, v) for k, v in outputs.items()} if self.spoil else outputs

    def close(self) -> None:
        self.inner.close()


@pytest.fixture
def two(tiny_bundle: Path) -> Encoder:
    bundle = Bundle.open(tiny_bundle)
    return Encoder(bundle, Watched(bundle))


@pytest.fixture
def three(three_graph_bundle: Path) -> Encoder:
    bundle = Bundle.open(three_graph_bundle)
    return Encoder(bundle, Watched(bundle))


def noise(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (h, w, 3)).astype(np.uint8) for h, w in rng.integers(4, 60, (count, 2))]


def test_features_equal_the_towers_in_numpy(two: Encoder, tiny: SimpleNamespace) -> None:
    run = tiny.reference(tiny.weights(0))
    pixels = preprocess_images(noise(5), tiny.spec)
    np.testing.assert_allclose(two.images(noise(5)), run("gallery", {"pixels": pixels}), atol=1e-6)
    texts = ["a man in a red coat", "blue"]
    words = [[2, 7, 8, 11, 7, 4, 12, 3, 0, 0, 0, 0], [2, 6, 3] + [0] * 9]
    expected = run("query.text", {"pixels": pixels, "input_ids": np.array(words)})
    np.testing.assert_allclose(two.texts(texts), expected, atol=1e-6)


def test_everything_is_float32_of_unit_length(two: Encoder, three: Encoder) -> None:
    for vectors, shape in (
        (two.images(noise(3)), (3, 16)),
        (two.images(noise(3), role="query.image"), (3, 16)),
        (two.texts(["a man", "a hat"]), (2, 16)),
        (two.attributes([{"gender": "male"}]), (1, 16)),
        (three.images(noise(3)), (3, 4, 16)),
        (three.images(noise(3), role="query.image"), (3, 16)),
        (three.composed(noise(2), ["in red", "in blue"]), (2, 16)),
    ):
        assert vectors.dtype == np.float32
        assert vectors.shape == shape
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, atol=1e-6)


def test_nothing_gives_no_rows(two: Encoder, three: Encoder) -> None:
    assert two.images([]).shape == two.texts([]).shape == two.attributes([]).shape == (0, 16)
    assert three.images([]).shape == (0, 4, 16)
    assert three.composed([], []).shape == (0, 16)
    assert two.pixels(np.zeros((0, 3, 32, 16), np.float32)).shape == (0, 16)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 1000))
def test_a_vector_does_not_depend_on_its_batch(tiny_bundle: Path, count: int, size: int, seed: int) -> None:
    bundle = Bundle.open(tiny_bundle, verify=False)
    encoder = Encoder(bundle, Watched(bundle))
    pictures = noise(count, seed)
    alone = np.concatenate([encoder.images([p]) for p in pictures])
    np.testing.assert_allclose(encoder.images(pictures, batch_size=size), alone, atol=1e-5, rtol=0)
    texts = [" ".join(["red", "a", "man", "blue"][: 1 + i % 4]) for i in range(count)]
    alone = np.concatenate([encoder.texts([t]) for t in texts])
    np.testing.assert_allclose(encoder.texts(texts, batch_size=size), alone, atol=1e-5, rtol=0)


def test_batches_above_the_bundles_are_split(two: Encoder) -> None:
    assert two.bundle.max_batch == 8
    session: Any = two.session
    two.images(noise(19))
    assert session.sizes == [8, 8, 3]
    session.sizes.clear()
    two.texts(["red"] * 10, batch_size=1000)
    assert session.sizes == [8, 2]
    session.sizes.clear()
    two.texts(["red"] * 5, batch_size=2)
    assert session.sizes == [2, 2, 1]
    for wrong in (0, -1, 2.0, True):
        with pytest.raises(InputError, match="batch_size"):
            two.texts(["red"], batch_size=wrong)  # type: ignore[arg-type]


def test_the_shared_trunk_runs_once(three: Encoder) -> None:
    session: Any = three.session
    bundle = three.bundle
    feeds = {
        "pixels": preprocess_images(noise(2), bundle.image_spec),
        "input_ids": np.zeros((2, 12), np.int64),
    }
    outputs = run_roles(bundle, session, ["gallery", "query.image", "query.composed"], feeds)
    assert session.runs == {"trunk": 1, "head": 1, "composer": 1}
    assert {role: value.shape for role, value in outputs.items()} == {
        "gallery": (2, 4, 16), "query.image": (2, 16), "query.composed": (2, 16),
    }  # fmt: skip
    session.runs.clear()
    three.images(noise(2))
    assert session.runs == {"trunk": 1, "head": 1}  # and the composer isn't needed for the gallery


def test_the_three_graphs_equal_numpy(three: Encoder, tiny: SimpleNamespace) -> None:
    run = tiny.reference(tiny.weights(0))
    feeds = {"pixels": preprocess_images(noise(3), tiny.spec)}
    np.testing.assert_allclose(three.images(noise(3)), run("gallery.tokens", feeds), atol=1e-6)
    feeds["input_ids"] = np.array([[2, 4, 3] + [0] * 9] * 3)
    np.testing.assert_allclose(three.composed(noise(3), ["red"] * 3), run("query.composed", feeds), atol=1e-6)


def test_attributes_are_their_sentence(two: Encoder) -> None:
    given = [{"gender": "male", "coat": "red"}, {"hat": "yes"}]
    assert two.sentences(given) == ["A man, in a red coat.", "A person, in a hat."]
    np.testing.assert_array_equal(two.attributes(given), two.texts(two.sentences(given)))
    with pytest.raises(AttributeValueError, match="'male', 'female'"):
        two.attributes([{"gender": "dog"}])


def test_missing_roles_are_named(three: Encoder, two: Encoder) -> None:
    for call, role in (
        (lambda: three.texts(["red"]), "query.text"),
        (lambda: three.attributes([{"gender": "male"}]), "query.attributes"),
        (lambda: two.composed([noise(1)[0]], ["red"]), "query.composed"),
    ):
        with pytest.raises(MissingRoleError, match=role.replace(".", r"\.")):
            call()


def test_bad_pictures_of_all_batches_are_named_before_anything_is_returned(two: Encoder) -> None:
    pictures: list[Any] = noise(20)
    pictures[3], pictures[17] = b"", b"junk"
    with pytest.raises(ImageError, match=r"2 of 20.*\n.*images\[3\].*\n.*images\[17\]") as caught:
        two.images(pictures)
    assert list(caught.value.failures) == [3, 17]


def test_bad_texts_and_wrong_kinds(two: Encoder, three: Encoder) -> None:
    with pytest.raises(TextError, match=r"text\[1\]: is empty"):
        two.texts(["red", "  "])
    with pytest.raises(TextError, match="10,000 characters"):
        two.texts(["x" * 10_000])
    with pytest.raises(InputError, match="texts: got str; give a list"):
        two.texts("red")
    with pytest.raises(InputError, match="images: got str; give a list"):
        two.images("a.jpg")
    with pytest.raises(InputError, match=r"images: got an array \(4, 4, 3\)"):
        two.images(np.zeros((4, 4, 3), np.uint8))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="2 pictures and 1 texts"):
        three.composed(noise(2), ["red"])
    for wrong in (np.zeros((1, 3, 32, 17), np.float32), np.zeros((1, 3, 32, 16))):
        with pytest.raises(InputError, match=r"\(n, 3, 32, 16\) float32"):
            two.pixels(wrong)


def test_an_array_of_pictures_is_a_batch(two: Encoder) -> None:
    stack = np.stack([np.full((9, 9, 3), v, np.uint8) for v in (10, 200)])
    np.testing.assert_array_equal(two.images(stack), two.images(list(stack)))  # type: ignore[arg-type]


def test_graphs_that_spoil_their_output_are_caught(tiny_bundle: Path) -> None:
    bundle = Bundle.open(tiny_bundle)

    def images(spoil: Callable[[str, np.ndarray], np.ndarray]) -> Any:
        return Encoder(bundle, Watched(bundle, spoil)).images(noise(2))

    with pytest.raises(BundleFormatError, match=r"'image' gave vectors of length .* export it again"):
        images(lambda graph, x: x * 1.01)
    with pytest.raises(EngineError, match="NaN or infinity"):
        images(lambda graph, x: x * np.float32("nan"))
    with pytest.raises(BundleFormatError, match=r"'features' came as \(2, 15\), not \(n, 16\)"):
        images(lambda graph, x: x[:, :15])
    with pytest.raises(BundleFormatError, match=r"came as \(1, 16\)"):  # a graph that lost its batch
        images(lambda graph, x: x[:1])


def test_paths_bytes_pil_and_arrays_give_the_same_vector(two: Encoder, picture: Any, tmp_path: Path) -> None:
    image = picture("green")
    image.save(tmp_path / "a.png")
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    vectors = two.images(
        [tmp_path / "a.png", str(tmp_path / "a.png"), buffer.getvalue(), image, np.asarray(image)]
    )
    np.testing.assert_allclose(vectors, np.repeat(vectors[:1], 5, axis=0), atol=1e-6)
