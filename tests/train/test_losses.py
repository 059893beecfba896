"""Each loss: a value worked by hand, its direction, its gradient, permutation, scale, the empty batch."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from train.losses import cmt, identity, infonce, irr, sdm

WEIGHT = torch.tensor([[1.0, 0.5, -0.5], [0.0, -1.0, 2.0]])
BIAS = torch.tensor([0.1, -0.2])
LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "infonce": lambda image, text, ids: infonce(image, text, ids, 0.5),
    "sdm": lambda image, text, ids: sdm(image, text, ids, 0.5),
    "cmt": lambda image, text, ids: cmt(image, text, ids, 1.5),  # no hinge is at rest
    "identity": lambda image, text, ids: identity(
        image, text, ids, WEIGHT.to(image.dtype), BIAS.to(image.dtype)
    ),
}
each = pytest.mark.parametrize("name", sorted(LOSSES))


def pairs(b: int = 5, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(b)
    image, text = (torch.randn(b, 3, generator=generator, dtype=dtype) for _ in range(2))
    return image, text, torch.arange(b) % 2


def softmax(*logits: float) -> list[float]:
    total = sum(math.exp(v) for v in logits)
    return [math.exp(v) / total for v in logits]


def test_infonce_of_distinct_people_by_hand() -> None:
    # cosines [[1, 0], [3/5, 4/5]]: text 2 lies between the axes; τ = 1/2 doubles them
    image = torch.tensor([[2.0, 0.0], [3.0, 4.0]])
    text = torch.tensor([[5.0, 0.0], [0.0, 1.0]])
    rows = -(math.log(softmax(2.0, 0.0)[0]) + math.log(softmax(1.2, 1.6)[1])) / 2
    columns = -(math.log(softmax(2.0, 1.2)[0]) + math.log(softmax(0.0, 1.6)[1])) / 2
    got = infonce(image, text, torch.tensor([7, 3]), 0.5)
    assert got.item() == pytest.approx((rows + columns) / 2, abs=1e-6)


def test_infonce_spreads_the_target_over_pairs_of_one_person() -> None:
    # persons 0, 0, 1, cosines by unit axes: row 1 is (1, 0, 0) and wants (½, ½, 0)
    image, text = torch.eye(3), torch.eye(3)
    own, other = (math.log(p) for p in softmax(1.0, 0.0, 0.0)[:2])
    want = -(2 * (own + other) / 2 + own) / 3
    assert infonce(image, text, torch.tensor([0, 0, 1]), 1.0).item() == pytest.approx(want, abs=1e-6)


def test_infonce_of_one_person_is_least_at_the_log_of_its_pairs() -> None:
    same = torch.ones(4, 3)
    assert infonce(same, same, torch.zeros(4), 0.02).item() == pytest.approx(math.log(4), abs=1e-5)


def test_sdm_by_hand_sums_both_directions() -> None:
    image, text = torch.eye(2), torch.eye(2)
    a, b = softmax(2.0, 0.0)  # τ = 1/2; both directions alike
    one = a * (math.log(a) - math.log(1 + 1e-8)) + b * (math.log(b) - math.log(1e-8))
    assert sdm(image, text, torch.tensor([4, 9]), 0.5).item() == pytest.approx(2 * one, rel=1e-6)


def test_sdm_of_duplicate_people_normalises_its_rows() -> None:
    # all three of one person and all cosines equal: p = q = 1/3 everywhere, so nothing is left
    same = torch.ones(3, 2)
    assert sdm(same, same, torch.tensor([5, 5, 5]), 0.02).item() == pytest.approx(0, abs=1e-5)


def test_sdm_of_a_perfect_prediction_is_nothing() -> None:
    image = torch.eye(4)
    assert sdm(image, image, torch.arange(4), 0.02).item() == pytest.approx(0, abs=1e-5)


def test_cmt_by_hand_takes_the_hardest_other_person() -> None:
    # cosines (rows: images) [[1, 0, .6], [.6, .8, .96], [0, 1, .8]] of people 0, 1, 1; margin .05.
    image = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    text = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    of_texts = (
        0.05 + 0.6 - 1,
        0.05 + 0.0 - 0.8,
        0.05 + 0.6 - 0.8,
    )  # text 0 against images 1, 2; 1, 2 against 0
    of_images = (0.05 + 0.6 - 1, 0.05 + 0.6 - 0.8, 0.05 + 0.0 - 0.8)
    want = sum(max(0.0, cost) for cost in of_texts) / 3 + sum(max(0.0, cost) for cost in of_images) / 3
    assert want == 0  # every pair is ahead by the margin
    ids = torch.tensor([0, 1, 1])
    assert cmt(image, text, ids).item() == 0
    wide = sum(0.25 + cost for cost in (*of_texts, *of_images) if 0.25 + cost > 0) / 3
    assert wide > 0
    assert cmt(image, text, ids, 0.3).item() == pytest.approx(wide, abs=1e-6)


def test_cmt_of_one_person_has_nothing_to_compare() -> None:
    image, text, _ = pairs()
    assert cmt(image, text, torch.zeros(5, dtype=torch.int64)).item() == 0


def test_cmt_may_take_the_least_similar_picture_of_the_person() -> None:
    image, text, ids = pairs()
    assert cmt(image, text, ids, 1.5, positives="hardest") > cmt(image, text, ids, 1.5)
    assert cmt(image, text, ids, form="soft") != cmt(image, text, ids, form="soft", temperature=1.0)


def test_identity_by_hand_is_the_mean_of_both_modalities() -> None:
    image, text = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    weight, bias = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0.0, 0.5])
    want = -(math.log(softmax(1.0, 0.5)[1]) + math.log(softmax(0.0, 2.5)[1])) / 2
    assert identity(image, text, torch.tensor([1]), weight, bias).item() == pytest.approx(want, abs=1e-6)


@each
def test_a_step_down_the_gradient_lowers_it(name: str) -> None:
    image, text, ids = pairs()
    image.requires_grad_()
    loss = LOSSES[name](image, text, ids)
    (gradient,) = torch.autograd.grad(loss, image)
    with torch.no_grad():
        assert LOSSES[name](image - 0.01 * gradient, text, ids) < loss


@pytest.mark.parametrize("name", ["infonce", "sdm"])
def test_the_right_pairing_is_lower_than_a_wrong_one(name: str) -> None:
    image, _, _ = pairs(4)
    ids = torch.arange(4)
    assert LOSSES[name](image, image, ids) < LOSSES[name](image, image.roll(1, 0), ids)


def test_the_right_person_is_lower_than_a_wrong_one() -> None:
    image, text, _ = pairs(4)
    ids = (torch.cat([image, text]) @ WEIGHT.T + BIAS).reshape(2, 4, 2).sum(0).argmax(1)
    assert LOSSES["identity"](image, text, ids) < LOSSES["identity"](image, text, 1 - ids)


@each
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    image, text, ids = pairs(4, torch.float64)
    assert gradcheck(lambda i, t: LOSSES[name](i, t, ids), (image.requires_grad_(), text.requires_grad_()))


@each
@given(order=st.permutations(range(5)))
@settings(max_examples=10, deadline=None)
def test_the_order_of_a_batch_does_not_matter(name: str, order: list[int]) -> None:
    image, text, ids = pairs(5, torch.float64)
    again = LOSSES[name](image[order], text[order], ids[order])
    torch.testing.assert_close(again, LOSSES[name](image, text, ids))


@pytest.mark.parametrize("name", ["cmt", "infonce", "sdm"])
def test_only_angles_count(name: str) -> None:
    image, text, ids = pairs()
    torch.testing.assert_close(LOSSES[name](image * 7, text / 3, ids), LOSSES[name](image, text, ids))


@each
def test_modalities_are_treated_alike(name: str) -> None:
    image, text, ids = pairs()
    torch.testing.assert_close(LOSSES[name](text, image, ids), LOSSES[name](image, text, ids))


@each
def test_an_empty_batch_is_a_zero_with_a_gradient(name: str) -> None:
    image, text, ids = (t[:0] for t in pairs())
    loss = LOSSES[name](image.requires_grad_(), text.requires_grad_(), ids)
    assert loss.shape == ()
    assert loss.item() == 0
    loss.backward()
    assert image.grad is not None
    assert image.grad.shape == (0, 3)


def test_a_learned_temperature_gets_a_gradient() -> None:
    image, text, ids = pairs()
    temperature = torch.tensor(0.1, requires_grad=True)
    infonce(image, text, ids, temperature).backward()
    assert temperature.grad is not None
    assert temperature.grad.abs() > 0


def test_infonce_may_leave_other_pairs_of_a_person_out() -> None:
    # people 0, 0, 1 on unit axes: row 0 sees itself and item 2, row 2 sees all three
    image = text = torch.eye(3)
    two, three = math.log(softmax(1.0, 0.0)[0]), math.log(softmax(0.0, 0.0, 1.0)[2])
    got = infonce(image, text, torch.tensor([0, 0, 1]), 1.0, "masked")
    assert got.item() == pytest.approx(-(2 * two + three) / 3, abs=1e-6)
    image, text, ids = pairs()
    distinct = torch.arange(5)
    torch.testing.assert_close(
        infonce(image, text, distinct, 0.1, "masked"), infonce(image, text, distinct, 0.1)
    )
    assert infonce(image, text, ids, 0.1, "masked") < infonce(image, text, distinct, 0.1)
    alone = image[:1].requires_grad_()
    assert infonce(alone.expand(3, -1), text[:3], torch.zeros(3), 0.1, "masked").item() == 0


def guesses(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(3), dtype=dtype)
    return logits, torch.tensor([4, 0, 4, 6, 1])  # one word hidden twice, one place where none is


def test_irr_by_hand_counts_hidden_words_only() -> None:
    logits = torch.tensor([[0.0, 2.0, 0.0], [9.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    want = -(math.log(softmax(0.0, 2.0, 0.0)[1]) + math.log(softmax(0.0, 1.0, 0.0)[2])) / 2
    assert irr(logits, torch.tensor([1, 0, 2])).item() == pytest.approx(want, abs=1e-6)


def test_irr_falls_with_the_right_word_and_by_its_gradient() -> None:
    logits, targets = guesses()
    right = logits + 3 * torch.nn.functional.one_hot(targets, 7)
    wrong = logits + 3 * torch.nn.functional.one_hot((targets + 1) % 7, 7)
    assert irr(right, targets) < irr(logits, targets) < irr(wrong, targets)
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(irr(logits, targets), logits)
    assert irr(logits - 0.1 * gradient, targets) < irr(logits, targets)
    assert not gradient[1].any()  # nothing hidden there
    exact = guesses(torch.float64)[0].requires_grad_()
    assert gradcheck(lambda x: irr(x, targets), exact)


def test_irr_does_not_care_for_order_and_counts_a_repeated_word_twice() -> None:
    logits, targets = guesses()
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(irr(logits[order], targets[order]), irr(logits, targets))
    alone = [irr(logits[i : i + 1], targets[i : i + 1]) for i in (0, 2, 3, 4)]
    torch.testing.assert_close(irr(logits, targets), torch.stack(alone).mean())


@pytest.mark.parametrize("places", [slice(0, 0), slice(1, 2)])
def test_irr_without_a_hidden_word_is_a_zero_with_a_gradient(places: slice) -> None:
    logits, targets = (part[places] for part in guesses())
    loss = irr(logits.requires_grad_(), targets)
    assert loss.item() == 0
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad.any()
