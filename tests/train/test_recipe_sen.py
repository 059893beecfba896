"""The SEN recipe: it learns, a resumed run is the unbroken one, two processes are one, heads stay home."""

import os
import re
import runpy
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tyro

from sdk.errors import InputError
from train import checkpoint, datasets, optim, runlog
from train.masking import MASK
from train.recipes import sen
from train.recipes.sen import Config
from train.synthesis.draw import draw

ROOT = Path(__file__).resolve().parents[2]
SMALL: dict[str, Any] = {
    "model": "labrador-tiny",
    "pretrained": None,
    "height": 48,
    "width": 32,
    "batch": 16,
    "epochs": 2,
    "warmup": 0.5,
    "rule": "plain",
    "lr": 1e-3,
    "eps": 1e-8,
    "temperature": 0.05,
    "clip_norm": 1.0,
    "judge": ("val",),
    "cache": True,
    "workers": 0,
    "tagger": "lexicon",
}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("people") / "drawn"
    draw(root, people=30, images_per_person=2)
    return root


@pytest.fixture(scope="module")
def finished(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A run of two epochs without a break."""
    cfg = Config("drawn", str(people), str(tmp_path_factory.mktemp("runs") / "a"), **SMALL)
    sen.train(cfg)
    return cfg


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(min(2, before))
    yield
    torch.set_num_threads(before)


def made(people: Path, **more: Any) -> tuple[Config, Any, Any, sen.PrunedSet]:
    cfg = Config("drawn", str(people), "", **{**SMALL, **more})
    split = datasets.load("drawn", str(people), "train")
    encoder, trainee = sen.build(cfg, split)
    return cfg, encoder, trainee, sen.items(cfg, split, encoder)


def lines(cfg: Config, event: str) -> list[dict[str, Any]]:
    found = [line for line in runlog.read(Path(cfg.out) / "log.jsonl") if line["event"] == event]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in found]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"cmt_positives": "hardest", "cmt_form": "soft", "prune": 0.0, "mask_words": False},
        {"losses": ("sdm", "id"), "model": "labrador-tiny-conv", "rule": "irra"},
    ],
)
def test_two_steps_lower_a_finite_loss(people: Path, more: dict[str, Any]) -> None:
    cfg, _, trainee, items = made(people, **{"lr": 1e-4, **more})
    groups = optim.param_groups(trainee.named_parameters(), cfg.lr, cfg.weight_decay, cfg.rule)
    optimizer = optim.build_optimizer(groups, cfg.rule, cfg.eps)
    batch = items.batch(sen.sampler(cfg, items, 0, 1).batches(0)[0])
    weights = {"tir": cfg.tir_weight, "cmt": cfg.cmt_weight}
    losses = []
    for _ in range(3):
        parts = sen.step_losses(trainee.train(), batch, cfg, torch.device("cpu"))
        assert tuple(parts) == cfg.losses
        loss = sum(weights.get(name, 1.0) * part for name, part in parts.items())
        assert isinstance(loss, torch.Tensor)
        optimizer.zero_grad()
        loss.backward()
        missed = [n for n, p in trainee.named_parameters() if p.requires_grad and p.grad is None]
        assert not missed  # or DistributedDataParallel would wait for them
        optimizer.step()
        losses.append(loss.item())
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


def test_a_run_logs_every_part_and_who_told_the_parts_of_speech(finished: Config) -> None:
    steps = lines(finished, "step")
    assert {"sdm", "id", "tir", "cmt", "loss"} <= steps[0].keys()
    total = steps[0]["sdm"] + steps[0]["id"] + 10 * steps[0]["tir"] + 10 * steps[0]["cmt"]
    assert steps[0]["loss"] == pytest.approx(total, rel=1e-5)
    assert lines(finished, "start")[0]["notes"] == ["parts of speech are told by: lexicon"]
    assert lines(finished, "eval")[0]["rank1"] >= 0


def test_a_resumed_run_is_the_unbroken_one_to_the_bit(
    finished: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, real = replace(finished, out=str(tmp_path / "broken")), checkpoint.save

    def save(path: Path, *rest: Any, **more: Any) -> None:
        real(path, *rest, **more)
        if path.name == "ckpt.pt":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save)
        with pytest.raises(KeyboardInterrupt):
            sen.train(broken)
    assert 0 < len(lines(broken, "step")) < len(lines(finished, "step"))
    torch.rand(5)  # the generator is wherever this process left it
    sen.train(broken)
    assert lines(broken, "step") == lines(finished, "step")
    one, other = (checkpoint.read(Path(cfg.out) / "ckpt.pt") for cfg in (finished, broken))
    assert "tir.mask_token" in one["training"]["heads"]
    states = [
        (s["model"], s["training"]["heads"], *s["training"]["optimizer"]["state"].values())
        for s in (one, other)
    ]
    for mine, theirs in zip(*states, strict=True):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_only_the_towers_are_exported(finished: Config) -> None:
    encoder = checkpoint.load(Path(finished.out) / "ckpt.pt")
    assert encoder.recipe == "sen"
    towers = {tensor.data_ptr() for tensor in encoder.tower.state_dict().values()}
    names = set()
    for graph in encoder.export_graphs():
        names.add(graph.name)
        for name, tensor in graph.module.state_dict().items():
            assert tensor.data_ptr() in towers, name
            assert not {"tir", "classifier"} & set(name.split("."))
    assert names == {"image", "text"}


def test_captions_are_pruned_and_masked_by_chance_and_repeatably(people: Path) -> None:
    _, _, _, items = made(people, prune=0.5)
    everything = np.arange(len(items))
    plain = items._ids[items.text_of]
    _, ids, kept, labels = items.batch(everything)
    again = items.batch(everything[::-1].copy())
    assert torch.equal(again[1].flip(0), ids)
    assert torch.equal(again[2].flip(0), kept)
    assert torch.equal(labels, torch.from_numpy(items.labels))
    assert (ids == MASK).any(dim=1).float().mean() > 0.9
    assert torch.equal((ids == 49407).sum(dim=1), torch.ones(len(ids), dtype=torch.int64))
    cut = (ids.argmax(dim=1) < plain.argmax(dim=1)).float().mean()
    assert 0.3 < cut < 0.7
    assert kept.shape == (len(items), 1)  # int(7 * 0.3) = 2 tokens of 6 patches and the class token
    assert set(kept.flatten().tolist()) == set(range(6))
    items.set_epoch(1)
    assert not torch.equal(items.batch(everything)[1], ids)


def test_pruning_and_masking_can_be_switched_off(people: Path) -> None:
    _, encoder, _, items = made(people, prune=0.0, mask_words=False)
    assert torch.equal(items.batch([3, 5])[1], items._ids[items.text_of[[3, 5]]])
    assert not encoder.tower.notes


def test_restoring_is_refused_on_towers_whose_patches_cannot_be_left_out(people: Path) -> None:
    with pytest.raises(InputError, match=r"labrador-tiny-conv.*ViT-B-16"):
        made(people, model="labrador-tiny-conv")


@pytest.mark.parametrize(
    "wrong", [{"mask_ratio": 1.5}, {"prune": -0.1}, {"losses": ()}, {"temperature": 0.0}]
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Config("drawn", "root", "out", **wrong)


def test_the_commands_of_its_docstring_parse() -> None:
    text = (sen.__doc__ or "").replace("\n        --", " --")
    commands = re.findall(r"python -m train\.recipes\.sen (.*)", text)
    *real, shrunken = (tyro.cli(Config, args=shlex.split(command)) for command in commands)
    assert [cfg.data for cfg in real] == ["cuhk_pedes", "icfg_pedes", "rstpreid"]
    assert (real[0].model, real[0].batch, real[0].mask_ratio, real[0].seed) == ("ViT-B-16", 128, 0.7, 42)
    assert (shrunken.model, shrunken.pretrained, shrunken.rule) == ("labrador-tiny", None, "plain")


WORKER = """
import sys
import torch
from train.distributed import accelerator as start
from train.model import TwoTower
from train.recipes.sen import Config, Trainee, step_losses

def compute(share):
    accelerator = start("fp32")
    torch.manual_seed(0)
    cfg = Config("drawn", "", "", temperature=0.1, learn_temperature=True)
    inner = Trainee(TwoTower("labrador-tiny", (48, 32)), 4, cfg)
    trainee = accelerator.prepare(inner)
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(8, 3, 48, 32, generator=generator)
    ids = torch.randint(1, 40000, (8, 77), generator=generator)
    for row, end in enumerate((9, 5, 12, 7, 20, 3, 8, 6)):
        ids[row, end], ids[row, end + 1:] = 49407, 0
    kept = torch.stack([torch.randperm(6, generator=generator)[:2] for _ in range(8)])
    labels = torch.tensor([0, 1, 2, 0, 3, 1, 2, 2])
    batch = pixels[share], ids[share], kept[share], labels[share]
    parts = step_losses(trainee, batch, cfg, accelerator.device)
    accelerator.backward(sum(parts.values()))
    gradients = {n: p.grad for n, p in inner.named_parameters() if p.grad is not None}
    return {"parts": {n: v.detach() for n, v in parts.items()}, "gradients": gradients}

if __name__ == "__main__":
    rank = int(sys.argv[1])
    torch.save(compute(slice(4 * rank, 4 * rank + 4)), sys.argv[2])
"""


def test_two_processes_are_one_with_the_doubled_batch(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(tmp_path / f"{rank}.pt")],
            cwd=ROOT,
            env={
                **os.environ,
                **common,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    alone = runpy.run_path(str(script))["compute"](slice(None))
    errors = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    for rank in (0, 1):
        got = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert got["gradients"].keys() == alone["gradients"].keys()
        assert {"heads.tir.mask_token", "heads.classifier.weight"} <= got["gradients"].keys()
        for kind in ("parts", "gradients"):
            for name, want in alone[kind].items():
                off = (got[kind][name] - want).abs().max() / want.abs().max()
                assert off < 1e-4, f"{kind} {name} on rank {rank}: off by {off:.1e} of its largest"
