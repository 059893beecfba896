"""Which checkpoints a run keeps and how they are labelled."""

from pathlib import Path

from train.selection import BEST, Selection, checkpoints, chosen_on


def test_the_first_of_the_best_is_kept_for_each_part() -> None:
    run = Selection()
    said = [
        run.add("val", 1, {"rank1": 10.0}),
        run.add("test", 1, {"rank1": 30.0}),
        run.add("val", 2, {"rank1": 20.0}),
        run.add("test", 2, {"rank1": 30.0}),  # no better
        run.add("val", 3, {"rank1": 15.0}),
    ]
    assert said == ["best on val, epoch 1", "best on test, epoch 1", "best on val, epoch 2", None, None]
    assert run.best == {"val": {"epoch": 2, "rank1": 20.0}, "test": {"epoch": 1, "rank1": 30.0}}
    assert run.last == {"val": {"epoch": 3, "rank1": 15.0}, "test": {"epoch": 2, "rank1": 30.0}}


def test_a_resumed_run_remembers() -> None:
    run = Selection()
    run.add("val", 1, {"rank1": 10.0})
    state = run.state
    again = Selection(state)
    assert again.add("val", 2, {"rank1": 9.0}) is None
    assert again.add("val", 3, {"rank1": 11.0}) == "best on val, epoch 3"
    assert state["best"]["val"]["epoch"] == 1  # what was saved stays as it was
    assert Selection(None).state == {"last": {}, "best": {}}


def test_an_evaluation_without_a_counted_query_is_no_best_but_the_first() -> None:
    run = Selection()
    assert run.add("val", 1, {"rank1": None}) == "best on val, epoch 1"
    assert run.add("val", 2, {"rank1": None}) is None
    assert run.add("val", 3, {"rank1": 0.5}) == "best on val, epoch 3"


def test_a_label_names_the_part_it_was_chosen_on() -> None:
    assert chosen_on("best on test, epoch 3", "test")
    assert not chosen_on("best on val, epoch 3", "test")
    assert not chosen_on("last, epoch 60", "test")


def test_a_folder_stands_for_what_it_keeps(tmp_path: Path) -> None:
    assert checkpoints(tmp_path) == []
    for name in (*BEST.values(), "ckpt.pt", "notes.pt"):
        (tmp_path / name).touch()
    assert [p.name for p in checkpoints(tmp_path)] == ["ckpt.pt", "best.pt", "best_on_test.pt"]
    (tmp_path / "best.pt").unlink()
    assert [p.name for p in checkpoints(tmp_path)] == ["ckpt.pt", "best_on_test.pt"]
    assert checkpoints(tmp_path / "notes.pt") == [tmp_path / "notes.pt"]
    assert checkpoints(tmp_path / "missing.pt") == [tmp_path / "missing.pt"]  # opening it says so
