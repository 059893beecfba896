"""Datasets are found by file name, and a wrong name is answered with the right ones."""

import importlib
import re
from pathlib import Path

import pytest

from sdk.errors import DatasetError
from train.datasets import load, names, parts, tasks
from train.split import Split, Task


def test_the_folder_is_the_list() -> None:
    folder = Path(__file__).parents[3] / "train" / "datasets"
    assert names() == sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))
    public = {"cuhk_pedes", "icfg_pedes", "rstpreid", "market1501", "peta", "peta35", "pa100k"}
    assert public | {"drawn"} <= set(names())


@pytest.mark.parametrize("name", names())
def test_each_says_its_parts_and_refuses_an_empty_folder(name: str, tmp_path: Path) -> None:
    assert {"train", "test"} <= set(parts(name)) <= {"train", "val", "test"}
    with pytest.raises(DatasetError, match=name):
        load(name, tmp_path, "test")
    with pytest.raises(DatasetError, match=name):
        load(name, tmp_path / "nowhere", "train")
    with pytest.raises(DatasetError, match="no part 'dev'; it has train"):
        load(name, tmp_path, "dev")
    assert set(tasks(name)) <= set(Task.__args__)
    with pytest.raises(DatasetError, match=f"no task 'sound'; it has {tasks(name)[0]}"):
        load(name, tmp_path, "test", "sound")


@pytest.mark.parametrize("name", names())
def test_a_missing_folder_is_one_error_with_layout_and_owners(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        load(name, tmp_path / "nowhere", "train")
    message = str(caught.value)
    assert message.startswith(f"{name}: ")
    assert "expected are" in message
    assert re.search(r"Nothing is downloaded: .*(github\.com/|\.html|python -m)", message)
    assert "\n" not in message


def test_without_a_task_the_first_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def parse(root: Path, part: str, task: str) -> Split:
        taken.append(task)
        return Split("nothing", ())

    for name in names():
        module = importlib.import_module(f"train.datasets.{name}")
        with monkeypatch.context() as patch:
            patch.setattr(module, "load", parse)
            load(name, ".", "test")
            load(name, ".", "test", tasks(name)[-1])
    assert taken == [task for name in names() for task in (tasks(name)[0], tasks(name)[-1])]


def test_an_unknown_dataset_lists_the_known_and_guesses() -> None:
    with pytest.raises(DatasetError, match=r"did you mean 'market1501'\?.*there are: .*drawn, .*market1501"):
        load("market1051", ".", "test")
    for sneaky in ("../split", "_market1501_attributes", "", "os"):
        with pytest.raises(DatasetError, match="no dataset"):
            load(sneaky, ".", "test")


def test_tasks_are_those_of_the_split_type() -> None:
    assert set(Task.__args__) == {"text", "attributes", "image", "composed"}
