"""Datasets are found by file name, and a wrong name is answered with the right ones."""

from pathlib import Path

import pytest

from sdk.errors import DatasetError
from train.datasets import load, names, parts
from train.split import Task


def test_the_folder_is_the_list() -> None:
    folder = Path(__file__).parents[3] / "train" / "datasets"
    assert names() == sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))
    assert {"drawn", "market1501"} <= set(names())


@pytest.mark.parametrize("name", names())
def test_each_says_its_parts_and_refuses_an_empty_folder(name: str, tmp_path: Path) -> None:
    assert {"train", "test"} <= set(parts(name)) <= {"train", "val", "test"}
    with pytest.raises(DatasetError, match=name):
        load(name, tmp_path, "test")
    with pytest.raises(DatasetError, match=name):
        load(name, tmp_path / "nowhere", "train")
    with pytest.raises(DatasetError, match="no part 'dev'; it has train"):
        load(name, tmp_path, "dev")
    with pytest.raises(DatasetError, match="no task 'sound'; it has text"):
        load(name, tmp_path, "test", "sound")


def test_an_unknown_dataset_lists_the_known_and_guesses() -> None:
    with pytest.raises(DatasetError, match=r"did you mean 'market1501'\?.*there are: drawn, market1501"):
        load("market1051", ".", "test")
    for sneaky in ("../split", "_market1501_attributes", "", "os"):
        with pytest.raises(DatasetError, match="no dataset"):
            load(sneaky, ".", "test")


def test_tasks_are_those_of_the_split_type() -> None:
    assert set(Task.__args__) == {"text", "attributes", "image", "composed"}
