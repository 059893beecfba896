"""Contact sheets and HTML: what is drawn where, that text stays inside its tile, that nothing leaks."""

import base64
import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sdk import render
from sdk.errors import InputError
from sdk.types import Hits, Query

CODES = st.characters(codec="utf-8")


def make_hits(ids, metadata=None, queries=()):
    """One row of ids per query; scores fall by 0.1."""
    width = max(map(len, ids), default=0)
    table = np.full((len(ids), width), None, object)
    scores = np.full((len(ids), width), -np.inf, np.float32)
    for row, found in enumerate(ids):
        table[row, : len(found)] = found
        scores[row, : len(found)] = 1 - np.arange(len(found)) / 10
    return Hits(table, scores, lambda known: [(metadata or {}).get(i, {}) for i in known], tuple(queries))


def count(sheet, colour, within=12):
    """Pixels near a colour: thumbnails are JPEG, pictures resampled."""
    pixels = np.asarray(sheet.convert("RGB")).astype(int)
    return int((np.abs(pixels - np.array(colour)).max(axis=2) <= within).sum())


def read(path):
    with Image.open(path) as sheet:
        return sheet.convert("RGB")


@pytest.fixture
def red(tmp_path):
    path = tmp_path / "red.png"
    Image.new("RGB", (32, 64), (220, 30, 30)).save(path)
    return str(path)


@pytest.fixture
def blue(tmp_path):
    path = tmp_path / "blue.png"
    Image.new("RGB", (32, 64), (30, 30, 220)).save(path)
    return str(path)


def test_a_sheet_shows_query_picture_and_hits(tmp_path, red, blue):
    hits = make_hits([["one", blue]], {"one": {"path": red, "camera": 1}}, [Query("image", image=blue)])
    path = hits.save_sheet(tmp_path / "deep" / "sheet.png")
    assert path == tmp_path / "deep" / "sheet.png"
    sheet = read(path)
    tile = (render._TILE - 2 * render._PAD) ** 2 * 2  # the window has the pictures' shape, 1:2
    assert abs(count(sheet, (220, 30, 30)) - tile) < 0.02 * tile
    query = render._ASK_PICTURE**2 / 2
    assert abs(count(sheet, (30, 30, 220)) - tile - query) < 0.02 * (tile + query)


def test_best_comes_first_and_lines_wrap_at_columns(tmp_path, red, blue):
    ids = [str(i) for i in range(5)]
    metadata = {i: {"path": red if i == "0" else blue} for i in ids}
    wide = read(make_hits([ids], metadata).save_sheet(tmp_path / "wide.png"))
    two = read(make_hits([ids], metadata).save_sheet(tmp_path / "two.png", columns=2))
    assert wide.width - two.width == 3 * (render._TILE + render._GAP)
    assert two.height > 2.5 * wide.height
    reds = np.argwhere(np.abs(np.asarray(two).astype(int) - [220, 30, 30]).max(axis=2) <= 12)
    blues = np.argwhere(np.abs(np.asarray(two).astype(int) - [30, 30, 220]).max(axis=2) <= 12)
    assert reds[:, 0].max() < two.height / 3  # on the first line,
    assert reds[:, 1].max() < blues[:, 1].max()  # left of the second


