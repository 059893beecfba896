"""Golden samples: what they hold, that they pass here, and that they catch what they are for."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sdk import golden, preprocess
from sdk.bundle import Bundle, check_golden, make_golden
from sdk.errors import BundleFormatError
from sdk.preprocess import TextPreprocess
from sdk.runtime import open_session


def checked(path: Path) -> dict[str, Any]:
    bundle = Bundle.open(path)
    return {check.name: check for check in check_golden(bundle, open_session(bundle))}


def test_they_pass_and_cover_every_role(tiny_bundle: Path, three_graph_bundle: Path) -> None:
    checks = checked(tiny_bundle)
    assert all(check.ok and check.value <= check.limit for check in checks.values())
    roles = ("gallery", "query.image", "query.text", "query.attributes")
    assert set(checks) == {
        "golden pixels equal",
        "golden input_ids equal",
        *(f"golden {r} features" for r in roles),
    }
    checks = checked(three_graph_bundle)
    assert all(check.ok for check in checks.values())
    assert {"golden gallery features", "golden query.composed features"} <= set(checks)


def test_the_pictures_are_odd_sized_colourful_and_always_the_same() -> None:
    one, two = golden.golden_images(), golden.golden_images()
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert len({image.shape for image in one}) == len(one)
    for image in one:
        assert image.shape[0] % 2 == image.shape[1] % 2 == 1
        assert np.abs(image[:, :, 0].astype(int) - image[:, :, 2]).mean() > 30
    # Written down once from the formula in the docstring's words, on paper: corners of the first one.
    assert one[0][0, 0].tolist() == [0, 0, 0]
    assert one[0][60, 42].tolist() == [255, 255, (42 // 8 + 60 // 8) % 2 * 160 + 42 * 60 % 64]


def test_swapped_channels_are_caught(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = preprocess.preprocess_images
    monkeypatch.setattr(
        golden, "preprocess_images", lambda images, spec: right([i[:, :, ::-1] for i in images], spec)
    )
    checks = checked(tiny_bundle)
    assert not checks["golden pixels equal"].ok
    assert not checks["golden gallery features"].ok
    assert checks["golden query.text features"].ok


def test_a_single_bit_of_preprocessing_is_caught(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = preprocess.preprocess_images

    def nudged(images: Any, spec: Any) -> Any:
        pixels = right(images, spec)
        pixels.reshape(-1).view(np.uint32)[7] ^= 1
        return pixels

    monkeypatch.setattr(golden, "preprocess_images", nudged)
    check = checked(tiny_bundle)["golden pixels equal"]
    assert (check.ok, check.value, check.limit) == (False, 1.0, 0.0)


@pytest.mark.parametrize(("off", "ok"), [(5e-5, True), (2e-4, False), (np.nan, False)])
def test_features_may_differ_by_a_ten_thousandth(
    off: float, ok: bool, tiny_bundle: Path, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    with np.load(tiny_bundle / "golden.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["gallery"] = arrays["gallery"] + np.float32(off)
    check = checked(make_bundle(tmp_path / "b", golden=arrays))["golden gallery features"]
    assert check.ok is ok


def test_damaged_samples_have_their_error(
    make_bundle: Callable[..., Path], tiny_bundle: Path, tmp_path: Path
) -> None:
    with pytest.raises(BundleFormatError, match="is missing"):
        checked(make_bundle(tmp_path / "a", golden={"gallery": np.zeros((1, 16))}))
    with np.load(tiny_bundle / "golden.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["pixels"] = np.zeros((3, 3, 2, 2), np.float32)
    assert checked(make_bundle(tmp_path / "b", golden=arrays))["golden pixels equal"].value > 0
    path = tmp_path / "c.npz"
    path.write_bytes(b"PK\x03\x04 junk")
    with pytest.raises(BundleFormatError, match="can't be read"):
        golden._load(path)


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", texts=np.array([print], dtype=object))
    with pytest.raises(BundleFormatError, match="can't be read"):
        golden._load(tmp_path / "evil.npz")


def test_make_golden_asks_the_model_for_each_role(tiny: SimpleNamespace, tiny_bundle: Path) -> None:
    asked: list[tuple[str, list[str]]] = []

    def run(role: str, feeds: dict[str, Any]) -> np.ndarray:
        asked.append((role, sorted(feeds)))
        return np.ones((len(feeds["pixels"]), 2))

    text = TextPreprocess(tiny.text, tiny_bundle / "tokenizer.json")
    arrays = make_golden(tiny.spec, text, run, ["gallery", "query.text"])
    assert asked == [(role, ["attention_mask", "input_ids", "pixels"]) for role in ("gallery", "query.text")]
    assert arrays["pixels"].shape == (3, 3, 32, 16)
    assert arrays["texts"].tolist() == list(golden.TEXTS)
    assert len(golden.TEXTS[2]) > 1000
    picture_only = make_golden(tiny.spec, None, run, ["gallery"])
    assert "input_ids" not in picture_only
