"""Hidden words: which ids, how often, what is never hidden, and that chance is each row's own."""

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from train.masking import MASK, RATE, VOCABULARY, mask_tokens

START, END = 49406, 49407
WORDS = 70


def rows(count: int, seed: int = 0) -> torch.Tensor:
    """Texts of 70 words each, as CLIP's tokenizer lays them out."""
    words = torch.randint(1, MASK, (count, WORDS), generator=torch.Generator().manual_seed(seed))
    start, end, rest = torch.full((count, 1), START), torch.full((count, 1), END), torch.zeros(count, 5)
    return torch.cat([start, words, end, rest.long()], dim=1)


def chance(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, row]) for row in range(count)]


def test_the_mask_is_the_last_merge_of_the_stock_vocabulary() -> None:
    tokenizer = open_clip.get_tokenizer("ViT-B-16")
    assert (MASK, len(tokenizer.encoder)) == (49405, VOCABULARY)
    assert tokenizer.decoder[MASK] == "jekyll</w>"
    assert MASK == max(v for k, v in tokenizer.encoder.items() if k.endswith("</w>"))
    assert tokenizer(["a"])[0, :3].tolist() == [START, tokenizer.encoder["a</w>"], END]


def test_fifteen_percent_are_hidden_eight_tenths_of_them_by_the_mask() -> None:
    ids = rows(1500)
    masked, targets = mask_tokens(ids, chance(1500))
    hidden = targets > 0
    n = 1500 * WORDS
    assert hidden.sum().item() / n == pytest.approx(RATE, abs=4 * (RATE * (1 - RATE) / n) ** 0.5)
    became = masked[hidden]
    by_mask, kept = became == MASK, became == targets[hidden]
    for share, want in ((by_mask, 0.8), (kept, 0.1), (~by_mask & ~kept, 0.1)):
        spread = 4 * (want * (1 - want) / len(became)) ** 0.5
        assert share.float().mean().item() == pytest.approx(want, abs=spread)
    random = became[~by_mask & ~kept]
    assert 1 <= random.min() < 1500
    assert 48000 < random.max() < MASK


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.15, 1.0]))
def test_targets_are_the_hidden_ids_and_nothing_else_changes(seed: int, rate: float) -> None:
    ids = rows(4, seed)
    ids[0, 5] = MASK  # the word that the mask displaced
    ids[1, 3:] = torch.tensor([END] + [0] * (ids.shape[1] - 4))
    before = ids.clone()
    masked, targets = mask_tokens(ids, chance(4, seed), rate)
    assert torch.equal(ids, before)
    assert torch.equal(masked[targets == 0], ids[targets == 0])
    assert torch.equal(targets[targets > 0], ids[targets > 0])
    special = (ids == 0) | (ids >= MASK)
    assert not targets[special].any()
    assert torch.equal(masked.argmax(dim=1), ids.argmax(dim=1))  # where the text tower pools
    assert (targets > 0).any(dim=1).all()
    if rate == 1:
        assert torch.equal(targets > 0, ~special)


def test_when_chance_hides_nothing_the_first_word_is_masked() -> None:
    ids = rows(3)
    ids[2] = torch.tensor([START, END] + [0] * (ids.shape[1] - 2))  # an empty text
    masked, targets = mask_tokens(ids, chance(3), 0.0)
    assert masked[:2, 1].tolist() == [MASK, MASK]
    assert torch.equal(targets[:2, 1], ids[:2, 1])
    assert not targets[:, 2:].any()
    assert torch.equal(masked[2], ids[2])  # its end of text stays, or the tower would pool elsewhere
    assert not targets[2].any()


def test_every_word_may_have_its_own_rate() -> None:
    ids = rows(40)
    rate = np.zeros(ids.shape)
    rate[:, 10:20] = 1
    rate[:, 20:30] = 0.5
    _, targets = mask_tokens(ids, chance(40), rate)
    assert (targets[:, 10:20] > 0).all()
    assert not targets[:, 1:10].any()
    assert not targets[:, 30:].any()
    assert 140 < (targets[:, 20:30] > 0).sum() < 260


def test_a_row_depends_on_its_own_generator_alone() -> None:
    ids = rows(6)
    masked, targets = mask_tokens(ids, chance(6))
    order = [4, 0, 5]
    again = mask_tokens(ids[order], [chance(6)[row] for row in order])
    assert torch.equal(again[0], masked[order])
    assert torch.equal(again[1], targets[order])
    assert not torch.equal(mask_tokens(ids, chance(6, 1))[0], masked)


def test_none_is_legal() -> None:
    masked, targets = mask_tokens(rows(0), [])
    assert masked.shape == targets.shape == (0, WORDS + 7)
