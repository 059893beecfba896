"""Pictures to index, and a look at what became of them."""

import numpy as np
import pytest

from sdk.gallery import open_gallery

COLOURS = ("red", "green", "blue")


@pytest.fixture
def folder(tmp_path, picture):
    """20 pictures in two folders; two of 20 are no pictures inside."""
    root = tmp_path / "pictures"
    for number in range(20):
        path = root / ("a" if number % 2 else "b") / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(COLOURS[number % 3], number).save(path)
    return root


@pytest.fixture
def gallery(tmp_path):
    return tmp_path / "people.gallery"


@pytest.fixture
def damage(folder):
    """damage() empties one picture of the folder and cuts another in half."""

    def apply():
        (folder / "a" / "03.png").write_bytes(b"")
        whole = (folder / "b" / "10.png").read_bytes()
        (folder / "b" / "10.png").write_bytes(whole[: len(whole) // 2])

    return apply


@pytest.fixture
def contents():
    """contents(path) -> (id, metadata, bytes of the vector) of every row in insertion order."""

    def read(path):
        with open_gallery(path, write=False) as store:
            # A query of zeros ties all rows.
            hits = store.search(np.zeros((1, store.space.dim), np.float32), max(1, len(store)))
            ids = [i for i in hits.ids[0] if i is not None]
            return [(row.id, row.metadata, row.vector.tobytes()) for row in store.get(ids)]

    return read


@pytest.fixture
def counts():
    """counts(report) -> ok, updated, skipped, corrupt, refused"""
    return lambda report: (report.ok, report.updated, report.skipped, report.corrupt, report.refused)
