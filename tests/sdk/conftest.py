"""A gallery of coloured pictures, once with one vector each and once with four tokens each."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sdk import Retriever

COLOURS = ("red", "green", "blue")


@pytest.fixture
def people(tmp_path: Path, picture: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two pictures of each colour in the working folder: red0.png, red1.png, green0.png, …"""
    monkeypatch.chdir(tmp_path)
    names = [f"{colour}{number}.png" for colour in COLOURS for number in (0, 1)]
    for name in names:
        picture(name[:-5], int(name[-5])).save(name)
    return names


@pytest.fixture
def r(tiny_bundle: Path, people: list[str]) -> Iterator[Retriever]:
    with Retriever(tiny_bundle, "people.gallery") as retriever:
        retriever.add(people, metadata=[{"camera": i % 2 + 1} for i in range(6)])
        yield retriever


@pytest.fixture
def late(three_graph_bundle: Path, people: list[str]) -> Iterator[Retriever]:
    with Retriever(three_graph_bundle) as retriever:
        retriever.add(people)
        yield retriever
