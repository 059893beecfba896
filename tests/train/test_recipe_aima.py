"""The aima recipe: each variant learns, a resumed run is the unbroken one, heads stay out of the towers."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from sdk.errors import InputError
from train import checkpoint, datasets, optim, runlog
from train.attribute_head import AttributeEncoder
from train.recipes import aima
from train.recipes.aima import Config
from train.synthesis.draw import draw

SMALL: dict[str, Any] = {
    "model": "labrador-test-aima", "pretrained": None, "height": 32, "width": 16, "batch": 12, "epochs": 2,
    "warmup": 0.5, "schedule": "step", "rule": "plain", "lr": 1e-3, "weight_decay": 0.05, "eps": 1e-8,
    "clip_norm": 1.0, "temperature": 0.05, "learn_temperature": True, "erase": 0.0, "cache": True,
    "workers": 0, "judge": ("val",), "eval_every": 2,
}  # fmt: skip
TOWERS = {  # what takes long is the vocabulary, times the width
    "embed_dim": 32,
    "vision_cfg": {"image_size": [32, 16], "patch_size": 8, "width": 32, "layers": 1, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "the paper's": {},
    "class head, as its own text": {"head": "class", "global_text": "masked", "in_part": True},
    "the other readings": {
        "global_text": "masked", "repeats": "masked", "overlap_target": "linear", "overlap_divergence": "qp",
        "identity": "person",
    },
    "a convolutional tower": {"model": "labrador-tiny-conv", "head": "class"},
    "without map": {"losses": ("infonce", "sdm", "id", "imc")},
    "one loss": {"losses": ("infonce",), "global_text": "masked"},
}  # fmt: skip


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("people") / "drawn"
    draw(root, people=16, images_per_person=2)
    return root


@pytest.fixture(scope="module", autouse=True)
def _towers(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("configs")
    (folder / "labrador-test-aima.json").write_text(json.dumps(TOWERS), "utf-8")
    open_clip.add_model_config(folder)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(min(2, before))
    yield
    torch.set_num_threads(before)


def config(people: Path, out: Path, **more: Any) -> Config:
    return Config("drawn", str(people), str(out), **{**SMALL, **more})


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_steps_lower_every_loss_together(variant: str, people: Path, tmp_path: Path) -> None:
    cfg = config(people, tmp_path, lr=1e-4, **VARIANTS[variant])  # no warm-up here
    split = datasets.load("drawn", people, "train")
    encoder, trainee = aima.build(cfg, split)
    batch = aima.items(cfg, split, encoder).batch(range(12))
    groups = optim.param_groups(trainee.named_parameters(), cfg.lr, cfg.weight_decay, cfg.rule)
    optimizer = optim.build_optimizer(groups, cfg.rule, cfg.eps)
    totals = []
    for _ in range(3):
        parts = aima.step_losses(trainee, batch, cfg, torch.device("cpu"))
        assert tuple(parts) == cfg.losses
        assert all(torch.isfinite(part) for part in parts.values())
        loss = torch.stack(list(parts.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        unused = [name for name, p in trainee.named_parameters() if p.requires_grad and p.grad is None]
        assert unused == []  # or a process that shares the batch would wait for it
        optimizer.step()
        totals.append(loss.item())
    assert totals[2] < totals[1] < totals[0]
    assert isinstance(encoder, AttributeEncoder) == (cfg.head == "class")


def leaves(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key in value:
            yield from leaves(value[key], f"{at}.{key}")
    elif isinstance(value, (list, tuple)):
        for place, item in enumerate(value):
            yield from leaves(item, f"{at}[{place}]")
    else:
        yield at, value


@pytest.mark.parametrize("head", ["vocabulary", "class"])
def test_a_resumed_run_is_the_unbroken_one_to_the_bit(
    head: str, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = config(people, tmp_path / "straight", head=head)
    aima.train(straight)
    broken, real = replace(straight, out=str(tmp_path / "broken")), checkpoint.save

    def save(path: Path, *rest: Any, **more: Any) -> None:
        real(path, *rest, **more)
        if path.name == "ckpt.pt":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save)
        with pytest.raises(KeyboardInterrupt):
            aima.train(broken)
    aima.train(broken)
    a, b = (dict(leaves(checkpoint.read(Path(cfg.out) / "ckpt.pt"))) for cfg in (straight, broken))
    assert a.keys() == b.keys()
    assert any("attribute_head" in name for name in a) == (head == "class")
    for name in a.keys() - {".config.out"}:
        same = torch.equal(a[name], b[name]) if isinstance(a[name], torch.Tensor) else a[name] == b[name]
        assert same, name
    judged = [line for line in runlog.read(Path(broken.out) / "log.jsonl") if line["event"] == "eval"]
    asked = datasets.load("drawn", people, "val", "attributes").queries
    assert judged[-1]["queries"] == len(asked)  # attribute sets ask, not captions
    module = checkpoint.load(Path(broken.out) / "best.pt")
    assert module.recipe == "aima"
    assert module.schema is not None
    names = [graph.name for graph in module.export_graphs()]
    assert names == ["image", "text"] + ["attributes"] * (head == "class")
    assert not [name for name in checkpoint.read(Path(broken.out) / "best.pt")["model"] if "heads" in name]


def test_names_of_the_heads_choose_their_learning_rates(people: Path, tmp_path: Path) -> None:
    split = datasets.load("drawn", people, "train")
    for head in ("vocabulary", "class"):
        _, trainee = aima.build(config(people, tmp_path, head=head), split)
        groups = optim.param_groups(trainee.named_parameters(), 1.0, 0.1, "irra")
        rates = {id(p): group["lr"] for group in groups for p in group["params"]}
        named = {name: rates[id(p)] for name, p in trainee.named_parameters()}
        assert named["heads.map.cross_attn.in_proj_weight"] == 5
        assert named["heads.map.cross_attn.in_proj_bias"] == 2
        assert named["heads.classifier.bias"] == 5
        own = "heads.mlm_head.fc.weight" if head == "vocabulary" else "heads.attributes.classifier.weight"
        assert named[own] == 5


def test_the_classes_are_categories_or_people(people: Path, tmp_path: Path) -> None:
    split = datasets.load("drawn", people, "train")
    sets = {frozenset((s.attributes or {}).items()) for s in split.samples}
    for identity, classes in (("category", len(sets)), ("person", split.people)):
        cfg = config(people, tmp_path, identity=identity)
        encoder, trainee = aima.build(cfg, split)
        assert trainee.heads.classifier.out_features == classes
        assert aima.items(cfg, split, encoder).classes == classes


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"losses": ()}, "losses: none given"),
        ({"hidden": 0.0}, "hidden: 0.0 must be above 0"),
        ({"overlap_temperature": -1.0}, "overlap_temperature: -1.0 must be above 0"),
    ],
)
def test_settings_without_sense_are_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        Config("drawn", "", "", **change)
