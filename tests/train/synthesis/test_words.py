"""Captions tell the truth and vary; edit texts say what changes; colour words can be taken out."""

import re
from collections.abc import Mapping

import pytest

from train.synthesis.captions import captions, tokens, without_colours
from train.synthesis.dice import Dice
from train.synthesis.edits import edit_text
from train.synthesis.people import Person, cast, changes, pairs
from train.synthesis.wardrobe import SCHEMA, VIEWS
from train.synthesis.words import COLOUR_WORDS, HAIR_WORDS, NOUNS, PATTERN_NOUNS, PATTERN_WORDS, SLEEVE_WORDS

COLOUR_OF = {word: colour for colour, words in COLOUR_WORDS.items() for word in words}
COLOUR_SLOTS = [slot for slot in SCHEMA.slots if slot.endswith("_color") or slot == "accent"]


@pytest.fixture(scope="module")
def everyone() -> list[Person]:
    return cast(300, 11)


@pytest.fixture(scope="module")
def told(everyone: list[Person]) -> list[tuple[Person, str, str]]:
    """(person, view, caption), two captions from each view of everyone."""
    return [
        (p, view, caption)
        for p in everyone
        for k, view in enumerate(VIEWS)
        for caption in captions(p.attributes, view, Dice(p.pid, k))
    ]


def named(text: str, table: Mapping[str, tuple[str, ...]]) -> set[str]:
    """The values of which the text uses a word; the longest word at a place counts."""
    words = sorted(((w.lower(), v) for v, ws in table.items() for w in ws), key=lambda pair: -len(pair[0]))
    found, rest = set(), text.lower()
    for word, value in words:
        shorter = re.sub(rf"(?<![\w-]){re.escape(word)}(?![\w-])", " ", rest)
        if shorter != rest:
            found.add(value)
            rest = shorter
    return found


def test_every_colour_word_belongs_to_the_person(told: list[tuple[Person, str, str]]) -> None:
    for person, _, caption in told:
        own = {person.attributes[slot] for slot in COLOUR_SLOTS}
        said = {COLOUR_OF[w] for w in re.findall(r"[a-z]+", caption.lower()) if w in COLOUR_OF}
        assert said <= own, (caption, person.attributes)
        assert person.attributes["upper_color"] in said


@pytest.mark.parametrize("slot", ["upper", "lower", "hat", "bag"])
def test_every_garment_that_is_named_is_worn(told: list[tuple[Person, str, str]], slot: str) -> None:
    for person, _, caption in told:
        text = re.sub(r"no (hat|bag)|without a (hat|bag)|sports shoes", "", caption)
        text = re.sub(r"long \w+ skirt", "long skirt", text)
        assert named(text, NOUNS[slot]) <= {person.attributes[slot]}, (caption, person.attributes)
        if slot in ("upper", "lower") and person.attributes[slot] != "none":
            assert named(text, NOUNS[slot]), caption


def test_gender_sleeves_hair_and_pattern_are_true(told: list[tuple[Person, str, str]]) -> None:
    sleeves = {value: (word,) for value, word in SLEEVE_WORDS.items()}
    for person, view, caption in told:
        a, text = person.attributes, caption.replace("sleeveless top", "")
        assert named(text, NOUNS["gender"]) == {a["gender"]}
        assert named(text, sleeves) <= {a["sleeves"]}
        length = re.search(r"(short|long|shoulder-length|medium-length) \w+ hair", text)
        assert length is None or length[1] in HAIR_WORDS[a["hair"]], caption
        worn = named(text, PATTERN_WORDS) | named(text, PATTERN_NOUNS)
        assert worn <= {a["pattern"]}, (caption, a)
        assert not (view != "front" and a["pattern"] == "logo" and worn), "a back doesn't show the chest"
        he = "she" if a["gender"] == "male" else "he"
        assert he not in tokens(caption)


def test_absent_things_are_only_named_as_absent(told: list[tuple[Person, str, str]]) -> None:
    for person, _, caption in told:
        for slot, absent in (("hat", "no hat|without a hat"), ("bag", "no bag|without a bag")):
            if re.search(absent, caption):
                assert person.attributes[slot] == "none"
        if re.search("empty hands|carries nothing", caption):
            assert person.attributes["carried"] == "none"
        assert named(caption, NOUNS["carried"]) <= {person.attributes["carried"]} - {"none"}


def test_captions_are_sentences(told: list[tuple[Person, str, str]]) -> None:
    for _, _, caption in told:
        assert re.fullmatch(r"[A-Z][\w ,.'-]+\.", caption), caption
        assert not re.search(r"  | ,| \.|,,|\.\.|\ba [aeiou]|\ban [^aeiou]|\band and\b", caption), caption
        assert len(tokens(caption)) <= 60  # 77 CLIP tokens hold it


def test_captions_vary(everyone: list[Person], told: list[tuple[Person, str, str]]) -> None:
    texts = [caption for _, _, caption in told]
    assert len(set(texts)) > 0.95 * len(texts)
    for first, second in zip(texts[::2], texts[1::2], strict=True):
        assert first != second
    same = {c for k in range(60) for c in captions(everyone[0].attributes, "front", Dice(1, k))}
    assert len(same) > 60
    assert len({len(tokens(c)) for c in same}) > 6  # not always every fact
    assert len({tokens(c)[0] for c in same}) > 4  # nor the same order


