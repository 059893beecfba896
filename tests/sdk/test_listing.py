"""Folders and lists: what is read, in which order, with which ids and metadata; what is refused."""

import errno
import os
from pathlib import Path

import pytest
from PIL import Image

from sdk.errors import JobError
from sdk.listing import image_suffixes, open_listing


@pytest.fixture
def put(tmp_path):
    """put("a/b.jpg") writes a small picture below the test's folder."""

    def write(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 8), "red").save(path, "PNG")
        return path

    return write


def write_list(folder: Path, text: str) -> Path:
    path = folder / "list.csv"
    path.write_text(text, encoding="utf-8")
    return path


def read(source: Path):
    return list(open_listing(source))


def test_a_folder_is_read_depth_first_with_names_sorted(put, tmp_path):
    for name in ("b.jpg", "a/2.png", "a/10.png", "a/b/1.webp", "Z.JPG"):
        put(name)
    items = read(tmp_path)
    assert [item.id for item in items] == ["Z.JPG", "a/10.png", "a/2.png", "a/b/1.webp", "b.jpg"]
    assert items[1].metadata == {"path": str(tmp_path / "a" / "10.png")}
    assert items[1].size == (tmp_path / "a" / "10.png").stat().st_size
    assert [item.id for item in read(tmp_path)] == [item.id for item in items]


def test_what_is_passed_over_is_counted(put, tmp_path):
    for name in ("a.jpg", ".hidden.jpg", ".thumbs/x.jpg", "notes.txt", "more.TXT", "README"):
        put(name)
    (tmp_path / "loop").symlink_to(tmp_path)
    listing = open_listing(tmp_path)
    assert [item.id for item in listing] == ["a.jpg"]
    assert listing.ignored == {"hidden": 2, ".txt": 2, "no suffix": 1, "a link to a folder above it": 1}


def test_linked_folders_are_read(put, tmp_path):
    put("elsewhere/a.jpg")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "elsewhere")
    assert [item.id for item in read(tmp_path / "folder")] == ["link/a.jpg"]


def test_suffixes_are_those_of_pictures():
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".bmp"} <= image_suffixes()
    assert not {".pdf", ".mpg", ".eps", ".txt", ".h5"} & image_suffixes()


def test_an_empty_folder_says_what_it_holds_instead(put, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(JobError, match=r"no picture in .*empty'$"):
        open_listing(tmp_path / "empty")
    put("film.mp4")
    with pytest.raises(JobError, match=r"no picture in .*passed over: 1 \.mp4"):
        open_listing(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"), [("gone", "doesn't exist"), ("list.xlsx", "neither a folder nor a .csv or .parquet")]
)
def test_sources_that_are_none(tmp_path, name, message):
    (tmp_path / "list.xlsx").touch()
    with pytest.raises(JobError, match=message):
        open_listing(tmp_path / name)


def test_an_unreadable_folder_below_is_an_error_not_a_gap(put, tmp_path, monkeypatch):
    put("a.jpg")
    put("shut/b.jpg")
    real = os.scandir

    def scandir(folder):
        if Path(folder).name == "shut":
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(JobError, match=r"shut' \(Permission denied\)"):
        read(tmp_path)


def test_names_that_cannot_be_ids_are_refused_one_by_one(put, tmp_path):
    put("a.jpg")
    long = put("x" * 200 + "/" + "y" * 60 + ".jpg")
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes((tmp_path / "a.jpg").read_bytes())
    os.mkfifo(tmp_path / "pipe.jpg")
    by_id = {item.id: item.refused for item in read(tmp_path)}
    assert by_id["a.jpg"] == ""
    assert "isn't UTF-8" in by_id["caf\\xe9.jpg"]
    assert "265 bytes, 256 are allowed" in by_id[long.relative_to(tmp_path).as_posix()]
    assert by_id["pipe.jpg"] == "not a regular file"


def test_csv_columns_get_one_type_each(put, tmp_path):
    put("a.jpg")
    put("b.jpg")
    source = write_list(
        tmp_path,
        "path,id,camera,person,height,note,mixed,huge,word\n"
        'a.jpg,first,1,0007,1.5e0,"a, b",1,12345678901234567890,nan\n'
        f"{tmp_path}/b.jpg,2,-3,0012,2,,x,1,e5\n",
    )
    one, two = read(source)
    assert one.id == "first"
    assert two.id == "2"
    assert one.metadata == {
        "path": str(tmp_path / "a.jpg"), "camera": 1, "person": "0007", "height": 1.5, "note": "a, b",
        "mixed": "1", "huge": "12345678901234567890", "word": "nan",
    }  # fmt: skip
    assert two.metadata == {
        "path": str(tmp_path / "b.jpg"), "camera": -3, "person": "0012", "height": 2.0,
        "mixed": "x", "huge": "1", "word": "e5",
    }  # fmt: skip
    assert [type(one.metadata[c]) for c in ("camera", "height")] == [int, float]
    assert type(two.metadata["height"]) is float


def test_a_csv_without_ids_uses_the_path_as_written(tmp_path):
    items = read(write_list(tmp_path, "\ufeffpath\nsub/a.jpg\n\nb.jpg\n"))
    assert [(item.id, item.size) for item in items] == [("sub/a.jpg", -1), ("b.jpg", -1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,id\na.jpg,1\n", "no column 'path'; its columns are file, id"),
        ("path,x,x\na.jpg,1,2\n", "has the column 'x' twice"),
        ("path,note\na.jpg,one, two\n", "line 2 has 3 cells for 2 columns"),
        ("path,note\n,one\n", "row 2 has no path"),
        ('path,note\na.jpg,"open\n', "as UTF-8 CSV"),
        ("path\n", "no picture in"),
        ("", "no column 'path'; its columns are none"),
    ],
)
def test_bad_csv(tmp_path, text, message):
    with pytest.raises(JobError, match=message):
        read(write_list(tmp_path, text))


def test_a_csv_in_another_encoding(tmp_path):
    (tmp_path / "list.csv").write_bytes("path\ncafé.jpg\n".encode("latin-1"))
    with pytest.raises(JobError, match="UTF-8"):
        read(tmp_path / "list.csv")


def test_parquet_keeps_its_types(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table(
        {"path": ["a.jpg", "b.jpg"], "id": [7, 8], "camera": [1, None], "score": [0.5, float("nan")],
         "tags": [["x"], []], "day": pyarrow.array([0, 1], pyarrow.date32())}
    )  # fmt: skip
    parquet.write_table(table, tmp_path / "list.parquet")
    one, two = read(tmp_path / "list.parquet")
    assert (one.id, two.id) == (7, 8)
    assert one.metadata == {
        "path": str(tmp_path / "a.jpg"), "camera": 1, "score": 0.5, "tags": ["x"], "day": "1970-01-01"
    }  # fmt: skip
    assert two.metadata == {"path": str(tmp_path / "b.jpg"), "tags": [], "day": "1970-01-02"}


def test_bad_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    (tmp_path / "list.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(JobError, match="as Parquet"):
        read(tmp_path / "list.parquet")
    parquet.write_table(pyarrow.table({"path": ["a"], "raw": [b"\x00"]}), tmp_path / "list.parquet")
    with pytest.raises(JobError, match="column 'raw' holds bytes"):
        read(tmp_path / "list.parquet")
