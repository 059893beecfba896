"""The torch loss over mined triplets: its value, its gradient, and what it refuses."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402

from cpp_ext.ops import batch_hard_triplet_loss  # noqa: E402

FORMS = [
    {},
    {"margin": 1.5},
    {"margin": 0.4, "semi_hard": True},
    {"form": "soft"},
    {"form": "soft", "temperature": 0.3, "semi_hard": True},
    {"positives": "paired", "margin": 0.05},
    {"positives": "paired", "form": "soft", "symmetric": False},
    {"exclude_self": True, "margin": 3.0},
    {"exclude_self": True, "form": "soft", "symmetric": False},
]


def eager(
    anchors, others, anchor_ids, other_ids, *, form="hinge", margin=0.2, temperature=1.0, positives="hardest",
    semi_hard=False, exclude_self=False, symmetric=True,
):  # fmt: skip
    """The same loss from the whole (n, m) matrix, for autograd to differentiate."""

    def one(table, same, itself):
        allowed = itself if positives == "paired" else same & ~itself if exclude_self else same
        positive = table.masked_fill(~allowed, math.inf).min(dim=1).values
        barred = same | (table >= positive[:, None]) if semi_hard else same
        negative = table.masked_fill(barred, -math.inf).max(dim=1).values
        difference = (negative - positive)[torch.isfinite(negative - positive)]
        cost = F.relu(difference + margin) if form == "hinge" else F.softplus(difference / temperature)
        return cost.sum() / max(1, len(cost))

    table, same = anchors @ others.T, anchor_ids[:, None] == other_ids
    itself = torch.eye(*table.shape, dtype=torch.bool)
    forward = one(table, same, itself)
    return forward + one(table.T, same.T, itself.T) if symmetric else forward


def batch(n, m, d=33, people=None, seed=0, dtype=torch.float32):
    """Vectors of length one around what they show, and ids of which some stand alone."""
    random = torch.Generator().manual_seed(seed)
    people = people or max(2, n // 3)
    ids = torch.randint(people, (n,), generator=random)
    other_ids = ids if n == m else torch.randint(people, (m,), generator=random)
    centres = torch.randn(people, d, generator=random, dtype=torch.float64)
    sides = (centres[i] + 1.5 * torch.randn(len(i), d, generator=random).double() for i in (ids, other_ids))
    anchors, others = (F.normalize(side, dim=1).to(dtype).requires_grad_() for side in sides)
    return anchors, others, ids, other_ids


def value_and_gradient(function, anchors, others, *rest, **options):
    loss = function(anchors, others, *rest, **options)
    return loss.detach(), torch.autograd.grad(loss, (anchors, others))


def test_worked_by_hand():
    anchors = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    others = torch.tensor([[0.6, 0.8], [0.8, 0.6], [0.0, 1.0]], requires_grad=True)
    ids, other_ids = torch.tensor([1, 2]), torch.tensor([1, 1, 2])
    # anchor 0: p 0.6 (other 0), n 0 (other 2); anchor 1: p 1 (other 2), n 0.8 (other 0)
    # other 0: p 0.6, n 0.8; other 1: p 0.8, n 0.6; other 2: p 1, n 0
    loss = batch_hard_triplet_loss(anchors, others, ids, other_ids, margin=0.3)
    assert loss.item() == pytest.approx((0 + 0.1) / 2 + (0.5 + 0.1 + 0) / 3, abs=1e-6)
    there = batch_hard_triplet_loss(anchors, others, ids, other_ids, margin=0.3, symmetric=False)
    assert there.item() == pytest.approx(0.05, abs=1e-6)
    soft = batch_hard_triplet_loss(
        anchors, others, ids, other_ids, form="soft", temperature=0.5, symmetric=False
    )
    meant = (math.log1p(math.exp(-1.2)) + math.log1p(math.exp(-0.4))) / 2
    assert soft.item() == pytest.approx(meant, abs=1e-6)
    there.backward()  # anchor 1 alone is within the margin: half of (other 0 - other 2), and ± half of it
    assert torch.allclose(anchors.grad, torch.tensor([[0, 0], [0.3, -0.1]]), atol=1e-6)
    assert torch.allclose(others.grad, torch.tensor([[0, 0.5], [0, 0], [0, -0.5]]), atol=1e-6)


@pytest.mark.parametrize("options", FORMS)
@pytest.mark.parametrize(("n", "m"), [(1, 1), (40, 40), (130, 130), (90, 61)])
def test_equals_the_dense_eager_form(options, n, m):
    if {"positives", "exclude_self"} & set(options):
        m = n  # rows answer each other
    arguments = batch(n, m)
    found, meant = (value_and_gradient(f, *arguments, **options) for f in (batch_hard_triplet_loss, eager))
    torch.testing.assert_close(found, meant, atol=2e-6, rtol=2e-6)
    assert n == 1 or found[0] > 0


@pytest.mark.parametrize("options", FORMS)
def test_gradient_against_finite_differences(options):
    same_sizes = {"positives", "exclude_self"} & set(options)
    anchors, others, *ids = batch(9, 9 if same_sizes else 7, d=5, people=3, dtype=torch.float64)

    def loss(a, o):
        return batch_hard_triplet_loss(a, o, *ids, **options)

    assert torch.autograd.gradcheck(loss, (anchors, others))
    assert loss(anchors, others).dtype == torch.float64


@pytest.mark.parametrize("form", ["hinge", "soft"])
def test_a_step_against_the_gradient_lowers_the_loss(form):
    anchors, others, *ids = batch(60, 60)
    before, slopes = value_and_gradient(batch_hard_triplet_loss, anchors, others, *ids, form=form)
    moved = [side - 0.05 * slope for side, slope in zip((anchors, others), slopes, strict=True)]
    assert batch_hard_triplet_loss(*moved, *ids, form=form) < before
    closer = [side.detach() + 2 * F.one_hot(ids[0], 33) for side in (anchors, others)]
    assert batch_hard_triplet_loss(*closer, *ids, form=form) < before


def test_one_modality():
    """Anchors that are the others get both gradients."""
    anchors, _, ids, _ = batch(50, 50)
    options = {"exclude_self": True, "symmetric": False}
    found, meant = (
        torch.autograd.grad(f(anchors, anchors, ids, ids, **options), anchors)[0]
        for f in (batch_hard_triplet_loss, eager)
    )
    torch.testing.assert_close(found, meant, atol=2e-6, rtol=2e-6)


def test_paired_positives_apart_by_the_margin_cost_nothing():
    """The CMT loss: 0 when every pair outscores its hardest negative by the margin, at any length."""
    basis = torch.eye(8)
    slightly = F.normalize(basis + 0.1, dim=1)
    ids = torch.arange(8)
    cmt = {"positives": "paired", "margin": 0.05}
    for scale in (1.0, 30.0):
        sides = [F.normalize(side * scale, dim=1) for side in (basis, slightly)]
        assert batch_hard_triplet_loss(*sides, ids, ids, **cmt) == 0
    swapped = slightly.roll(1, 0)
    assert batch_hard_triplet_loss(basis, swapped, ids, ids, **cmt) > 1


@pytest.mark.parametrize(
    ("n", "m", "ids", "other_ids"),
    [
        (0, 0, [], []),
        (0, 3, [], [1, 1, 2]),
        (3, 0, [1, 2, 3], []),
        (3, 2, [1, 2, 3], [4, 5]),
        (2, 2, [1, 1], [1, 1]),
    ],
)
@pytest.mark.parametrize("form", ["hinge", "soft"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_batch_without_triplets_gives_a_zero_with_a_gradient(n, m, ids, other_ids, form, dtype):
    anchors, others = (torch.randn(rows, 4, dtype=dtype, requires_grad=True) for rows in (n, m))
    ids, other_ids = torch.tensor(ids, dtype=torch.int64), torch.tensor(other_ids, dtype=torch.int64)
    loss = batch_hard_triplet_loss(anchors, others, ids, other_ids, form=form)
    loss.backward()
    assert loss.item() == 0
    assert not anchors.grad.any()
    assert not others.grad.any()


def test_rows_without_a_triplet_do_not_count():
    anchors, others, ids, other_ids = batch(30, 30)
    stranger = torch.full((1, 33), 0.3)
    more = torch.cat([anchors, stranger]), others, torch.cat([ids, torch.tensor([-5])]), other_ids
    alone = batch_hard_triplet_loss(anchors, others, ids, other_ids, symmetric=False)
    assert batch_hard_triplet_loss(*more, symmetric=False) == alone


def test_own_rows_against_gathered_ones_equal_the_whole_batch():
    """Each of two processes takes its rows of both sides against everyone's; their mean is the whole loss."""
    anchors, others, ids, _ = batch(60, 60, people=6)
    whole = value_and_gradient(batch_hard_triplet_loss, anchors, others, ids, ids)

    def shared(anchors, others):
        total = 0
        for own in (slice(30), slice(30, None)):
            total = total + batch_hard_triplet_loss(anchors[own], others, ids[own], ids, symmetric=False)
            total = total + batch_hard_triplet_loss(others[own], anchors, ids[own], ids, symmetric=False)
        return total / 2

    torch.testing.assert_close(value_and_gradient(shared, anchors, others), whole, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_worked_on_in_float32(dtype):
    anchors, others, *ids = batch(40, 31)
    half = [side.detach().to(dtype).requires_grad_() for side in (anchors, others)]
    single = [side.detach().float().requires_grad_() for side in half]
    loss, slopes = value_and_gradient(batch_hard_triplet_loss, *half, *ids)
    meant, expected = value_and_gradient(batch_hard_triplet_loss, *single, *ids)
    assert loss.dtype == torch.float32
    assert loss == meant
    for slope, wide in zip(slopes, expected, strict=True):
        assert slope.dtype == dtype
        assert (slope == wide.to(dtype)).all()
    with torch.autocast("cpu", torch.bfloat16):
        assert batch_hard_triplet_loss(*single, *ids) == meant


def test_without_gradients():
    arguments = batch(40, 31)
    meant = batch_hard_triplet_loss(*arguments)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            found = batch_hard_triplet_loss(*arguments)
            assert found == meant
            assert not found.requires_grad


def test_the_same_bits_at_every_number_of_threads():
    arguments = batch(700, 500, people=9)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            loss, slopes = value_and_gradient(batch_hard_triplet_loss, *arguments)
            found.append([loss.numpy().tobytes(), *(slope.numpy().tobytes() for slope in slopes)])
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


X = torch.ones(3, 4)
IDS = torch.tensor([1, 1, 2])
DAMAGED = torch.tensor([[1.0, math.nan, 0, 0]]).repeat(3, 1)

REFUSALS = [
    ({"anchors": X.tolist()}, TypeError, "anchors must be a torch tensor"),
    ({"anchors": X.int()}, TypeError, "anchors must be float32, float16, .* got torch.int32"),
    ({"others": X[0]}, ValueError, r"others must have shape \(n, d\)"),
    ({"others": X[:, :0]}, ValueError, "d at least 1"),
    ({"others": X[:, :3]}, ValueError, "anchors have d = 4, but others have d = 3"),
    ({"others": X.double()}, TypeError, "anchors are torch.float32, others torch.float64"),
    ({"others": X.to("meta")}, ValueError, "anchors are on cpu, others on meta"),
    ({"anchors": DAMAGED}, ValueError, "anchors hold NaN or infinity"),
    ({"anchors": X.double(), "others": DAMAGED.double()}, ValueError, "others hold NaN or infinity"),
    ({"anchor_ids": [1, 1, 2]}, TypeError, "anchor_ids must be a torch tensor of whole numbers, got list"),
    ({"other_ids": IDS.float()}, TypeError, "other_ids must be .* whole numbers, got torch.float32"),
    ({"other_ids": IDS[:2]}, ValueError, r"others have 3 rows, other_ids has shape \(2,\)"),
    ({"other_ids": IDS.to("meta")}, ValueError, "other_ids are on meta, the vectors on cpu"),
    ({"form": "square"}, ValueError, "form is 'square'; allowed: 'hinge', 'soft'"),
    ({"temperature": 0.1}, ValueError, "temperature belongs to form='soft'"),
    ({"form": "soft", "margin": 0.1}, ValueError, "margin belongs to form='hinge'"),
    ({"form": "soft", "temperature": 0.0}, ValueError, "temperature must be positive, got 0.0"),
    ({"positives": "any"}, ValueError, "positives is 'any'"),
    ({"positives": "paired", "other_ids": IDS.flip(0)}, ValueError, "row 0 has 1 among the anchors and 2"),
    (
        {"anchors": X.double(), "others": X.double(), "exclude_self": True, "other_ids": IDS.flip(0)},
        ValueError,
        "row 0 has 1 among the anchors and 2",
    ),
    ({"positives": "paired", "others": X[:2], "other_ids": IDS[:2]}, ValueError, "as many others as anchors"),
]


@pytest.mark.parametrize(("change", "error", "message"), REFUSALS)
def test_refusals(change, error, message):
    arguments = {"anchors": X, "others": X, "anchor_ids": IDS, "other_ids": IDS} | change
    with pytest.raises(error, match=message):
        batch_hard_triplet_loss(**arguments)