def test_some_captions_have_the_form_of_an_attribute_query(told: list[tuple[Person, str, str]]) -> None:
    spoken = [c for _, _, c in told if re.match(r"A (man|woman), (with|wearing) ", c) and "wearing a" in c]
    assert 0.04 < len(spoken) / len(told) < 0.25
    assert any("wearing no hat" in c for c in spoken)


def test_captions_repeat_with_their_key(everyone: list[Person]) -> None:
    a = everyone[3].attributes
    assert captions(a, "side", Dice(8, 1)) == captions(a, "side", Dice(8, 1))


def test_tokens_are_lower_case_words() -> None:
    assert tokens("A T-shirt, the man's own.") == ["a", "t-shirt", "the", "man's", "own"]


@pytest.mark.parametrize(
    ("caption", "plain"),
    [
        ("An orange coat with a blue print.", "A coat with a print."),
        ("A red open jacket and tan pants.", "An open jacket and pants."),
        ("Wearing a black and white striped tee, a man.", "Wearing a striped tee, a man."),
        ("A man, a skirt in grey, wearing a cap in red.", "A man, a skirt, wearing a cap."),
        ("Black trousers and gray shoes", "Trousers and shoes"),
        ("a blonde ponytail and a predator", "a ponytail and a predator"),
        ("A colourless text stays.", "A colourless text stays."),
    ],
)
def test_without_colours(caption: str, plain: str) -> None:
    assert without_colours(caption) == plain


def test_without_colours_leaves_no_colour_in_any_caption_and_stays_a_sentence(
    told: list[tuple[Person, str, str]],
) -> None:
    for _, _, caption in told:
        plain = without_colours(caption)
        assert not set(re.findall(r"[a-z]+", plain.lower())) & set(COLOUR_OF), plain
        assert not re.search(r"  | ,| \.|\ba [aeiou]|\ban [^aeiou]| and and | in [,.]|^[a-z]", plain), plain
        assert without_colours(plain) == plain


def test_without_colours_cleans_the_prompt_sentence(everyone: list[Person]) -> None:
    for person in everyone:
        plain = without_colours(SCHEMA.sentence(person.attributes))
        assert not set(re.findall(r"[a-z]+", plain.lower())) & set(COLOUR_OF), plain
        assert not re.search(r"  | ,| \.|\ba [aeiou]| in [,.]", plain), plain


def _speaks_of(text: str, slot: str, value: str) -> bool:
    """Whether the edit text says that this slot now has this value."""
    text = re.sub(r"long \w+ skirt", "long skirt", text) if slot == "lower" else text
    if slot.endswith("_color") or slot == "accent":
        return value == "none" or any(w in tokens(text.replace("-", " ")) for w in COLOUR_WORDS[value])
    if slot == "pattern":
        if value == "plain":
            return "plain" in text or "no pattern" in text or "without the" in text
        return value in named(text, PATTERN_NOUNS) | named(text, PATTERN_WORDS)
    if slot == "sleeves":
        noun_says = {
            "long": ("sweater", "hoodie", "jacket", "coat"),
            "sleeveless": ("tank top",),
            "short": (),
        }
        implied = named(text, {v: NOUNS["upper"][v] for v in noun_says[value]}) if noun_says[value] else set()
        words = {"long": ("long",), "short": ("short",), "sleeveless": ("no", "sleeveless")}[value]
        return (
            bool(implied)
            or any(f"{w} sleeves" in text or f"{w}-sleeved" in text or w == text for w in words)
            or (value == "sleeveless" and "sleeveless" in text)
        )
    if slot == "hair":
        table = {"bald": ("bald head", "no hair"), "tied back": ("tied back", "ponytail"), **HAIR_WORDS}
        return value in named(text, table)
    if value == "none":  # a dress takes the place of the lower garment
        return slot == "lower" or re.search(r"without|no hat|no bag|nothing", text) is not None
    return value in named(text, NOUNS[slot])


def test_an_edit_text_says_every_change_and_only_changes(everyone: list[Person]) -> None:
    checked = 0
    for a, b in pairs(everyone):
        for turn in range(3):
            text = edit_text(a.attributes, b.attributes, Dice(a.pid, b.pid, turn))
            changed = changes(a.attributes, b.attributes)
            for slot, (_, new) in changed.items():
                assert _speaks_of(text, slot, new), (text, slot, changed)
            new_part = re.sub(r" instead of .*?(?=,| and |$)|without [\w -]+", "", text)
            own = {b.attributes[slot] for slot in COLOUR_SLOTS}
            assert {COLOUR_OF[w] for w in tokens(new_part) if w in COLOUR_OF} <= own, (text, changed)
            for slot in ("hat", "bag", "carried", "shoes", "lower"):
                if not {slot, f"{slot}_color"} & set(changed):
                    assert not named(text, NOUNS[slot]), (text, changed)
            assert not re.search(r"  | ,|,,|\ba [aeiou]|\ban [^aeiou]|^and|^,", text), text
            checked += 1
    assert checked > 300


def test_both_directions_differ(everyone: list[Person]) -> None:
    for a, b in pairs(everyone):
        key = Dice(a.pid + b.pid), Dice(a.pid + b.pid)
        assert edit_text(a.attributes, b.attributes, key[0]) != edit_text(b.attributes, a.attributes, key[1])
