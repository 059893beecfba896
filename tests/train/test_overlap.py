"""A-IoU IMC: the overlaps, values worked by hand, direction, gradient, permutation, duplicates, none."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from train.overlap import Divergence, Target, a_iou_imc, iou

FORMS: list[tuple[Target, Divergence]] = [
    ("softmax", "pq"), ("softmax", "qp"), ("linear", "pq"), ("linear", "qp")
]  # fmt: skip
each = pytest.mark.parametrize(("target", "divergence"), FORMS)
SAID = torch.tensor([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0]]).bool()


def texts(b: int = 4, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(b, 3, generator=torch.Generator().manual_seed(b), dtype=dtype)


def test_overlaps_by_hand() -> None:
    # sets {0, 1}, {0, 2}, {2, 3}, {0, 1} and none twice
    said = torch.cat([SAID, torch.zeros(2, 4).bool()])
    third = 1 / 3
    want = [
        [1, third, 0, 1, 0, 0],
        [third, 1, third, third, 0, 0],
        [0, third, 1, 0, 0, 0],
        [1, third, 0, 1, 0, 0],
        [0, 0, 0, 0, 1, 1],
        [0, 0, 0, 0, 1, 1],
    ]
    torch.testing.assert_close(iou(said), torch.tensor(want))


def softmax(*logits: float) -> list[float]:
    total = sum(math.exp(v) for v in logits)
    return [math.exp(v) / total for v in logits]


@each
def test_two_prompts_by_hand(target: Target, divergence: Divergence) -> None:
    # sets {0, 1} and {0, 2}: IoU 1/3. Vectors at 60°: cosine 1/2. τ = 1/2; both rows alike
    text = torch.tensor([[1.0, 0.0], [0.5, math.sqrt(0.75)]])
    p = softmax(2.0, 1.0)
    q = softmax(2.0, 2 / 3) if target == "softmax" else [0.75, 0.25]
    a, b = (p, q) if divergence == "pq" else (q, p)
    want = sum(x * math.log(x / y) for x, y in zip(a, b, strict=True))
    got = a_iou_imc(text, SAID[:2], 0.5, target, divergence)
    assert got.item() == pytest.approx(want, abs=1e-6)


def test_cosines_that_are_overlaps_plus_a_constant_cost_nothing() -> None:
    # vectors with cosine 1/3 between them, sets with overlap 1/3
    text = torch.tensor([[1.0, 0.0], [1 / 3, math.sqrt(8) / 3]])
    for divergence in ("pq", "qp"):
        assert a_iou_imc(text, SAID[:2], 0.02, "softmax", divergence).item() == pytest.approx(0, abs=1e-6)
    assert a_iou_imc(text, SAID[:2], 0.2, "linear").item() > 0.01  # that target asks for 1 + τ ln ⅓


@each
def test_the_linear_and_softmax_targets_like_alike_sets_together(
    target: Target, divergence: Divergence
) -> None:
    near = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [1.0, 0.0]])  # the two equal sets coincide
    far = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, -1.0]])  # two sets without overlap do
    assert a_iou_imc(near, SAID, 0.2, target, divergence) < a_iou_imc(far, SAID, 0.2, target, divergence)


@each
def test_gradients_are_those_of_finite_differences_and_lead_down(
    target: Target, divergence: Divergence
) -> None:
    text = texts().requires_grad_()
    assert gradcheck(lambda t: a_iou_imc(t, SAID, 0.5, target, divergence), (text,))
    loss = a_iou_imc(text, SAID, 0.5, target, divergence)
    (gradient,) = torch.autograd.grad(loss, text)
    with torch.no_grad():
        assert a_iou_imc(text - 0.01 * gradient, SAID, 0.5, target, divergence) < loss


@each
@given(order=st.permutations(range(4)))
@settings(max_examples=8, deadline=None)
def test_neither_order_nor_length_matters(target: Target, divergence: Divergence, order: list[int]) -> None:
    text, said = texts(), SAID
    before = a_iou_imc(text, said, 0.5, target, divergence)
    again = a_iou_imc(3 * text[order], said[order], 0.5, target, divergence)
    torch.testing.assert_close(again, before)


@each
def test_equal_prompts_alone_cost_nothing_when_they_coincide(target: Target, divergence: Divergence) -> None:
    text, said = torch.ones(3, 2), SAID[:1].expand(3, -1)
    assert a_iou_imc(text, said, 0.02, target, divergence).item() == pytest.approx(0, abs=1e-6)


def test_an_empty_batch_is_a_zero_with_a_gradient() -> None:
    text = texts()[:0].requires_grad_()
    loss = a_iou_imc(text, SAID[:0], 0.1)
    assert loss.shape == ()
    assert loss.item() == 0
    loss.backward()
    assert text.grad is not None
