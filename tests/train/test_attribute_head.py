"""The class head: values by hand, columns, direction, gradient, order, nothing to guess, its checkpoint."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import gradcheck

from sdk.attributes import Schema
from sdk.recognition import columns
from train import checkpoint
from train.attribute_head import AttributeEncoder, AttributeHead, guessing, restore_head

SCHEMA = Schema(
    "three",
    {"hat": {"yes": "hat", "no": ""}, "coat": {"red": "a", "blue": "b", "none": ""}, "bag": {"yes": "bag"}},
    [["{hat}"], ["{coat} coat"], ["{bag}"]],
)  # fmt: skip


def head(dim: int = 4) -> AttributeHead:
    torch.manual_seed(0)
    made = AttributeHead(SCHEMA, dim)
    torch.nn.init.normal_(made.classifier.weight)
    torch.nn.init.normal_(made.classifier.bias)
    return made


def features(b: int = 5, dim: int = 4) -> Tensor:
    return torch.randn(b, dim, generator=torch.Generator().manual_seed(b))


@torch.no_grad()
def test_probabilities_by_hand() -> None:
    made = head(2)
    made.classifier.weight.zero_()
    made.classifier.bias.copy_(torch.tensor([5.0, 0.0, 0.0, math.log(2), 0.0, math.log(3)]))
    # columns: bag=yes, coat=blue, coat=none, coat=red, hat=no, hat=yes
    want = [1, 0.25, 0.25, 0.5, 0.25, 0.75]
    torch.testing.assert_close(made(torch.ones(1, 2))[0], torch.tensor(want))
    assert columns(SCHEMA)[3:5] == [("coat", "red"), ("hat", "no")]


@torch.no_grad()
def test_each_classifier_is_its_slots() -> None:
    made, some = head(), features()
    every = made.classifier(F.normalize(some, dim=1) * 2)  # √4
    found = made(some)
    for slot, places in {"bag": [0], "coat": [1, 2, 3], "hat": [4, 5]}.items():
        torch.testing.assert_close(found[:, places], F.softmax(every[:, places], dim=1), msg=slot)
    torch.testing.assert_close(made(7 * some), found)


def test_guessing_by_hand_is_the_mean_over_known_values() -> None:
    logits = torch.tensor([[[0.0, 0.0, -torch.inf], [math.log(2), 0.0, 0.0]]])  # ½ ½; ½ ¼ ¼
    assert guessing(logits, torch.tensor([[1, 0]])).item() == pytest.approx(math.log(2))
    assert guessing(logits, torch.tensor([[-1, 2]])).item() == pytest.approx(math.log(4))
    assert guessing(logits, torch.tensor([[0, 2]])).item() == pytest.approx(1.5 * math.log(2))


CODES = torch.tensor([[0, 2, 0], [1, -1, 0], [-1, -1, -1], [0, 0, -1], [1, 1, 0]])


def test_gradients_are_finite_differences_and_lead_down() -> None:
    made, some = head().double(), features().double().requires_grad_()
    assert gradcheck(lambda f: guessing(made.logits(f), CODES), (some,))
    loss = guessing(made.logits(some), CODES)
    (gradient,) = torch.autograd.grad(loss, some)
    assert not gradient[2].any()  # nothing known of it
    with torch.no_grad():
        assert guessing(made.logits(some - 0.1 * gradient), CODES) < loss


def test_right_values_cost_less_and_order_does_not_matter() -> None:
    made, some = head(), features()
    right = made.logits(some).argmax(dim=2)
    wrong = torch.stack([1 - right[:, 0], (right[:, 1] + 1) % 3, right[:, 2]], dim=1)
    assert guessing(made.logits(some), right) < guessing(made.logits(some), wrong)
    order = [3, 0, 4, 2, 1]
    again = guessing(made.logits(some[order]), CODES[order])
    torch.testing.assert_close(again, guessing(made.logits(some), CODES))
    twice = guessing(made.logits(some.repeat(2, 1)), CODES.repeat(2, 1))
    torch.testing.assert_close(twice, guessing(made.logits(some), CODES))


@pytest.mark.parametrize("rows", [0, 2])
def test_nothing_to_guess_is_a_zero_with_a_gradient(rows: int) -> None:
    made, some = head(), features(2)[:rows].requires_grad_()
    loss = guessing(made.logits(some), torch.full((rows, 3), -1))
    assert loss.item() == 0
    loss.backward()
    assert some.grad is not None
    assert not some.grad.any()
    assert made.classifier.weight.grad is not None
    assert torch.isfinite(made.classifier.weight.grad).all()


@torch.no_grad()
def test_a_checkpoint_keeps_the_head_and_one_without_has_none(tmp_path: Path) -> None:
    encoder = checkpoint.from_open_clip("labrador-tiny", None, (32, 16))
    encoder.recipe, encoder.schema = "aima", SCHEMA
    made = head(encoder.tower.dim)
    both = AttributeEncoder(encoder, made)
    checkpoint.save(tmp_path / "ckpt.pt", both, {})
    again = checkpoint.load(tmp_path / "ckpt.pt")
    assert [graph.name for graph in again.export_graphs()] == ["image", "text", "attributes"]
    some = features(3, encoder.tower.dim)
    assert isinstance(again, AttributeEncoder)
    assert torch.equal(again.head(some), made(some))
    checkpoint.save(tmp_path / "plain.pt", encoder, {})
    assert [g.name for g in checkpoint.load(tmp_path / "plain.pt").export_graphs()] == ["image", "text"]
    state = checkpoint.read(tmp_path / "plain.pt")
    del state["extras"]  # a checkpoint of before
    assert type(restore_head(encoder, state.get("extras", {}))) is type(encoder)
