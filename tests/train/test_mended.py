"""Truncated JPEGs: the same pixels as under Pillow's flag, a warning, and no other mercy."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from sdk.decode import load_image
from sdk.errors import ImageError
from train.mended import encode_pictures, load_picture


def jpeg(seed: int = 0, **how: object) -> bytes:
    blocks = np.kron(np.random.default_rng(seed).integers(0, 256, (12, 6, 3)), np.ones((8, 8, 1)))
    out = io.BytesIO()
    Image.fromarray(blocks.astype(np.uint8)).save(out, "JPEG", **how)
    return out.getvalue()


@pytest.mark.parametrize("lost", [1, 2, 100, 200])
@pytest.mark.parametrize("how", [{}, {"optimize": True, "subsampling": 0}])
def test_pixels_are_those_of_pillows_flag(
    lost: int, how: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(jpeg(**how)[:-lost])
    with pytest.raises(ImageError):
        load_image(path)  # the SDK's own answer stays what it is
    with pytest.warns(UserWarning, match=r"cut\.jpg is truncated: it is read as far as it goes"):
        ours = np.asarray(load_picture(path))
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with Image.open(path) as theirs:
        assert np.array_equal(ours, np.asarray(theirs.convert("RGB")))


def test_a_whole_picture_is_read_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "whole.jpg"
    path.write_bytes(jpeg())
    assert np.array_equal(np.asarray(load_picture(path)), np.asarray(load_image(path)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no picture",
        jpeg()[:100],  # not even its header is whole
        jpeg()[:200] + b"\xff\xd9",  # it has an end: something else is wrong
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_anything_else_stays_an_error_that_names_the_file(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        load_picture(path)
    path.unlink()
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        load_picture(path)


def test_encoding_is_repeated_with_the_mended_files_only(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.jpg" for i in range(4)]
    for i, path in enumerate(paths):
        path.write_bytes(jpeg(i)[: -100 if i in (1, 2) else None])
    calls: list[list[object]] = []

    def encode(sources):
        calls.append(list(sources))
        failures = {}
        for i, source in enumerate(sources):
            try:
                load_image(source)
            except ImageError as error:
                failures[i] = error
        if failures:
            raise ImageError("some", failures)
        return np.zeros((len(sources), 2), np.float32)

    with pytest.warns(UserWarning, match="is truncated") as said:
        assert encode_pictures(encode, paths).shape == (4, 2)
    assert [str(w.message).split(" is ")[0] for w in said] == [str(paths[1]), str(paths[2])]
    assert calls[0] == paths
    assert [isinstance(source, bytes) for source in calls[1]] == [False, True, True, False]
    paths[3].write_bytes(b"")
    with pytest.warns(UserWarning, match="is truncated"), pytest.raises(ImageError, match="some"):
        encode_pictures(encode, paths)


def test_an_error_that_names_no_picture_passes(tmp_path: Path) -> None:
    def encode(sources):
        raise ImageError("none of them")

    with pytest.raises(ImageError, match="none of them"):
        encode_pictures(encode, [tmp_path / "a.jpg"])
