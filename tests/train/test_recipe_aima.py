"""The aima recipe: each variant learns, it resumes, it shares a batch, heads stay out of the towers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sdk.errors import InputError
from train import checkpoint, datasets, optim, runlog
from train.attribute_head import AttributeEncoder, guessing
from train.recipes import aima
from train.recipes.aima import Config

pytestmark = pytest.mark.usefixtures("two_threads", "small_model")
SMALL: dict[str, Any] = {
    "model": "test-small", "pretrained": None, "height": 32, "width": 16, "batch": 16, "epochs": 2,
    "warmup": 0.5, "schedule": "step", "rule": "plain", "lr": 1e-3, "eps": 1e-8, "clip_norm": 1.0,
    "temperature": 0.05, "learn_temperature": True, "erase": 0.0, "cache": True, "workers": 0,
    "judge": ("val",), "eval_every": 2,
}  # fmt: skip
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


def config(people: Path, out: Path, **more: Any) -> Config:
    return Config("drawn", str(people), str(out), **{**SMALL, **more})


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_steps_lower_the_loss(variant: str, people: Path, tmp_path: Path) -> None:
    cfg = config(people, tmp_path, lr=1e-4, **VARIANTS[variant])  # no warm-up here
    split = datasets.load("drawn", people, "train")
    encoder, trainee = aima.build(cfg, split)
    batch = aima.items(cfg, split, encoder).batch(range(12))
    assert batch[1].shape[1] < 77  # cut after the longest sentence
    assert batch[5].shape[1] == (77 if cfg.head == "class" else batch[1].shape[1])
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


def test_map_alone_teaches_the_class_head_to_read_pictures(people: Path, tmp_path: Path) -> None:
    """What `explain` asks of it: each slot's value from the picture's own vector, without a sentence."""
    cfg = config(people, tmp_path, head="class", losses=("map",))
    split = datasets.load("drawn", people, "train")
    encoder, trainee = aima.build(cfg, split)
    batch = aima.items(cfg, split, encoder).batch(range(12))
    optimizer = torch.optim.AdamW(trainee.parameters(), cfg.lr)

    def wrong() -> float:
        with torch.no_grad():
            logits = trainee.heads.attributes.logits(encoder.encode_image(batch[0]))
            return guessing(logits, batch[4]).item()

    before = wrong()
    for _ in range(8):
        optimizer.zero_grad()
        aima.step_losses(trainee, batch, cfg, torch.device("cpu"))["map"].backward()
        optimizer.step()
    assert wrong() < 0.95 * before


@pytest.mark.parametrize("head", ["vocabulary", "class"])
def test_a_run_resumes_is_judged_by_attribute_sets_and_opens_again(
    head: str, people: Path, tmp_path: Path, assert_resumes: Callable[[Any, Any], None]
) -> None:
    cfg = config(people, tmp_path / "straight", head=head)
    aima.train(cfg)
    assert_resumes(aima.train, cfg)
    judged = [line for line in runlog.read(Path(cfg.out) / "log.jsonl") if line["event"] == "eval"]
    asked = datasets.load("drawn", people, "val", "attributes").queries
    assert judged[-1]["queries"] == len(asked)
    best = Path(cfg.out) / "best.pt"  # which holds nothing for resuming
    module = checkpoint.load(best)
    assert module.recipe == "aima"
    assert module.schema is not None
    names = [graph.name for graph in module.export_graphs()]
    assert names == ["image", "text"] + ["attributes"] * (head == "class")
    state = checkpoint.read(best)
    assert state["training"] is None
    assert not [name for name in state["model"] if "heads" in name]
    assert bool(state["extras"]) == (head == "class")
    last = checkpoint.read(Path(cfg.out) / "ckpt.pt")
    for name, weight in last["extras"].get("attribute_head", {}).items():  # what was trained is exported
        assert torch.equal(weight, last["training"]["heads"][f"attributes.{name}"]), name


WORKER = """
from types import SimpleNamespace
import torch
from sdk.attributes import Schema
from train.distributed import accelerator as start
from train.model import TwoTower
from train.recipes.aima import Config, Trainee, step_losses

SCHEMA = Schema("s", {"coat": {"red": "red", "blue": "blue", "": ""}, "hat": {"no": "", "yes": "hat"}}, [])

def compute(share):
    accelerator = start("fp32")
    found = {"parts": {}, "gradients": {}}
    for head in ("vocabulary", "class"):
        torch.manual_seed(0)
        cfg = Config("drawn", "", "", head=head, temperature=0.1)
        encoder = SimpleNamespace(tower=TwoTower("test-small", (32, 16)), schema=SCHEMA)
        inner = Trainee(encoder, 4, cfg)
        trainee = accelerator.prepare(inner)
        generator = torch.Generator().manual_seed(1)
        pixels = torch.randn(8, 3, 32, 16, generator=generator)
        ids = torch.randint(1, 40000, (8, 77), generator=generator)
        ids[:, 0], ids[:, 9], ids[:, 10:] = 49406, 49407, 0
        labels = torch.tensor([0, 1, 2, 0, 3, 1, 2, 2])
        said = torch.rand(8, 5, generator=generator) < 0.5
        codes = torch.tensor([[0, 1], [1, 0], [2, 1], [0, 1], [1, -1], [0, 0], [2, 1], [-1, 1]])
        hidden, answers = ids.clone(), torch.zeros_like(ids)
        for row, count in enumerate((5, 6, 4, 3, 1, 1, 2, 0)):  # rank 0 has more to guess than rank 1
            answers[row, 1:1 + count] = ids[row, 1:1 + count]
            hidden[row, 1:1 + count] = 49405
        if head == "class":
            answers = codes.clone()
            answers[5:] = -1
        batch = [part[share] for part in (pixels, ids, labels, said, codes, hidden, answers)]
        parts = step_losses(trainee, batch, cfg, accelerator.device)
        accelerator.backward(sum(parts.values()))
        found["parts"].update({f"{head} {n}": v.detach() for n, v in parts.items()})
        found["gradients"].update(
            {f"{head} {n}": p.grad for n, p in inner.named_parameters() if p.grad is not None})
    return found
"""


def test_two_processes_are_one_with_the_doubled_batch(
    assert_two_are_one: Callable[[str], dict[str, Any]],
) -> None:
    found = assert_two_are_one(WORKER)
    assert {"vocabulary map", "class map", "class imc"} <= found["parts"].keys()
    assert "vocabulary heads.mlm_head.fc.weight" in found["gradients"]
    assert "class heads.attributes.classifier.weight" in found["gradients"]


def test_names_of_the_heads_choose_their_learning_rates(people: Path, tmp_path: Path) -> None:
    split = datasets.load("drawn", people, "train")
    for head, own in (("vocabulary", "mlm_head.fc.weight"), ("class", "attributes.classifier.weight")):
        _, trainee = aima.build(config(people, tmp_path, head=head), split)
        groups = optim.param_groups(trainee.named_parameters(), 1.0, 0.1, "irra")
        rates = {id(p): group["lr"] for group in groups for p in group["params"]}
        named = {name: rates[id(p)] for name, p in trainee.heads.named_parameters()}
        assert named["map.cross_attn.in_proj_weight"] == 5
        assert named["map.cross_attn.in_proj_bias"] == 2
        assert named["classifier.bias"] == 5
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
