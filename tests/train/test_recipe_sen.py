"""The sen recipe: captions and patches by chance, its losses; it learns, resumes, exports the towers only."""

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdk.errors import InputError
from train import checkpoint, datasets, loop, losses, optim, runlog, tir
from train.masking import MASK
from train.model import TwoTower
from train.recipes import sen
from train.recipes.sen import Config, PrunedSet, Trainee, step_losses

pytestmark = pytest.mark.usefixtures("two_threads")
CPU = torch.device("cpu")


@pytest.fixture
def cfg(tmp_path: Path, small_settings: dict[str, Any]) -> Config:
    return Config(out=str(tmp_path / "a"), **small_settings, tagger="lexicon")


def parts_of(cfg: Config) -> tuple[Any, Trainee, PrunedSet]:
    split = datasets.load(cfg.data, cfg.root, "train")
    encoder, trainee = sen.build(cfg, split)
    return encoder, trainee, sen.items(cfg, split, encoder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, small_settings: dict[str, Any]) -> Config:
    """A run of two epochs without a break."""
    cfg = Config(out=str(tmp_path_factory.mktemp("runs") / "a"), **small_settings, tagger="lexicon")
    sen.train(cfg)
    return cfg


def test_captions_are_pruned_and_masked_by_chance_and_repeatably(cfg: Config) -> None:
    _, _, items = parts_of(replace(cfg, prune=0.5))
    everything = np.arange(len(items))
    _, ids, kept, labels = items.batch(everything)
    again = items.batch(everything[::-1].copy())
    assert torch.equal(again[1].flip(0), ids)
    assert torch.equal(again[2].flip(0), kept)
    assert torch.equal(labels, torch.from_numpy(items.labels))
    plain, pruned = items._ids[items.text_of], items.pruned[items.text_of]
    ends = (ids == 49407).nonzero()  # one a row, where it was, or where the pruned caption ends
    assert ends[:, 0].tolist() == everything.tolist()
    cut = ends[:, 1] == pruned.argmax(dim=1)
    assert torch.equal(ends[~cut, 1], plain.argmax(dim=1)[~cut])
    assert 0.3 < cut.float().mean() < 0.7
    assert pruned.argmax(dim=1).float().mean() < 0.8 * plain.argmax(dim=1).float().mean()
    changed = ids != torch.where(cut[:, None], pruned, plain)
    words = (ids > 0) & (ids < 49406)
    assert 0.1 < changed.sum() / words.sum() < 0.3  # nine tenths of 0.05 to 0.30
    assert (ids[changed] == MASK).float().mean() > 0.8
    assert kept.shape == (len(items), 1)  # int(9 * 0.3) = 2 tokens: the class token and one of 8 patches
    assert set(kept.flatten().tolist()) == set(range(8))
    items.set_epoch(1)
    other = items.batch(everything)
    assert not torch.equal(other[1], ids)
    assert not torch.equal(other[2], kept)


def test_pruning_and_masking_can_be_switched_off(cfg: Config) -> None:
    encoder, _, items = parts_of(replace(cfg, prune=0.0, mask_words=False))
    assert torch.equal(items.batch([3, 5])[1], items._ids[items.text_of[[3, 5]]])
    assert not encoder.tower.notes
    encoder, _, items = parts_of(replace(cfg, prune=1.0, mask_words=False))
    assert torch.equal(items.batch([3, 5])[1], items.pruned[items.text_of[[3, 5]]])
    assert encoder.tower.notes == ("parts of speech are told by: lexicon",)


@torch.no_grad()
def test_the_losses_are_of_the_clean_colour_pass_and_the_masked_grey_one(cfg: Config) -> None:
    _, trainee, items = parts_of(cfg)
    tower = trainee.eval().tower
    batch = items.batch(range(6))
    pixels, ids, kept, labels = batch
    image, text, errors = trainee(pixels, ids, kept)
    torch.testing.assert_close(image, tower.encode_image(pixels))
    torch.testing.assert_close(text, tower.encode_text(ids), atol=1e-5, rtol=1e-4)
    seen = tower.some_patches(tir.grey(pixels), kept)
    restored = trainee.heads.tir(seen, tower.text_tokens(ids), kept)
    torch.testing.assert_close(errors, tir.masked_errors(restored, pixels, kept, (4, 2)))
    plain = trainee(pixels.flip(0), ids, kept.flip(0))[2].flip(0)
    assert not torch.allclose(plain, errors)  # whose words they are matters
    got = step_losses(trainee, batch, cfg, CPU)
    assert got["tir"].item() == pytest.approx(errors.mean().item(), rel=1e-5)
    assert got["cmt"].item() == pytest.approx(losses.cmt(image, text, labels).item(), abs=1e-5)
    how = replace(cfg, cmt_positives="hardest", cmt_form="soft")
    want = losses.cmt(image, text, labels, form="soft", positives="hardest").item()
    assert step_losses(trainee, batch, how, CPU)["cmt"].item() == pytest.approx(want, abs=1e-3)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"cmt_positives": "hardest", "cmt_form": "soft", "prune": 0.0, "mask_words": False, "lr": 2e-4},
        {"losses": ("sdm", "id"), "model": "labrador-tiny-conv"},
    ],
)
def test_two_steps_on_a_batch_lower_a_finite_loss(more: dict[str, Any], cfg: Config) -> None:
    cfg = replace(cfg, **more)
    _, trainee, items = parts_of(cfg)
    batch = items.batch(sen.sampler(cfg, items, 0, 1).batches(0)[0])
    groups = optim.param_groups(trainee.named_parameters(), cfg.lr, cfg.weight_decay, cfg.rule)
    optimizer = optim.build_optimizer(groups, cfg.rule, cfg.eps)
    weights = {"tir": cfg.tir_weight, "cmt": cfg.cmt_weight}
    seen = []
    for _ in range(3):
        parts = step_losses(trainee, batch, cfg, CPU)
        assert tuple(parts) == cfg.losses
        loss = torch.stack([weights.get(name, 1.0) * part for name, part in parts.items()]).sum()
        optimizer.zero_grad()
        loss.backward()
        named = trainee.named_parameters()
        assert not [
            name for name, p in named if p.requires_grad and p.grad is None
        ]  # DDP would wait for them
        optimizer.step()
        seen.append(loss.item())
    assert np.isfinite(seen).all()
    assert seen[2] < seen[0]


