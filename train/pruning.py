"""Captions pruned to their attribute words, and how likely each token of one is to be masked (SEN).

Both rest on parts of speech, which NLTK's tagger gives where it is installed with its data, and the word
lists of train/lexicon.py otherwise. Nothing is downloaded: `python -m nltk.downloader
averaged_perceptron_tagger_eng` is the user's to run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from sdk.errors import InputError
from train.lexicon import Lexicon
from train.masking import VOCABULARY

TaggerName: TypeAlias = Literal["auto", "nltk", "lexicon"]
KEPT = ("NN", "JJ", "PRP")  # nouns, adjectives and pronouns, all their forms
ATTRIBUTES = ("NN", "JJ")  # what is masked often
OFTEN, SELDOM = 0.30, 0.05
_WORDS = re.compile(r"[^\W_]+(?:-[^\W_]+)*|['\u2019]\w*|[^\w\s]|_+")


class Tagger(Protocol):
    """Parts of speech, as Penn treebank tags; `name` is "nltk" or "lexicon"."""

    name: str

    def tag(self, words: Sequence[str]) -> list[str]:
        """The tag of each word of a sentence, whose punctuation marks are words too."""
        ...


class NltkTagger:
    """NLTK's averaged perceptron, as SEN's authors used. InputError where it or its data is missing."""

    name = "nltk"

    def __init__(self) -> None:
        try:
            from nltk import pos_tag

            pos_tag(["man"])
        except ImportError as error:
            raise InputError(
                "tagger: 'nltk' needs the package nltk; install it, or take 'lexicon'"
            ) from error
        except LookupError as error:
            raise InputError(
                "tagger: nltk is installed without its tagger's data; run `python -m nltk.downloader "
                "averaged_perceptron_tagger_eng`, or take 'lexicon'"
            ) from error
        self._pos_tag = pos_tag

    def tag(self, words: Sequence[str]) -> list[str]:
        """The tag of each word of a sentence, whose punctuation marks are words too."""
        return [tag for _, tag in self._pos_tag(list(words))]


def find_tagger(name: TaggerName) -> Tagger:
    """The tagger of that name; "auto" is NLTK's where it works and the lexicon elsewhere.

    Raises InputError for "nltk" where it or its data is missing.
    """
    if name == "lexicon":
        return Lexicon()
    try:
        return NltkTagger()
    except InputError:
        if name == "nltk":
            raise
        return Lexicon()


def prune(caption: str, tagger: Tagger) -> str:
    """The nouns, adjectives and pronouns of a caption, joined by spaces; the caption itself if it has none.

    "The man is wearing a black coat and blue jeans." → "man black coat blue jeans"
    """
    words = _WORDS.findall(caption)
    kept = [word for word, tag in zip(words, tagger.tag(words), strict=True) if tag.startswith(KEPT)]
    return " ".join(kept) or caption


def mask_rates(ids: npt.NDArray[np.int64], tokenizer: Any, tagger: Tagger) -> npt.NDArray[np.float32]:
    """(vocabulary,) the chance of each token to be hidden: 0.30 for nouns and adjectives, 0.05 for others.

    ids: token ids of any shape, made by `tokenizer`, which has CLIP's vocabulary; pieces that don't occur in
    them get 0. Each BPE piece is tagged as a sentence of its own, as in SEN's released code (arXiv
    2307.09059). There, four characters are cut off each to remove "</w>", also off a piece within a word,
    which has none; here, what is "</w>" alone.
    """
    rates = np.zeros(VOCABULARY, np.float32)
    for token in np.unique(ids):
        (tag,) = tagger.tag([tokenizer.decoder[int(token)].removesuffix("</w>")])
        rates[token] = OFTEN if tag.startswith(ATTRIBUTES) else SELDOM
    return rates
