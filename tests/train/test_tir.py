"""Restoring masked pictures: which patches stay, where they go back, what the loss looks at."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from sdk.errors import InputError
from train.model import TwoTower
from train.optim import param_groups
from train.tir import Restorer, grey, masked_errors, patchify, positions, unshuffle, visible

GRID = (3, 2)


def drawn_patches(b: int, patches: int, shown: int) -> Tensor:
    generator = torch.Generator().manual_seed(b)
    return torch.stack([torch.randperm(patches, generator=generator)[:shown] for _ in range(b)])


@pytest.fixture(scope="module")
def tower() -> TwoTower:
    torch.manual_seed(0)
    return TwoTower("labrador-tiny", (48, 32)).eval()


def test_the_paper_s_picture_keeps_56_of_192_patches() -> None:
    assert visible(192, 0.7) == 56  # with the class token 57 = int(193 * 0.3)
    assert 192 - visible(192, 0.7) == 136


@given(st.integers(2, 400), st.floats(0.0, 1.0))
def test_some_patch_stays_and_some_patch_goes(patches: int, ratio: float) -> None:
    shown = visible(patches, ratio)
    assert 1 <= shown < patches
    assert abs(shown + 1 - (patches + 1) * (1 - ratio)) <= 1 + 1e-6 or shown in (1, patches - 1)


def test_grey_weighs_the_channels_and_repeats_them() -> None:
    pixels = torch.zeros(1, 3, 1, 2)
    pixels[0, :, 0, 0] = torch.tensor([1.0, 2.0, -3.0])
    assert grey(pixels).shape == (1, 3, 1, 2)
    torch.testing.assert_close(grey(pixels)[0, :, 0, 0], torch.full((3,), 0.2989 + 2 * 0.5870 - 3 * 0.1140))


def test_patchify_goes_row_by_row_with_channels_last() -> None:
    pixels = torch.arange(2 * 3 * 6 * 4).reshape(2, 3, 6, 4)
    patches = patchify(pixels, GRID)
    assert patches.shape == (2, 6, 12)
    for number in range(6):
        y, x = 2 * (number // 2), 2 * (number % 2)
        want = [pixels[1, c, y + dy, x + dx] for dy in (0, 1) for dx in (0, 1) for c in range(3)]
        assert patches[1, number].tolist() == [int(value) for value in want]


@given(st.permutations(range(6)), st.integers(0, 6))
def test_unshuffle_puts_every_token_back_in_its_place(order: list[int], shown: int) -> None:
    whole = torch.randn(2, 6, 4)
    filler = torch.full((4,), 9.0)
    kept = torch.tensor([order, order[::-1]])[:, :shown]
    tokens = whole.gather(1, kept[:, :, None].expand(-1, -1, 4))
    back = unshuffle(tokens, kept, filler, 6)
    for row in range(2):
        for place in range(6):
            want = whole[row, place] if place in kept[row] else filler
            assert torch.equal(back[row, place], want)


def test_positions_by_hand() -> None:
    table = positions(8, GRID)
    assert table.shape == (7, 8)
    assert table[0].tolist() == [0.0] * 8
    # patch 5 is in column 1, row 2; the rates are 1 and 1/100
    want = [math.sin(1), math.sin(0.01), math.cos(1), math.cos(0.01)]
    want += [math.sin(2), math.sin(0.02), math.cos(2), math.cos(0.02)]
    assert table[6].tolist() == pytest.approx(want, abs=1e-7)
    assert len(torch.unique(positions(64, (24, 8)), dim=0)) == 193


def test_the_loss_by_hand() -> None:
    # two patches of 1 x 1 pixel; the first is shown, the second is off by 1, 2 and 3
    pixels = torch.tensor([5.0, 1.0, 5.0, 2.0, 5.0, 3.0]).reshape(1, 3, 1, 2)
    restored = torch.zeros(1, 2, 3)
    loss = masked_errors(restored, pixels, torch.tensor([[0]]), (1, 2))
    assert loss.tolist() == pytest.approx([(1 + 4 + 9) / 3])
    assert masked_errors(patchify(pixels, (1, 2)), pixels, torch.tensor([[0]]), (1, 2)).tolist() == [0.0]


def test_only_masked_patches_count_and_all_of_them_do() -> None:
    pixels, restored = torch.randn(2, 3, 6, 4), torch.randn(2, 6, 12)
    kept = torch.tensor([[1, 4], [0, 5]])
    before = masked_errors(restored, pixels, kept, GRID)
    for number in range(6):
        changed = pixels.clone()
        y, x = 2 * (number // 2), 2 * (number % 2)
        changed[:, :, y : y + 2, x : x + 2] += 7
        after = masked_errors(restored, changed, kept, GRID)
        for row in range(2):
            assert (after[row] == before[row]) == (number in kept[row])


def test_gradients_are_those_of_finite_differences() -> None:
    pixels, restored = torch.randn(2, 3, 6, 4).double(), torch.randn(2, 6, 12).double()
    kept = torch.tensor([[1, 4], [0, 5]])
    got = torch.autograd.grad(masked_errors(restored.requires_grad_(), pixels, kept, GRID).sum(), restored)[0]
    wanted = (2 / (4 * 12)) * (restored - patchify(pixels, GRID)).detach()
    for row in range(2):
        wanted[row, kept[row]] = 0
    torch.testing.assert_close(got.float(), wanted.float())
    made = Restorer(8, GRID, 12, layers=1).double()
    image, text = (
        torch.randn(1, 3, 8).double().requires_grad_(),
        torch.randn(1, 4, 8).double().requires_grad_(),
    )
    assert gradcheck(lambda i, t: made(i, t, kept[:1]), (image, text))


def test_all_patches_are_the_plain_tower(tower: TwoTower) -> None:
    pixels = torch.randn(2, 3, 48, 32)
    everything = torch.arange(6).expand(2, -1)
    with torch.no_grad():
        tokens = tower.some_patches(pixels, everything)
        torch.testing.assert_close(tokens, tower.image_tokens(pixels), atol=1e-5, rtol=1e-5)
        shuffled = torch.tensor([5, 2, 0, 1, 4, 3])
        moved = tower.some_patches(pixels, shuffled.expand(2, -1))
        torch.testing.assert_close(moved[:, 1:], tokens[:, 1:][:, shuffled], atol=1e-5, rtol=1e-5)


def test_dropped_patches_never_enter_the_tower(tower: TwoTower) -> None:
    pixels = torch.randn(2, 3, 48, 32)
    kept = torch.tensor([[1, 4], [0, 5]])
    other = pixels.clone()
    other[0, :, 32:, 16:] = 100.0  # patch 5: shown of the second picture only
    with torch.no_grad():
        tokens, changed = tower.some_patches(pixels, kept), tower.some_patches(other, kept)
    assert tokens.shape == (2, 3, 128)
    assert torch.equal(tokens[0], changed[0])
    other[1, :, 32:, 16:] = 100.0
    with torch.no_grad():
        assert not torch.equal(tokens[1], tower.some_patches(other, kept)[1])


def test_other_towers_are_refused_by_the_sizes_that_work() -> None:
    with pytest.raises(
        InputError, match=r"labrador-tiny-conv's image tower.*labrador-tiny,.*ViT-B-16.*ViT-L-14"
    ):
        _ = TwoTower("labrador-tiny-conv", (64, 32)).patch_grid


def test_the_restorer_learns_and_hears_the_text(tower: TwoTower) -> None:
    torch.manual_seed(0)
    made = Restorer(128, GRID, 768, layers=1)
    pixels, kept = torch.randn(4, 3, 48, 32), drawn_patches(4, 6, 2)
    with torch.no_grad():
        seen = tower.some_patches(grey(pixels), kept)
    text = torch.randn(4, 77, 128)
    assert made(seen, text, kept).shape == (4, 6, 768)
    assert not torch.equal(made(seen, text, kept), made(seen, text.flip(0), kept))
    optimizer = torch.optim.Adam(made.parameters(), 1e-3)
    losses = []
    for _ in range(12):
        loss = masked_errors(made(seen, text, kept), pixels, kept, GRID).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in made.parameters())


def test_a_picture_s_cue_is_its_own_words_not_those_of_its_neighbours() -> None:
    made = Restorer(8, GRID, 12, layers=1)
    image, text, kept = torch.randn(2, 3, 8), torch.randn(2, 4, 8), torch.tensor([[1, 4], [0, 5]])
    both = made(image, text, kept)
    torch.testing.assert_close(both[1:], made(image[1:], text[1:], kept[1:]))


def test_only_the_attention_and_the_blocks_learn_faster() -> None:
    made = Restorer(8, GRID, 12, layers=1)
    groups = param_groups(((f"heads.tir.{n}", p) for n, p in made.named_parameters()), 1.0, 0.1, "irra")
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    rates = {name: rate[id(parameter)] for name, parameter in made.named_parameters()}
    assert rates["decoder.cross_attn.in_proj_weight"] == 5
    assert rates["decoder.cross_blocks.0.mlp.c_fc.weight"] == 5
    assert rates["decoder.cross_attn.in_proj_bias"] == 2
    for name in (
        "mask_token",
        "linear_in.weight",
        "linear_out.weight",
        "ln_in.weight",
        "decoder.ln_post.weight",
    ):
        assert rates[name] == 1
    assert rates["linear_in.bias"] == 2