def test_a_run_logs_its_parts_and_its_checkpoint_has_towers_only(finished: Config, steps: Any) -> None:
    for line in steps(finished.out):
        total = line["sdm"] + line["id"] + 10 * line["tir"] + 10 * line["cmt"]
        assert line["loss"] == pytest.approx(total, rel=1e-5)
    start = runlog.read(Path(finished.out) / "log.jsonl")[0]
    assert start["notes"] == ["parts of speech are told by: lexicon"]
    state = checkpoint.read(Path(finished.out) / "ckpt.pt")
    kept = state["training"]["heads"]
    assert {"classifier.weight", "tir.mask_token", "tir.decoder.cross_attn.in_proj_weight"} <= kept.keys()
    assert state["model"].keys() == TwoTower("test-small", (32, 16)).state_dict().keys()


def test_a_resumed_run_is_the_unbroken_one_to_the_bit(finished: Config, assert_resumes: Any) -> None:
    assert_resumes(sen.train, finished)


def test_the_exported_graphs_hold_the_towers_and_no_head(finished: Config) -> None:
    encoder = checkpoint.load(Path(finished.out) / "ckpt.pt")
    assert encoder.recipe == "sen"
    towers = {tensor.data_ptr() for tensor in encoder.tower.state_dict().values()}
    graphs = {graph.name: graph.module for graph in encoder.export_graphs()}
    assert graphs.keys() == {"image", "text"}
    for module in graphs.values():
        for name, tensor in module.state_dict().items():
            assert tensor.data_ptr() in towers, name


def test_restoring_is_refused_where_patches_cannot_be_left_out(cfg: Config) -> None:
    with pytest.raises(InputError, match=r"labrador-tiny-conv's image tower.*ViT-B-16"):
        sen.train(replace(cfg, model="labrador-tiny-conv"))
    assert not Path(cfg.out).exists()


@pytest.mark.parametrize(
    "wrong", [{"mask_ratio": 1.5}, {"prune": -0.1}, {"losses": ()}, {"temperature": 0.0}]
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Config("drawn", "root", "out", **wrong)


def test_the_commands_of_its_docstring_parse() -> None:
    text = (sen.__doc__ or "").replace("\n        --", " --")
    commands = re.findall(r"python -m train\.recipes\.sen (.*)", text)
    *real, shrunken = (loop.parse(Config, shlex.split(command), small=sen.SMALL) for command in commands)
    assert [one.data for one in real] == ["cuhk_pedes", "icfg_pedes", "rstpreid"]
    for one in real:
        assert (one.model, one.pretrained, one.height, one.width) == ("ViT-B-16", "openai", 384, 128)
        assert (one.batch, one.epochs, one.lr, one.eps, one.weight_decay) == (128, 60, 1e-5, 1e-3, 4e-5)
        assert (one.losses, one.tir_weight, one.cmt_weight) == (("sdm", "id", "tir", "cmt"), 10, 10)
        assert (one.mask_ratio, one.prune, one.mask_words, one.cmt_positives) == (0.7, 0.2, True, "paired")
    assert (shrunken.model, shrunken.pretrained, shrunken.rule) == ("labrador-tiny", None, "plain")


WORKER = """
import torch
from train.distributed import accelerator as start
from train.model import TwoTower
from train.recipes.sen import Config, Trainee, step_losses

def compute(share):
    accelerator = start("fp32")
    torch.manual_seed(0)
    cfg = Config("drawn", "", "", temperature=0.1, learn_temperature=True)
    inner = Trainee(TwoTower("test-small", (32, 16)), 4, cfg)
    trainee = accelerator.prepare(inner)
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(8, 3, 32, 16, generator=generator)
    ids = torch.randint(1, 40000, (8, 77), generator=generator)
    for row, end in enumerate((9, 5, 12, 7, 20, 3, 8, 6)):
        ids[row, end], ids[row, end + 1:] = 49407, 0
    kept = torch.stack([torch.randperm(8, generator=generator)[:3] for _ in range(8)])
    labels = torch.tensor([0, 1, 2, 0, 3, 1, 2, 2])
    batch = [part[share] for part in (pixels, ids, kept, labels)]
    parts = step_losses(trainee, batch, cfg, accelerator.device)
    accelerator.backward(sum(parts.values()))
    gradients = {n: p.grad for n, p in inner.named_parameters() if p.grad is not None}
    return {"parts": {n: v.detach() for n, v in parts.items()}, "gradients": gradients}
"""


def test_two_processes_are_one_with_the_doubled_batch(
    assert_two_are_one: Callable[[str], dict[str, Any]],
) -> None:
    found = assert_two_are_one(WORKER)
    assert found["parts"].keys() == {"sdm", "id", "tir", "cmt"}
    assert {"heads.tir.mask_token", "heads.classifier.weight"} <= found["gradients"].keys()
