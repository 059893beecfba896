"""Parts of speech from word lists, for sentences that describe people: no data, no dependency.

Tags are those of the Penn treebank, as NLTK's tagger gives them, as far as pruning and masking ask: nouns,
adjectives, pronouns, verbs and the closed classes. An unknown word is a noun, which in a description it
nearly always is; endings and the word before settle most of the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

_CLOSED = {
    "DT": "a an the this that these those each every some any no another both either neither all such",
    "PRP": "i you he she it we they me him us them himself herself itself themselves myself yourself",
    "PRP$": "my your his her its our their hers theirs",
    "IN": "of in on at by with without from into onto over under above below behind beside besides between "
    "near across around through along alongside against during before after since until upon as like than "
    "if because while although though whether about towards toward past inside outside underneath beneath "
    "within throughout among beyond via per except opposite atop",
    "TO": "to",
    "CC": "and or but nor yet so plus & versus",
    "MD": "can could may might must shall should will would cannot",
    "WP": "who whom whose which what where when why how whatever whoever",
    "EX": "there",
    "RP": "up down off out away",
    "RB": "not very quite too also just only rather almost even still again perhaps maybe somewhat often "
    "always never once together apart ahead forward forwards backward backwards sideways here now then "
    "already later soon else instead both half-way well more most less least much about n't 't",
    "POS": "'s '",
    "CD": "one two three four five six seven eight nine ten eleven twelve dozen hundred thousand",
}
_ADJECTIVES = (
    "black white red green blue yellow orange purple violet pink brown grey gray beige tan navy teal maroon "
    "cream khaki olive turquoise gold golden silver burgundy dark light bright pale deep neon colorful "
    "colourful multicolored long short tall small large big little huge medium average thin thick slim "
    "slender heavy lean young old older younger elderly adult teenage male female asian plain casual "
    "formal loose tight baggy skinny straight wavy curly bald blonde blond brunette bare open high low wide "
    "narrow new clean neat matching contrasting left right front rear upper lower other same different "
    "similar several many few own full woolly denim floral sleeveless athletic sporty"
)
_VERBS = (  # stems that -s, -ed and -ing are put to; without those endings they are verbs too
    "wear carry hold walk stand sit look talk appear seem face hang lean turn step move stride pull push "
    "tuck tie roll accompany pair consist contain feature include match cover reach extend cross pass "
    "approach speak listen wait ride drive run jog stroll smile stare glance check use grab grip drag lift "
    "drape sling swing raise rest place put keep keep make take get go come have hold see show say "
    "accent adorn accessorise accessorize complete complement fold button zip unzip unbutton expose reveal "
    "describe depict head point travel proceed bend pose stop play read eat drink smoke text dress style "
    "part pin comb sweep gather"
)
_IRREGULAR = {
    "VBZ": "is are am was were be been being has had does do did 're 've 'm says",
    "VBN": "worn wore held stood sat hung hanged leant ran put kept made took taken got gotten went gone "
    "came seen saw shown said spoken spoke ridden rode drawn drew drove driven swung slung bent eaten drank "
    "done",
    "VBG": "tying",
}
_NOUNS_IN_ING = (
    "clothing earring ring legging string stocking building lining piping railing ceiling wing king thing "
    "something nothing anything everything morning evening lettering marking covering setting crossing "
    "opening stitching edging trimming flooring awning sling spring wedding swing being bling parking footing"
)
_NOUNS_AND_VERBS = (  # without -ed and -ing nouns, more often than not
    "dress head pair tie button zip pin step face part place point text style cover cross drink swing sling "
    "comb feature roll rest play stop pose"
)
_ADJECTIVES_IN_LY = "curly woolly elderly friendly lovely ugly lively silly kindly lonely frilly"
_NOUNS_IN_LY = "belly family fly jelly assembly supply butterfly"
_ADJECTIVE_ENDINGS = ("ish", "ful", "less", "ous", "able", "ible")
_VERB_ENDINGS = {"s": "VBZ", "ed": "VBN", "ing": "VBG"}


class Lexicon:
    """A tagger that needs nothing but this file; one word alone may be asked for too."""

    name = "lexicon"

    def __init__(self) -> None:
        self._known = dict.fromkeys(_ADJECTIVES.split(), "JJ") | _verbs()
        self._known |= {word: "NN" for words in (_NOUNS_IN_ING, _NOUNS_IN_LY) for word in words.split()}
        self._known |= {f"{word}s": "NNS" for word in _NOUNS_IN_ING.split()}
        self._known |= dict.fromkeys(_ADJECTIVES_IN_LY.split(), "JJ")
        self._known |= {word: tag for tag, words in _CLOSED.items() for word in words.split()}

    def tag(self, words: Sequence[str]) -> list[str]:
        """The tag of each word of a sentence; punctuation marks are words too."""
        tags: list[str] = []
        for word in words:
            plain = word.lower().replace("\u2019", "'")
            tags.append(self._tag(plain, tags[-1] if tags else ""))
        return tags

    def _tag(self, word: str, before: str) -> str:
        tag = self._known.get(word) or self._guess(word)
        if not tag.startswith("VB"):
            return tag
        if before == "TO":
            return "VB"
        participle = tag in ("VBN", "VBG")
        if before in ("DT", "PRP$", "CD"):  # "a worn jacket", "his walk"
            return "JJ" if participle else "NN"
        return "NN" if before == "JJ" and not participle else tag  # "casual wear", but "in black walking"

    def _guess(self, word: str) -> str:
        if not any(c.isalnum() for c in word):
            return word or "NN"  # a mark is its own tag, as the treebank has it
        if word[0].isdigit():
            return "CD"
        if "-" in word.strip("-"):
            last = word.strip("-").rpartition("-")[2]  # t-shirt, long-sleeved, black-and-white
            tag = self._tag(last, "")
            return tag if tag.startswith(("NN", "JJ")) else "JJ"
        if word.endswith("ly") and len(word) > 4:
            return "RB"
        if word.endswith("ing") and len(word) > 5:
            return "VBG"
        if word.endswith(_ADJECTIVE_ENDINGS) or (word.endswith("ed") and len(word) > 4):
            return "JJ"
        return "NNS" if word.endswith("s") and not word.endswith("ss") else "NN"


def _verbs() -> dict[str, str]:
    """Every form of the verbs, but for those that are nouns more often than not."""
    forms: dict[str, str] = {}
    for stem in _VERBS.split():
        forms[stem] = "VBP"
        for ending, tag in _VERB_ENDINGS.items():
            forms |= dict.fromkeys(_inflected(stem, ending), tag)
    for stem in _NOUNS_AND_VERBS.split():
        forms[stem] = "NN"
        forms |= dict.fromkeys(_inflected(stem, "s"), "NNS")
    return forms | {word: tag for tag, words in _IRREGULAR.items() for word in words.split()}


def _inflected(stem: str, ending: str) -> list[str]:
    """carry → carries, carried, carrying; take → takes, taking; sit → sitting."""
    if stem.endswith("y") and stem[-2] not in "aeiou" and ending != "ing":
        return [stem[:-1] + ("ies" if ending == "s" else "ied")]
    if ending == "s":
        return [stem + ("es" if stem.endswith(("s", "sh", "ch", "x", "z")) else "s")]
    if stem.endswith("e") and not stem.endswith("ee"):
        return [stem[:-1] + ending]
    double = stem[-1] not in "aeiouwxyh" and stem[-2] in "aeiou" and stem[-3:-2] not in ("a", "e", "o")
    return [stem + ending, stem + stem[-1] + ending] if double else [stem + ending]
