"""The clip recipe: it learns, resumes bit for bit, refuses other settings, and two processes equal one."""

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
import tyro
from PIL import Image

from sdk.errors import CheckpointError, InputError
from train import checkpoint, evaluate, runlog
from train.recipes import clip
from train.recipes.clip import Config

pytestmark = pytest.mark.usefixtures("two_threads")
Steps: TypeAlias = Callable[[str | Path], list[dict[str, Any]]]
SMALL: dict[str, Any] = {
    "model": "labrador-tiny",
    "height": 32,
    "width": 16,
    "batch": 16,
    "epochs": 2,
    "warmup": 0.5,
    "eval_every": 1,
    "judge": ("val", "test"),
}


@pytest.fixture(scope="module")
def finished(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A run of two epochs without a break."""
    cfg = Config("drawn", str(people), str(tmp_path_factory.mktemp("runs") / "a"), **SMALL)
    clip.train(cfg)
    return cfg


def test_a_run_leaves_its_folder(finished: Config, steps: Steps) -> None:
    out = Path(finished.out)
    assert {p.name for p in out.iterdir()} == {
        "config.json", "log.jsonl", "loss.png", "ckpt.pt", "best.pt", "best_on_test.pt"
    }  # fmt: skip
    assert json.loads((out / "config.json").read_text())["batch"] == 16
    lines = [json.loads(text) for text in (out / "log.jsonl").read_text().splitlines()]
    events = [line["event"] for line in lines]
    total = sum(e == "step" for e in events)
    assert events[0] == "start"
    assert events[-1] == "end"
    assert events.count("eval") == 4
    assert [line["step"] for line in steps(out)] == list(range(1, total + 1))
    assert {"loss", "infonce", "lr", "temperature", "norm", "epoch"} <= steps(out)[0].keys()
    assert np.isfinite([line["loss"] for line in steps(out)]).all()
    evals = [line for line in lines if line["event"] == "eval"]
    assert {"rank1", "rank5", "rank10", "map", "minp"} <= evals[0].keys()
    with Image.open(out / "loss.png") as picture:
        picture.load()
        assert picture.format == "PNG"


@torch.no_grad()
def test_its_checkpoint_opens_without_the_recipe_being_named(finished: Config) -> None:
    module = checkpoint.load(Path(finished.out) / "ckpt.pt")
    assert module.recipe == "clip"
    assert (module.image_spec.height, module.image_spec.width) == (32, 16)
    assert module.schema is not None
    assert module.provenance == {"data": "drawn", "licence": "Apache-2.0", "chosen": "last, epoch 2"}
    assert module.encode_image(torch.zeros(2, 3, 32, 16)).shape == (2, 128)


@pytest.mark.parametrize(
    "more", [{}, {"model": "labrador-tiny-conv", "losses": ("sdm", "id"), "rule": "irra"}]
)
def test_a_resumed_run_is_the_unbroken_one_to_the_bit(
    more: dict[str, Any], people: Path, finished: Config, tmp_path: Path, assert_resumes: Callable[..., None]
) -> None:
    straight = finished
    if more:
        straight = Config("drawn", str(people), str(tmp_path / "straight"), **{**SMALL, **more})
        clip.train(straight)
    assert_resumes(clip.train, straight)


def test_a_finished_run_has_nothing_to_do(finished: Config) -> None:
    path = Path(finished.out) / "ckpt.pt"
    before = path.read_bytes()
    result = clip.train(replace(finished, workers=3))
    assert path.read_bytes() == before
    assert result["last"]["val"]["epoch"] == 2


def test_a_run_with_other_settings_is_refused_by_name(finished: Config) -> None:
    with pytest.raises(CheckpointError, match=r"lr was 0.001, is 0.002, seed was 0, is 1; keep them"):
        clip.train(replace(finished, lr=2e-3, seed=1))


def test_it_learns_the_pairs_it_sees(people: Path, tmp_path: Path, steps: Steps) -> None:
    cfg = Config("drawn", str(people), str(tmp_path / "a"), **{**SMALL, "epochs": 12, "eval_every": 99})
    clip.train(replace(cfg, augment=False, save_every=99))
    losses = [line["loss"] for line in steps(cfg.out)]
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 0.5


def test_the_best_on_test_is_kept_beside_the_best_on_val_and_both_say_so(
    people: Path, finished: Config
) -> None:
    out = Path(finished.out)
    lines = runlog.read(out / "log.jsonl")
    evals = [line for line in lines if line["event"] == "eval"]
    assert [(line["part"], line["epoch"]) for line in evals] == [
        ("val", 1), ("test", 1), ("val", 2), ("test", 2)
    ]  # fmt: skip
    for part, name in (("val", "best.pt"), ("test", "best_on_test.pt")):
        best = max((line for line in evals if line["part"] == part), key=lambda line: line["rank1"])
        assert lines[-1]["best"][part]["rank1"] == best["rank1"]
        assert checkpoint.load(out / name).provenance["chosen"] == f"best on {part}, epoch {best['epoch']}"
    last, _, flattering = evaluate.run(evaluate.Args(root=people, checkpoint=(out,)))
    assert last.facts["rank1"] == pytest.approx(lines[-1]["last"]["test"]["rank1"])
    assert flattering.facts["rank1"] == pytest.approx(lines[-1]["best"]["test"]["rank1"])
    assert flattering.facts["chosen"].startswith("best on test")


def test_the_id_classifier_trains_but_is_not_part_of_the_model(
    people: Path, tmp_path: Path, steps: Steps
) -> None:
    cfg = Config("drawn", str(people), str(tmp_path / "a"), **{**SMALL, "epochs": 1, "losses": ("id", "sdm")})
    clip.train(cfg)
    state = checkpoint.read(tmp_path / "a" / "ckpt.pt")
    classes = runlog.read(tmp_path / "a" / "log.jsonl")[0]["people"]
    assert state["training"]["heads"]["classifier.weight"].shape == (classes, 128)
    assert not any("classifier" in name for name in state["model"])
    assert {"id", "sdm", "loss"} <= steps(cfg.out)[0].keys()
    assert steps(cfg.out)[0]["loss"] == pytest.approx(sum(steps(cfg.out)[0][n] for n in ("id", "sdm")))


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"temperature": 0.0}, {"lr": -1.0}, {"losses": ()}])
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Config("drawn", "root", "out", **wrong)


def test_the_commands_of_its_docstring_parse() -> None:
    text = (clip.__doc__ or "").replace("\n        --", " --")
    commands = re.findall(r"python -m train\.recipes\.clip (.*)", text)
    real, shrunken = (tyro.cli(Config, args=shlex.split(command)) for command in commands)
    assert (real.model, real.height, real.width, real.rule) == ("ViT-B-16", 384, 128, "irra")
    assert shrunken == Config("drawn", "DIR", "runs/a")


WORKER = """
import torch
from train.distributed import accelerator as start
from train.model import TwoTower
from train.recipes.clip import Config, Trainee, step_losses

def compute(share):
    accelerator = start("fp32")
    torch.manual_seed(0)
    cfg = Config("drawn", "", "", losses=("infonce", "sdm", "id", "cmt"))
    inner = Trainee(TwoTower("labrador-tiny", (32, 16)), 4, 0.1, True)
    trainee = accelerator.prepare(inner)
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(8, 3, 32, 16, generator=generator)
    ids = torch.randint(1, 40000, (8, 77), generator=generator)
    for row, end in enumerate((9, 5, 12, 7, 20, 3, 8, 6)):  # so that the processes cut texts differently
        ids[row, end], ids[row, end + 1:] = 49407, 0
    labels = torch.tensor([0, 1, 2, 0, 3, 1, 2, 2])
    batch = pixels[share], ids[share], labels[share]
    parts = step_losses(trainee, batch, cfg, accelerator.device)
    accelerator.backward(sum(parts.values()))
    gradients = {n: p.grad for n, p in inner.named_parameters() if p.grad is not None}
    return {"parts": {n: v.detach() for n, v in parts.items()}, "gradients": gradients}
"""


def test_two_processes_are_one_with_the_doubled_batch(
    assert_two_are_one: Callable[[str], dict[str, Any]],
) -> None:
    gradients = assert_two_are_one(WORKER)["gradients"]
    assert "heads.classifier.weight" in gradients
    assert "tower.clip.logit_scale" in gradients
