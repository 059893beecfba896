"""A few drawn people, and what the runs of every recipe are held to: resuming, and sharing a batch."""

from __future__ import annotations

import json
import multiprocessing
import runpy
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from train import checkpoint, runlog
from train.synthesis.draw import draw

SMALL_MODEL = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": [32, 16], "patch_size": 8, "width": 32, "layers": 1, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 drawn people with two pictures each; don't change them."""
    root = tmp_path_factory.mktemp("people") / "drawn"
    draw(root, people=30, images_per_person=2)
    return root


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of towers for 32 x 16 pictures, of 4 x 2 patches, smaller than ours by far."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "test-small.json").write_text(json.dumps(SMALL_MODEL), "utf-8")
    open_clip.add_model_config(folder)
    return "test-small"


@pytest.fixture(scope="session")
def small_settings(people: Path, small_model: str) -> dict[str, Any]:
    """Settings of a published recipe that train the small model on the drawn people in a second."""
    return {
        "data": "drawn",
        "root": str(people),
        "model": small_model,
        "pretrained": None,
        "height": 32,
        "width": 16,
        "batch": 16,
        "epochs": 2,
        "rule": "plain",
        "lr": 1e-3,
        "eps": 1e-8,
        "clip_norm": 1.0,
        "warmup": 1.0,
        "schedule": "step",
        "erase": 0.0,
        "judge": ("val",),
        "cache": True,
        "workers": 0,
    }


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(min(2, before))
    yield
    torch.set_num_threads(before)


def read_steps(folder: str | Path) -> list[dict[str, Any]]:
    lines = runlog.read(Path(folder) / "log.jsonl")
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines if line["event"] == "step"]


@pytest.fixture(scope="session")
def steps() -> Callable[[str | Path], list[dict[str, Any]]]:
    """steps(run folder) -> the lines of its steps, without how long they took."""
    return read_steps


def die_after_first_save(monkeypatch: pytest.MonkeyPatch) -> None:
    real = checkpoint.save

    def save(path: Path, *rest: Any, **more: Any) -> None:
        real(path, *rest, **more)
        if path.name == "ckpt.pt":
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", save)


def leaves(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key in value:
            yield from leaves(value[key], f"{at}.{key}")
    elif isinstance(value, (list, tuple)):
        for place, item in enumerate(value):
            yield from leaves(item, f"{at}[{place}]")
    else:
        yield at, value


def assert_same_state(one: Path, other: Path) -> None:
    """Every tensor to the bit, every other value equal; the folder's own name is the one thing left out."""
    a, b = (dict(leaves(checkpoint.read(path))) for path in (one, other))
    assert a.keys() == b.keys()
    assert any("exp_avg_sq" in name for name in a)
    assert any("random.cpu" in name for name in a)
    for name in a.keys() - {".config.out"}:
        if isinstance(a[name], torch.Tensor):
            assert torch.equal(a[name], b[name]), name
        else:
            assert a[name] == b[name], name


@pytest.fixture
def assert_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, Any], None]:
    """assert_resumes(train, cfg): the finished run of cfg, two epochs, equals one broken after the first."""

    def check(train: Callable[[Any], Any], straight: Any) -> None:
        broken = replace(straight, out=str(tmp_path / "broken"))
        with monkeypatch.context() as patch:
            die_after_first_save(patch)
            with pytest.raises(KeyboardInterrupt):
                train(broken)
        assert 2 <= len(read_steps(broken.out)) < len(read_steps(straight.out))
        with (tmp_path / "broken" / "log.jsonl").open("a") as log:  # it had gone on before it died
            log.write('{"event": "step", "step": 9999, "loss": 0.0}\n{"event": "st')
        torch.rand(5)  # the generator is wherever this process left it
        train(broken)
        assert read_steps(broken.out) == read_steps(straight.out)
        assert_same_state(tmp_path / "broken" / "ckpt.pt", Path(straight.out) / "ckpt.pt")

    return check


@pytest.fixture(scope="session")
def forks() -> Any:
    """Starts processes that have torch and its friends already: importing them takes longer than the tests.

    multiprocessing's fork server imports them once, on one thread, and a process is a fork of it.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["accelerate", "open_clip", "pytest"])  # pytest is the main module
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}.items():
            patch.setenv(name, value)
        patch.setenv("CUDA_VISIBLE_DEVICES", "")  # a driver that was started doesn't survive a fork
        forkserver.ensure_running()
    return context


@pytest.fixture
def assert_two_are_one(forks: Any, tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """assert_two_are_one(source): compute(share) of two processes, half a batch each, is that of one.

    source: a module whose compute(slice of the batch) returns {"parts": losses, "gradients": by name}; it
    knows the small model. Returns what the one process found.
    """

    def check(source: str) -> dict[str, Any]:
        script = tmp_path / "worker.py"
        (tmp_path / "test-small.json").write_text(json.dumps(SMALL_MODEL), "utf-8")
        script.write_text(KNOWING + source + MAIN)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        both = []
        for rank in "01":
            known = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "MASTER_PORT": port}
            more = {"environment": {**known, "MASTER_ADDR": "127.0.0.1"}}
            arguments = (str(script), more, "__main__")
            both.append(forks.Process(target=runpy.run_path, args=arguments, daemon=True))
        for process in both:
            process.start()
        alone: dict[str, Any] = runpy.run_path(str(script))["compute"](slice(None))
        for process in both:
            process.join(timeout=300)
        wrong = [path.read_text("utf-8") for path in tmp_path.glob("*.error")]
        assert [process.exitcode for process in both] == [0, 0], wrong
        for rank in (0, 1):
            got = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
            assert got["gradients"].keys() == alone["gradients"].keys()
            for kind in ("parts", "gradients"):
                for name, want in alone[kind].items():
                    off = (got[kind][name] - want).abs().max() / want.abs().max()
                    assert off < 1e-4, f"{kind} {name} on rank {rank}: off by {off:.1e} of its largest"
        return alone

    return check


KNOWING = """
from pathlib import Path
import open_clip
open_clip.add_model_config(next(Path(__file__).parent.glob("*.json")))
"""
MAIN = """
if __name__ == "__main__":
    import os
    import traceback
    import torch

    os.environ.update(environment)
    rank = int(os.environ["RANK"])
    try:
        torch.save(compute(slice(4 * rank, 4 * rank + 4)), Path(__file__).with_name(f"{rank}.pt"))
    except BaseException:  # its standard error is nobody's
        Path(__file__).with_name(f"{rank}.error").write_text(traceback.format_exc(), "utf-8")
        raise
"""
