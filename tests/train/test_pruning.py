"""Captions pruned to attribute words by either tagger, and the chances of tokens to be hidden."""

import sys
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdk.errors import InputError
from train.lexicon import Lexicon
from train.masking import MASK, mask_tokens
from train.pruning import find_tagger, mask_rates, prune

CAPTIONS = {
    "The man is wearing a black coat and blue jeans.": "man black coat blue jeans",
    "She's carrying a brown handbag on her left shoulder, and walks away from the camera.": (
        "She brown handbag her left shoulder camera"
    ),
    "A pedestrian in a short-sleeved, striped T-shirt; there are two people standing behind him": (
        "pedestrian short-sleeved striped T-shirt people him"
    ),
    "Her hair is pulled back in a ponytail and she wears tight leggings and earrings.": (
        "Her hair back ponytail she tight leggings earrings"
    ),
    "a woman with curly hair, slightly turned to look at the guy\u2019s red and white sneakers": (
        "woman curly hair guy red white sneakers"
    ),
    "He has a worn leather jacket, a checked shirt and a casual look while walking.": (
        "He worn leather jacket checked shirt casual look"
    ),
}
WORDS = Lexicon()


@pytest.mark.parametrize("caption", CAPTIONS)
def test_the_lexicon_prunes_to_nouns_adjectives_and_pronouns(caption: str) -> None:
    assert prune(caption, WORDS) == CAPTIONS[caption]


SINGLE = (
    "carries VBZ sitting VBG tying VBG tied VBN dress NN dressed VBN clothing NN rings NNS grey JJ hooded JJ "
    "colourful JJ the DT behind IN quickly RB curly JJ 2 CD knitted JJ . . zyx NN t-shirts NNS wide-legged JJ"
).split()


@pytest.mark.parametrize(("word", "tag"), list(zip(SINGLE[::2], SINGLE[1::2], strict=True)))
def test_single_words(word: str, tag: str) -> None:
    assert WORDS.tag([word]) == [tag]
    assert WORDS.tag([word.upper()]) == [tag]


def test_a_caption_without_such_words_stays_as_it_is() -> None:
    assert prune("walking and running", WORDS) == "walking and running"
    assert prune("", WORDS) == ""


@given(st.text(max_size=80))
def test_pruning_anything_keeps_words_in_order(caption: str) -> None:
    tags = WORDS.tag(caption.split())
    assert len(tags) == len(caption.split())
    assert all(tags)
    rest = caption
    for word in prune(caption, WORDS).split(" "):
        assert word in rest
        rest = rest[rest.index(word) + len(word) :]


@pytest.fixture
def nltk(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A package nltk whose tagger has its data, and finds nothing but the word `red` worth keeping."""
    module = ModuleType("nltk")

    def pos_tag(tokens: list[str]) -> list[tuple[str, str]]:
        assert isinstance(tokens, list)
        return [(token, "JJ" if token == "red" else "VB") for token in tokens]

    module.pos_tag = pos_tag  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nltk", module)
    return module


def test_nltk_is_taken_where_it_has_its_data(nltk: ModuleType) -> None:
    for name in ("auto", "nltk"):
        tagger = find_tagger(name)
        assert tagger.name == "nltk"
        assert prune("a red hat and red shoes", tagger) == "red red"
    assert find_tagger("lexicon").name == "lexicon"


def test_without_its_data_the_lexicon_steps_in_or_nltk_says_what_it_lacks(
    nltk: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pos_tag(tokens: Sequence[str]) -> None:
        raise LookupError("Resource averaged_perceptron_tagger_eng not found")

    nltk.pos_tag = pos_tag  # type: ignore[attr-defined]
    assert find_tagger("auto").name == "lexicon"
    with pytest.raises(InputError, match=r"nltk\.downloader averaged_perceptron_tagger_eng"):
        find_tagger("nltk")
    monkeypatch.setitem(sys.modules, "nltk", None)
    assert find_tagger("auto").name == "lexicon"
    with pytest.raises(InputError, match="install it, or take 'lexicon'"):
        find_tagger("nltk")


def test_the_real_nltk_gives_the_same_face() -> None:
    pytest.importorskip("nltk")
    try:
        tagger = find_tagger("nltk")
    except InputError as error:
        pytest.skip(str(error))
    assert prune("The man is wearing a black coat and blue jeans.", tagger) == "man black coat blue jeans"


@pytest.fixture(scope="module")
def caption() -> tuple[torch.Tensor, np.ndarray]:
    tokenizer = open_clip.get_tokenizer("ViT-B-16")
    ids = tokenizer(["a woman is wearing an unbuttonable green coat"])
    return ids, mask_rates(ids.numpy(), tokenizer, WORDS)


def test_nouns_and_adjectives_are_masked_six_times_as_often(caption: tuple[torch.Tensor, np.ndarray]) -> None:
    ids, rates = caption
    pieces = [open_clip.get_tokenizer("ViT-B-16").decoder[int(i)] for i in ids[0][1:] if 0 < i < MASK]
    assert (
        " ".join(pieces) == "a</w> woman</w> is</w> wearing</w> an</w> un button able</w> green</w> coat</w>"
    )
    chances = rates[ids[0, 1 : 1 + len(pieces)].numpy()]
    often = np.array([False, True, False, False, False, True, True, True, True, True])
    assert chances.tolist() == np.where(often, np.float32(0.30), np.float32(0.05)).tolist()
    assert rates.shape == (49408,)
    assert np.count_nonzero(rates) == len(set(ids[0].tolist()))


def test_masking_follows_the_rates_and_hides_at_least_one(caption: tuple[torch.Tensor, np.ndarray]) -> None:
    ids, rates = caption
    rows = ids.expand(4000, -1)
    chance = [np.random.default_rng([3, row]) for row in range(4000)]
    masked, targets = mask_tokens(rows, chance, rates[rows.numpy()])
    hidden = targets > 0
    assert bool(hidden.any(dim=1).all())
    words = int((ids[0] < MASK).logical_and(ids[0] > 0).sum())
    assert not hidden[:, 0].any()
    assert not hidden[:, words + 1 :].any()
    assert torch.equal(masked.argmax(dim=1), rows.argmax(dim=1))  # the end of text stays where it was
    share = hidden[:, 1 : words + 1].float().mean(dim=0)
    want = torch.from_numpy(rates[ids[0, 1 : words + 1].numpy()].copy())
    none = torch.prod(1 - want)  # then the first is hidden
    want[0] += none
    assert (share - want).abs().max() < 4 * 0.5 / 4000**0.5
    became = masked[hidden] == MASK
    stayed = masked[hidden] == rows[hidden]
    least = float(none) * 4000 / int(hidden.sum())  # share of those that are always replaced
    assert float(became.float().mean()) == pytest.approx(0.8 * (1 - least) + least, abs=0.02)
    assert float(stayed.float().mean()) == pytest.approx(0.1 * (1 - least), abs=0.02)
