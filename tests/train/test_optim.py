"""Parameter groups and schedule, against IRRA's rules and points."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from train.optim import build_optimizer, param_groups, set_factor, warmup_cosine

NAMES = {  # name → (factor, decays) under rule irra
    "tower.clip.visual.proj": (1.0, True),
    "tower.clip.ln_final.weight": (1.0, True),
    "tower.clip.ln_final.bias": (2.0, False),
    "cross_attn.in_proj_weight": (5.0, True),
    "cross_attn.in_proj_bias": (2.0, False),  # 2 x, not 5 x: the later rule wins
    "heads.classifier.weight": (5.0, True),
    "heads.classifier.bias": (5.0, False),
    "mlm_head.fc.weight": (5.0, True),
    "mlm_head.fc.bias": (5.0, False),
}


def named(shapes: dict[str, tuple[int, ...]]) -> list[tuple[str, nn.Parameter]]:
    return [(name, nn.Parameter(torch.zeros(shape))) for name, shape in shapes.items()]


def found(groups: list[dict], parameters: list[tuple[str, nn.Parameter]]) -> dict[str, tuple[float, float]]:
    place = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert sum(len(g["params"]) for g in groups) == len(place)
    return {name: place[id(p)] for name, p in parameters if id(p) in place}


def test_irra_rules_by_name() -> None:
    parameters = named(dict.fromkeys(NAMES, (2, 2)))
    got = found(param_groups(parameters, 1e-5, 4e-5, "irra"), parameters)
    assert got == {name: (1e-5 * factor, 4e-5 if decays else 0.0) for name, (factor, decays) in NAMES.items()}


def test_plain_decays_matrices_but_not_vectors_or_embeddings() -> None:
    shapes = {
        "visual.conv.weight": (2, 2, 3, 3),
        "fc.weight": (2, 2),
        "fc.bias": (2,),
        "norm.weight": (2,),
        "token_embedding.weight": (9, 2),
        "positional_embedding": (7, 2),
        "logit_scale": (),
    }
    parameters = named(shapes)
    got = found(param_groups(parameters, 1.0, 0.1), parameters)
    assert got == {
        name: (1.0, 0.1 if name in ("visual.conv.weight", "fc.weight") else 0.0) for name in shapes
    }


def test_frozen_parameters_are_left_out() -> None:
    parameters = named({"a.weight": (2, 2), "b.weight": (2, 2)})
    parameters[0][1].requires_grad_(False)
    assert list(found(param_groups(parameters, 1.0, 0.0), parameters)) == ["b.weight"]


def test_irra_is_adam_with_l2_and_plain_is_decoupled() -> None:
    steps = {}
    for rule in ("plain", "irra"):
        weight = nn.Parameter(torch.full((1, 1), 2.0))
        optimizer = build_optimizer(param_groups([("w", weight)], 0.1, 0.5, rule), rule, 1e-8)  # type: ignore[arg-type]
        weight.grad = torch.zeros(1, 1)
        optimizer.step()
        steps[rule] = 2.0 - weight.item()
    assert steps["plain"] == pytest.approx(0.1 * 0.5 * 2.0)  # lr · decay · w, the gradient being zero
    assert steps["irra"] == pytest.approx(0.1)  # the decay is the gradient, and Adam's first step is lr


@pytest.mark.parametrize(
    ("epoch", "factor"),
    [(0, 0.1), (1, 0.28), (4, 0.82), (5, 1.0), (32.5, 0.5), (60, 0.0), (61, 0.0), (2.5, 0.55)],
)
def test_irras_schedule_at_points(epoch: float, factor: float) -> None:
    assert warmup_cosine(epoch, 60, 5) == pytest.approx(factor, abs=1e-12)


def test_no_warm_up_starts_at_the_peak() -> None:
    assert warmup_cosine(0, 10, 0) == 1
    assert warmup_cosine(5, 10, 0) == pytest.approx(0.5)


@given(at=st.floats(0, 60), more=st.floats(0, 60))
def test_it_rises_then_falls_and_stays_in_range(at: float, more: float) -> None:
    low, high = sorted((at, more))
    first, second = warmup_cosine(low, 60, 5), warmup_cosine(high, 60, 5)
    assert 0 <= first <= 1
    if high <= 5:
        assert first <= second + 1e-12
    if low >= 5:
        assert first >= second - 1e-12


def test_a_factor_scales_every_group_from_its_own_peak() -> None:
    parameters = named({"w.weight": (1, 1), "w.bias": (1,)})
    optimizer = build_optimizer(param_groups(parameters, 1e-2, 0.0, "irra"), "irra", 1e-3)
    for factor in (0.5, 0.25, 1.0):
        set_factor(optimizer, factor)
        assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([1e-2 * factor, 2e-2 * factor])
    assert math.isclose(optimizer.param_groups[0]["eps"], 1e-3)
