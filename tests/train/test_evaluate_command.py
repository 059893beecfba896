"""`python -m train.evaluate`: the table, the JSON, and what it refuses."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from sdk.bundle import Bundle
from sdk.encoder import Encoder
from sdk.errors import InputError
from sdk.runtime import open_session
from train import evaluate
from train.evaluate import Args, run
from train.split import Query, Sample, Split

COLOURS = ("red", "green", "blue")


@pytest.fixture
def asked(
    tmp_path: Path, picture: Callable[..., Image.Image], monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, str]]:
    """`train.datasets.load` answers with three pictures; what it was asked for is kept."""
    found: list[tuple[str, str]] = []
    for colour in COLOURS:
        picture(colour).save(tmp_path / f"{colour}.png")
    gallery = tuple(Sample(c, tmp_path / f"{c}.png", i) for i, c in enumerate(COLOURS))

    def load(name: str, root: Path, part: str, task: str) -> Split:
        found.append((part, task))
        images = [s.image if task == "composed" else None for s in gallery]
        queries = [Query(i, f"a {c} coat", images[i]) for i, c in enumerate(COLOURS)]
        queries.append(Query(99, "a person", images[0]))  # nobody's
        return Split(
            "three", gallery, tuple(queries), gallery, "person", (0, 1, 2), notes=("1 here, 2 published",)
        )

    monkeypatch.setattr(evaluate.datasets, "load", load)
    return found


def test_prints_a_table_and_writes_json(
    asked: list[tuple[str, str]], tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "figures.json"
    evaluate.main(Args(root=tmp_path, bundle=tiny_bundle, json=out))
    assert asked == [("test", "text")]  # the first task that the dataset has
    printed = capsys.readouterr().out
    for words in (
        "Rank-1",
        "mAP",
        "mINP",
        "100.00",
        "95 %",
        "3 queries (1 more",
        "note: 1 here, 2 published",
    ):
        assert words in printed
    (report,) = json.loads(out.read_text("utf-8"))
    assert (report["rank1"], report["queries"], report["gallery"], report["skipped"]) == (100, 3, 3, 1)
    assert report["interval95"]["map"] == [100, 100]
    assert (report["data"], report["task"], report["match"]) == ("three", "text", "person")
    assert (report["model"], report["chosen"], report["ranking"]) == (str(tiny_bundle), None, "topk")
    assert report["notes"] == ["1 here, 2 published"]


def test_a_composed_query_without_a_composer_says_how_it_was_made(
    asked: list[tuple[str, str]], tiny_bundle: Path, three_graph_bundle: Path, tmp_path: Path
) -> None:
    (plain,) = run(Args(root=tmp_path, bundle=tiny_bundle, task="composed"))
    (composer,) = run(Args(root=tmp_path, bundle=three_graph_bundle, task="composed"))
    said = [any("unit(image + text)" in note for note in r.facts["notes"]) for r in (plain, composer)]
    assert said == [True, False]


def test_searching_and_sorting_report_the_same(
    asked: list[tuple[str, str]], tiny_bundle: Path, tmp_path: Path
) -> None:
    (by_search,) = run(Args(root=tmp_path, bundle=tiny_bundle))
    (by_sort,) = run(Args(root=tmp_path, bundle=tiny_bundle, ranking="sort"))
    other = {"ranking", "seconds"}
    assert by_sort.facts["ranking"] == "sort"
    assert [{k: v for k, v in r.facts.items() if k not in other} for r in (by_search, by_sort)] == [
        {k: v for k, v in by_search.facts.items() if k not in other}
    ] * 2


@pytest.fixture
def opened(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Checkpoints open as the tiny bundle, labelled by what their file holds; the paths are kept."""
    import train.checkpoint

    bundle = Bundle.open(tiny_bundle)
    engine = Encoder(bundle, open_session(bundle, "cpu"))
    found: list[Path] = []

    class Module(torch.nn.Module):
        similarity = bundle.manifest["similarity"]

        def __init__(self, path: Path) -> None:
            super().__init__()
            text = path.read_text() if path.is_file() else ""
            self.provenance = {"chosen": text} if text else {}

    def load(path: Path) -> Module:
        found.append(path)
        return Module(path)

    monkeypatch.setattr(train.checkpoint, "load", load)
    monkeypatch.setattr(evaluate, "ModuleEncoder", lambda module, device: engine)
    return found


def test_a_checkpoint_goes_the_same_way(
    asked: list[tuple[str, str]], opened: list[Path], tmp_path: Path
) -> None:
    (report,) = run(Args(root=tmp_path, checkpoint=(tmp_path / "ckpt.pt",)))
    assert opened == [tmp_path / "ckpt.pt"]
    assert (report.facts["rank1"], len(report.metrics)) == (100, 3)
    assert (report.facts["model"], report.facts["chosen"]) == (str(tmp_path / "ckpt.pt"), None)


def test_a_run_folder_is_judged_whole_and_each_checkpoint_says_what_it_is(
    asked: list[tuple[str, str]],
    opened: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    labels = {
        "ckpt.pt": "last, epoch 9",
        "best.pt": "best on val, epoch 4",
        "best_on_test.pt": "best on test, epoch 6",
    }
    for name, label in labels.items():
        (tmp_path / name).write_text(label)
    other = tmp_path / "other.pt"
    evaluate.main(Args(root=tmp_path, checkpoint=(tmp_path, other), json=tmp_path / "figures.json"))
    assert opened == [*(tmp_path / name for name in labels), other]
    assert len(asked) == 1  # the dataset is parsed once
    reports = json.loads((tmp_path / "figures.json").read_text("utf-8"))
    assert [r["chosen"] for r in reports] == [*labels.values(), None]
    flattering = [any("chosen on the part it is judged on" in note for note in r["notes"]) for r in reports]
    assert flattering == [False, False, True, False]
    printed = "".join(capsys.readouterr().out.split())  # the console wraps lines
    for label in labels.values():
        assert label.replace(" ", "") in printed
    on_val = run(Args(root=tmp_path, checkpoint=(tmp_path,), part="val"))
    flattering = [any("judged on" in note for note in r.facts["notes"]) for r in on_val]
    assert flattering == [False, True, False]


def test_a_folder_without_checkpoints_is_refused(asked: list[tuple[str, str]], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"no checkpoint in {tmp_path}"):
        run(Args(root=tmp_path, checkpoint=(tmp_path,)))
    assert not asked


@pytest.mark.parametrize("models", [{}, {"checkpoint": (Path("a"),), "bundle": Path("b")}])
def test_exactly_one_kind_of_model_is_asked_for(models: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exactly one of --checkpoint"):
        run(Args(root=tmp_path, **models))


def test_the_command_line_says_errors_in_one_line(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "train.evaluate",
        "--root",
        str(tmp_path),
        "--bundle",
        "b",
        "--data",
        "drown",
    ]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=root, env={**os.environ, "COLUMNS": "200"}
    )
    assert done.returncode != 0
    assert "did you mean 'drawn'?" in done.stderr
    assert "Traceback" not in done.stderr
