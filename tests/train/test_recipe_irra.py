"""The irra recipe: hidden words, which texts the losses see, lr groups; it learns, resumes, exports."""

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import open_clip
import pytest
import torch

from export.convert import write_graph
from sdk.errors import InputError
from train import checkpoint, datasets, loop, optim
from train.masking import MASK
from train.model import TwoTower
from train.recipes import irra
from train.recipes.irra import Config, MaskedSet, Trainee, step_losses

pytestmark = pytest.mark.usefixtures("two_threads")
CPU = torch.device("cpu")


@pytest.fixture
def cfg(tmp_path: Path, small_settings: dict[str, Any]) -> Config:
    return Config(out=str(tmp_path / "a"), **small_settings)


def parts_of(cfg: Config) -> tuple[Any, Trainee, MaskedSet]:
    split = datasets.load(cfg.data, cfg.root, "train")
    encoder, trainee = irra.build(cfg, split)
    return encoder, trainee, irra.items(cfg, split, encoder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, small_settings: dict[str, Any]) -> Config:
    """A run of two epochs without a break."""
    cfg = Config(out=str(tmp_path_factory.mktemp("runs") / "a"), **small_settings)
    irra.train(cfg)
    return cfg


def test_a_batch_brings_captions_with_hidden_words(cfg: Config) -> None:
    encoder, _, items = parts_of(cfg)
    plain = loop.pairs(cfg, datasets.load(cfg.data, cfg.root, "train"), encoder)
    for epoch in (0, 1):
        items.set_epoch(epoch)
        plain.set_epoch(epoch)
        pixels, ids, masked, targets, labels = items.batch([3, 0, 8])
        assert all(map(torch.equal, (pixels, ids, labels), plain.batch([3, 0, 8])))  # chance is its own
        assert torch.equal(torch.where(targets > 0, targets, masked), ids)
        assert (masked == MASK).any()
        again = items.batch([8, 3])
        assert torch.equal(again[2], masked[[2, 0]])
        assert torch.equal(again[3], targets[[2, 0]])
    items.set_epoch(0)
    assert not torch.equal(items.batch([3, 0, 8])[2], masked)
    assert len(items[0]) == 5
    cfg = replace(cfg, mask_rate=1.0)
    assert (parts_of(cfg)[2].batch([0])[3] > 0).sum() == (ids[1] > 0).sum() - 2


