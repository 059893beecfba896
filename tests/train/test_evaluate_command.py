"""`python -m train.evaluate`: the table, the JSON, and what it refuses."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

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
    assert asked == [("test", "text")]
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
    report = json.loads(out.read_text("utf-8"))
    assert (report["rank1"], report["queries"], report["gallery"], report["skipped"]) == (100, 3, 3, 1)
    assert report["interval95"]["map"] == [100, 100]
    assert (report["data"], report["task"], report["match"]) == ("three", "text", "person")
    assert report["model"] == str(tiny_bundle)
    assert report["notes"] == ["1 here, 2 published"]


def test_a_composed_query_without_a_composer_says_how_it_was_made(
    asked: list[tuple[str, str]], tiny_bundle: Path, three_graph_bundle: Path, tmp_path: Path
) -> None:
    plain, *_ = run(Args(root=tmp_path, bundle=tiny_bundle, task="composed"))
    composer, *_ = run(Args(root=tmp_path, bundle=three_graph_bundle, task="composed"))
    assert [any("unit(image + text)" in note for note in r["notes"]) for r in (plain, composer)] == [
        True,
        False,
    ]


def test_a_checkpoint_goes_the_same_way(
    asked: list[tuple[str, str]], tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import train.checkpoint

    bundle = Bundle.open(tiny_bundle)
    engine = Encoder(bundle, open_session(bundle, "cpu"))
    opened: list[Path] = []

    class Module(torch.nn.Module):
        similarity = bundle.manifest["similarity"]

    def load(path: Path) -> Module:
        opened.append(path)
        return Module()

    monkeypatch.setattr(train.checkpoint, "load", load)
    monkeypatch.setattr(evaluate, "ModuleEncoder", lambda module, device: engine)
    report, metrics, _ = run(Args(root=tmp_path, checkpoint=tmp_path / "ckpt.pt"))
    assert opened == [tmp_path / "ckpt.pt"]
    assert (report["rank1"], len(metrics), report["model"]) == (100, 3, str(tmp_path / "ckpt.pt"))


@pytest.mark.parametrize("models", [{}, {"checkpoint": Path("a"), "bundle": Path("b")}])
def test_exactly_one_model_is_asked_for(models: dict[str, Path], tmp_path: Path) -> None:
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