def test_missing_and_damaged_pictures_become_grey_tiles(tmp_path, red):
    (tmp_path / "damaged.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    metadata = {"a": {"path": str(tmp_path / "gone.jpg")}, "b": {"path": str(tmp_path / "damaged.jpg")}}
    hits = make_hits([["a", "b", "no path at all", "nul\0", 17]], metadata, [Query("text", text="x")])
    sheet = read(hits.save_sheet(tmp_path / "sheet.png"))
    grey = (0xD9, 0xDC, 0xE1)
    tile = (render._TILE - 2 * render._PAD) ** 2  # square: no picture gives a shape
    assert 0.85 * 5 * tile < count(sheet, grey, within=2) <= 5 * tile


@pytest.mark.parametrize("ids", [[], [[]], [["a"], []]])
def test_little_or_nothing_found_still_draws(tmp_path, ids):
    hits = make_hits(ids)
    with Image.open(hits.save_sheet(tmp_path / "sheet.jpg")) as sheet:
        assert sheet.format == "JPEG"
        assert min(sheet.size) > 50
    assert hits._repr_html_().startswith("<div")


def test_a_very_long_sheet_ends_with_a_note(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        render, "_draw_note", lambda text, width: drawn.append(text) or Image.new("RGB", (1, 1))
    )
    sheet = read(make_hits([["a"]] * 300).save_sheet(tmp_path / "sheet.png"))
    assert sheet.height <= render._MAX_HEIGHT + 2 * render._MARGIN
    assert re.fullmatch(r"… and \d+ more queries", drawn[0])


@pytest.mark.parametrize(
    ("name", "columns", "message"), [("x.txt", None, "written as .png"), ("x.png", 0, "columns: got 0")]
)
def test_bad_arguments(tmp_path, name, columns, message):
    with pytest.raises(InputError, match=message):
        make_hits([["a"]]).save_sheet(tmp_path / name, columns=columns)


@settings(max_examples=60, deadline=None)
@given(
    st.text(CODES, max_size=200), st.integers(40, 220), st.sampled_from([11, 12, 13, 14]), st.integers(1, 4)
)
def test_text_never_leaves_its_tile(text, width, size, most):
    lines = render._wrapped(text, width, size, most)
    assert len(lines) <= most
    for line in [*lines, render._fit(text, width, size), render._fit(text, width, size, keep_end=True)]:
        assert render._font(size).getlength(line) <= width
        assert "\n" not in line


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=80))
def test_wrapping_loses_no_letter(text):
    assert "".join(render._wrapped(text, 100, 13, 99)) == text


def test_a_cut_text_keeps_the_end_that_tells_files_apart():
    cut = render._fit("a/long/folder/name/that/goes/on/0001_c1s1_000451_03.jpg", 140, 13, keep_end=True)
    assert cut.startswith("…")
    assert cut.endswith("000451_03.jpg")


def test_letters_that_the_font_lacks_are_folded():
    assert render._spoken("Café \u2013 naïve “quote”\n中") == 'Cafe - naive "quote" ?'


def test_no_two_texts_overlap(tmp_path, monkeypatch, red):
    """Every text drawn has a place of its own: boxes of one sheet are disjoint and inside it."""
    boxes = []
    real = render.ImageDraw.ImageDraw.text

    def text(self, at, words, *rest):
        boxes.append((id(self), self.im.size, self.textbbox(at, words, font=rest[1])))
        return real(self, at, words, *rest)

    monkeypatch.setattr(render.ImageDraw.ImageDraw, "text", text)
    long = "word " * 100
    metadata = {"a" * 90: {"path": red, "camera": 1, "note": long}, "b": {"path": "gone", "note": "x" * 300}}
    query = Query("composed", text=long, image="gone.jpg", attributes={"coat": "red"}, without="hat")
    make_hits([["a" * 90, "b", 3]], metadata, [query]).save_sheet(tmp_path / "sheet.png")
    assert len(boxes) > 15
    for n, (sheet, size, box) in enumerate(boxes):
        assert box[0] >= 0
        assert box[2] <= size[0]
        assert box[3] <= size[1]
        for other, _, there in boxes[n + 1 :]:
            apart = box[2] <= there[0] or there[2] <= box[0] or box[3] <= there[1] or there[3] <= box[1]
            assert other != sheet or apart, (box, there)


def test_html_escapes_every_text_from_outside(red):
    evil = "<script>alert(1)</script>\"'"
    query = Query("composed", text=evil, image=red, attributes={evil: evil}, without=evil)
    page = make_hits([[evil]], {evil: {evil: evil, "path": red}}, [query])._repr_html_()
    assert page.count("&lt;script&gt;") == 7
    assert set(re.findall(r"</?(\w+)", page)) == {"div", "img", "br", "b"}


def test_html_holds_its_pictures_itself(red, blue):
    page = make_hits(
        [["a", "b"]], {"a": {"path": red}, "b": {"path": "/gone"}}, [Query("image", image=blue)]
    )._repr_html_()
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(pictures) == page.count("src=") == 2
    for data, colour in zip(pictures, [(30, 30, 220), (220, 30, 30)], strict=True):
        thumbnail = read(io.BytesIO(base64.b64decode(data)))
        assert thumbnail.height <= 160
        assert count(thumbnail, colour) > 0.9 * thumbnail.width * thumbnail.height


def test_html_of_many_hits_stays_small():
    page = make_hits([[str(i) for i in range(100)]] * 30)._repr_html_()
    assert "… 76 more" in page
    assert "and 10 more queries" in page