@torch.no_grad()
def test_the_features_are_the_towers_and_the_guesses_are_of_the_hidden_words(cfg: Config) -> None:
    _, trainee, items = parts_of(cfg)
    tower = trainee.eval().tower
    pixels, ids, masked, targets, _ = items.batch(range(6))
    hidden = targets.flatten().nonzero().squeeze(1)
    image, text, guesses = trainee(pixels, masked, hidden)
    torch.testing.assert_close(image, tower.encode_image(pixels), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(text, tower.encode_text(masked), atol=1e-5, rtol=1e-4)
    clean = trainee(pixels, masked, hidden, tower.shorten(ids))[1]
    torch.testing.assert_close(clean, tower.encode_text(ids), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(clean, text, atol=1e-3)
    whole = trainee.heads.mlm_head(trainee.heads.irr(tower.text_tokens(masked), tower.image_tokens(pixels)))
    torch.testing.assert_close(guesses, whole[targets > 0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("global_text", ["masked", "clean"])
def test_two_steps_on_a_batch_lower_every_loss(global_text: Any, cfg: Config) -> None:
    cfg = replace(cfg, global_text=global_text)
    _, trainee, items = parts_of(cfg)
    batch = items.batch(range(16))
    groups = optim.param_groups(trainee.named_parameters(), cfg.lr, cfg.weight_decay, cfg.rule)
    optimizer = optim.build_optimizer(groups, cfg.rule, cfg.eps)
    seen = []
    for _ in range(3):
        parts = step_losses(trainee, batch, cfg, CPU)
        seen.append({name: part.item() for name, part in parts.items()})
        optimizer.zero_grad()
        torch.stack(list(parts.values())).sum().backward()
        optimizer.step()
    assert list(seen[0]) == ["sdm", "id", "irr"]
    assert seen[0]["irr"] == pytest.approx(torch.tensor(49408.0).log().item(), rel=0.1)  # knows nothing yet
    for name in seen[0]:
        assert torch.isfinite(torch.tensor([values[name] for values in seen])).all()
        assert seen[2][name] < seen[0][name], name
    assert trainee.tower.clip.logit_scale.grad is None  # the temperature is a constant


def test_groups_follow_the_names_of_the_real_modules(cfg: Config) -> None:
    _, trainee, _ = parts_of(cfg)
    named = dict(trainee.named_parameters())
    groups = optim.param_groups(named.items(), 1e-5, 4e-5, "irra")
    place = {id(p): (g["lr"], g["weight_decay"] > 0) for g in groups for p in g["params"]}
    wanted = {
        "heads.irr.cross_attn.in_proj_weight": (5, True),
        "heads.irr.cross_attn.in_proj_bias": (2, False),  # not 5: the rule for biases comes later
        "heads.irr.cross_attn.out_proj.bias": (2, False),
        "heads.irr.cross_blocks.0.mlp.c_fc.weight": (5, True),
        "heads.irr.cross_blocks.3.ln_1.weight": (5, True),
        "heads.irr.cross_blocks.3.ln_1.bias": (2, False),
        "heads.irr.ln_pre_query.weight": (1, True),
        "heads.irr.ln_pre_memory.bias": (2, False),
        "heads.irr.ln_post.weight": (1, True),
        "heads.mlm_head.fc.weight": (5, True),
        "heads.mlm_head.ln.bias": (5, False),
        "heads.classifier.weight": (5, True),
        "heads.classifier.bias": (5, False),
        "tower.clip.visual.proj": (1, True),
        "tower.clip.ln_final.bias": (2, False),
    }
    for name, (factor, decays) in wanted.items():
        assert place[id(named[name])] == (pytest.approx(1e-5 * factor), decays), name
    assert "tower.clip.logit_scale" in named
    assert id(named["tower.clip.logit_scale"]) not in place


def test_a_run_logs_its_parts_and_its_checkpoint_has_towers_only(finished: Config, steps: Any) -> None:
    lines = steps(finished.out)
    people = datasets.load("drawn", finished.root, "train")
    pairs = sum(len(sample.captions) for sample in people.samples)
    assert len(lines) == 2 * -(-pairs // 16)  # the last, smaller batch is kept
    for line in lines:
        assert line["loss"] == pytest.approx(line["sdm"] + line["id"] + line["irr"], rel=1e-5)
    state = checkpoint.read(Path(finished.out) / "ckpt.pt")
    kept = state["training"]["heads"]
    assert kept["classifier.weight"].shape == (people.people, 32)
    assert {"irr.cross_attn.in_proj_weight", "mlm_head.fc.weight"} <= kept.keys()
    assert state["model"].keys() == TwoTower("test-small", (32, 16)).state_dict().keys()


def test_a_resumed_run_is_the_unbroken_one_to_the_bit(finished: Config, assert_resumes: Any) -> None:
    assert_resumes(irra.train, finished)


def test_the_exported_graphs_hold_the_towers_and_no_head(finished: Config, tmp_path: Path) -> None:
    module = checkpoint.load(Path(finished.out) / "ckpt.pt")
    assert module.recipe == "irra"
    stored: dict[str, tuple[int, ...]] = {}
    for graph in module.export_graphs():
        file, *_ = write_graph(graph, tmp_path)
        stored |= {t.name: tuple(t.dims) for t in onnx.load(tmp_path / file).graph.initializer}
    assert not [name for name in stored if re.search("heads|cross|mlm|classifier|irr", name)]
    words = [name for name, shape in stored.items() if 49408 in shape]
    assert len(words) == 1  # the embedding's; the head that guesses words would be another
    assert "token_embedding" in words[0]


def test_weights_and_the_schedule_of_epochs_reach_the_run(cfg: Config, steps: Any) -> None:
    cfg = replace(cfg, id_weight=0.5, irr_weight=0.0, epochs=4, warmup=2.0, rule="irra", schedule="epoch")
    irra.train(replace(cfg, eval_every=9))
    lines = steps(cfg.out)
    for line in lines:
        assert line["loss"] == pytest.approx(line["sdm"] + 0.5 * line["id"], rel=1e-5)
    rates = [{line["lr"] for line in lines if line["epoch"] == epoch} for epoch in range(4)]
    assert [len(rate) for rate in rates] == [1, 1, 1, 1]
    assert [rate.pop() for rate in rates] == pytest.approx([cfg.lr * at for at in (0.1, 0.55, 1.0, 0.5)])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"mask_rate": 0.0}, "mask_rate"), ({"mask_rate": 1.5}, "mask_rate"), ({"temperature": 0.0}, "temp")],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Config("drawn", "root", "out", **wrong)


def test_a_tower_without_tokens_is_refused_before_training(cfg: Config, tmp_path: Path) -> None:
    timm = {"image_size": 160, "timm_model_name": "test_vit", "timm_proj": "linear"}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    config = {"embed_dim": 32, "vision_cfg": timm, "text_cfg": text}
    (tmp_path / "test-tokenless.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "test-tokenless.json")
    with pytest.raises(InputError, match="test-tokenless's image tower has no token outputs"):
        irra.train(replace(cfg, model="test-tokenless", height=160, width=160))
    assert not Path(cfg.out).exists()


def test_the_commands_of_its_docstring_parse() -> None:
    text = (irra.__doc__ or "").replace("\n        --", " --")
    commands = re.findall(r"python -m train\.recipes\.irra (.*)", text)
    *real, shrunken = (loop.parse(Config, shlex.split(command), small=irra.SMALL) for command in commands)
    assert [one.data for one in real] == ["cuhk_pedes", "icfg_pedes", "rstpreid"]
    for one in real:
        assert (one.model, one.pretrained, one.height, one.width) == ("ViT-B-16", "openai", 384, 128)
        assert (one.batch, one.epochs, one.lr, one.eps, one.weight_decay) == (64, 60, 1e-5, 1e-3, 4e-5)
        assert (one.temperature, one.learn_temperature, one.warmup, one.schedule) == (0.02, False, 5, "epoch")
    assert (shrunken.model, shrunken.pretrained, shrunken.rule) == ("labrador-tiny", None, "plain")


WORKER = """
import torch
from train.distributed import accelerator as start
from train.masking import mask_tokens
from train.model import TwoTower
from train.recipes.irra import Config, Trainee, step_losses
import numpy as np

def compute(share):
    accelerator = start("fp32")
    found = {"parts": {}, "gradients": {}}
    for which in ("masked", "clean"):
        torch.manual_seed(0)
        cfg = Config("drawn", "", "", global_text=which)
        inner = Trainee(TwoTower("test-small", (32, 16)), 4, 0.1, False)
        trainee = accelerator.prepare(inner)
        generator = torch.Generator().manual_seed(1)
        pixels = torch.randn(8, 3, 32, 16, generator=generator)
        ids = torch.randint(1, 40000, (8, 77), generator=generator)
        ids[:, 0] = 49406
        for row, end in enumerate((40, 50, 12, 30, 9, 3, 8, 6)):  # rank 0 hides many more words than rank 1
            ids[row, end], ids[row, end + 1:] = 49407, 0
        masked, targets = mask_tokens(ids, [np.random.default_rng(row) for row in range(8)])
        labels = torch.tensor([0, 1, 2, 0, 3, 1, 2, 2])
        batch = [part[share] for part in (pixels, ids, masked, targets, labels)]
        parts = step_losses(trainee, batch, cfg, accelerator.device)
        accelerator.backward(sum(parts.values()))
        found["parts"].update({f"{which} {n}": v.detach() for n, v in parts.items()})
        found["gradients"].update(
            {f"{which} {n}": p.grad for n, p in inner.named_parameters() if p.grad is not None})
    return found
"""


def test_two_processes_are_one_with_the_doubled_batch(
    assert_two_are_one: Callable[[str], dict[str, Any]],
) -> None:
    gradients = assert_two_are_one(WORKER)["gradients"]
    assert "masked heads.mlm_head.fc.weight" in gradients
    assert "clean heads.irr.cross_attn.in_proj_weight" in gradients
