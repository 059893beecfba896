"""tokenizer.json against the tokenizer it came from, through the SDK's own TextPreprocess."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from export.tokenizer import reference_ids, to_tokenizers, write_tokenizer
from sdk.errors import ExportError
from sdk.preprocess import TextPreprocess, TextSpec

CLIP = TextSpec(77, 0, ("ftfy", "html", "whitespace", "lower"))
BERT = TextSpec(12, 0, (), mask=True)
SOT, EOT = 49406, 49407

# First and last code point of the blocks that the strings are drawn from.
SCRIPTS = (
    (0x21, 0x7E), (0xA1, 0x24F), (0x370, 0x3FF), (0x400, 0x52F), (0x531, 0x58F), (0x591, 0x5F4),
    (0x600, 0x6FF), (0x710, 0x74F), (0x900, 0x97F), (0x980, 0x9FF), (0xB80, 0xBFF), (0xE01, 0xE5B),
    (0xE80, 0xEFF), (0x1000, 0x109F), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x137F),
    (0x13A0, 0x13FF), (0x1780, 0x17FF), (0x1800, 0x18AF), (0x1E00, 0x1FFF), (0x2000, 0x206F),
    (0x2070, 0x20CF), (0x2100, 0x218F), (0x2190, 0x22FF), (0x2460, 0x24FF), (0x3041, 0x30FF),
    (0x3105, 0x312F), (0x4E00, 0x9FFF), (0xA000, 0xA48C), (0xA720, 0xA7FF), (0xAB30, 0xABBF),
    (0xAC00, 0xD7A3), (0xE000, 0xE0FF), (0xF900, 0xFAFF), (0xFB00, 0xFB4F), (0xFB50, 0xFDFF),
    (0xFE70, 0xFEFC), (0xFF01, 0xFFEE), (0x10330, 0x1034A), (0x10400, 0x1044F), (0x10D40, 0x10D8F),
    (0x11DE0, 0x11DEF), (0x12000, 0x12399), (0x13000, 0x1342E), (0x1D400, 0x1D7FF), (0x1F300, 0x1FAFF),
    (0x20000, 0x2A6DF), (0x31350, 0x323AF), (0xE0100, 0xE01EF),
)  # fmt: skip
PIECES = (
    "<start_of_text>", "<end_of_text>", "<START_OF_TEXT>", "<\u017ftart_of_text>", "<start",
    "_of_text>", "<end_of", "'s", "'S", "'\u017f", "'re", "'LL", "'d", "'t", "\u2019s", "&amp;",
    "&amp;lt;", "&#39;", "&#x1F600;", "&hellip;", "&#0;", "&nbsp;", "&notanentity;", "\u0345", "\u0301",
    "e\u0301", "\u00e9", "\u0130", "\u0131", "\u1e9e", "\u03a3", "\ufb06", "\u200d", "\ufe0f",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f3fd", "\u00ad", "\ufeff", "\x00", "\x07",
    "\x1b", "\x1c", "\x7f", "\x85", "\u2028", "\u3000", "\t", "\n", "\r\n", " ", "  ", "!!!", "...",
    "--", "_", "#1", "3.14", "1234", "\u00bd", "\u0663", "\u2168", "\u00e2\u20ac\u2122", "\u00c3\u00a9",
    "naïve", "red", "T-shirt", "wearing", "Backpack", "don't", "HTTP://x.y/z?q=1",
    "a man in a red coat", "cafe\u0301",
)  # fmt: skip


def strings(count: int, seed: int = 0) -> list[str]:
    """Different strings, always the same: one script, several, pieces, a mixture; empty to over-long."""
    rng = random.Random(seed)

    def letters(blocks: list[tuple[int, int]], size: int) -> str:
        return "".join(chr(rng.randint(*rng.choice(blocks))) for _ in range(size))

    out = dict.fromkeys(["", " ", "a", "x" * 5000, "a " * 300, "\u4e00" * 200, "".join(PIECES)])
    while len(out) < count:
        size = rng.choice((1, 2, 5, 12, 30, 120))
        kind = rng.randrange(4)
        if kind == 0:
            text = letters([rng.choice(SCRIPTS)], size)
        elif kind == 1:
            text = " ".join(letters(list(SCRIPTS), rng.randint(1, 8)) for _ in range(size // 4 + 1))
        elif kind == 2:
            text = "".join(rng.choice(PIECES) for _ in range(size))
        else:
            text = "".join(
                rng.choice(PIECES) if rng.random() < 0.5 else letters(list(SCRIPTS), 3) for _ in range(size)
            )
        out[text] = None
    return list(out)


def word_piece() -> Tokenizer:
    """A BERT-uncased tokenizer with a vocabulary of two dozen pieces."""
    words = (
        "[PAD] [UNK] [CLS] [SEP] a man in red coat , ! ##s ##ing walk un ##kind ##er é 人 < > / 7 ##7".split()
    )
    made = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


KINDS = {"clip": (SimpleTokenizer, CLIP, EOT), "bert": (word_piece, BERT, 3)}


@pytest.fixture(scope="module", params=sorted(KINDS))
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A tokenizer, its spec, the id that ends a text, and what the SDK makes of its file."""
    make, spec, end = KINDS[request.param]
    own: Any = make()
    path = write_tokenizer(own, spec, tmp_path_factory.mktemp(request.param) / "tokenizer.json")
    return SimpleNamespace(own=own, spec=spec, end=end, path=path, sdk=TextPreprocess(spec, path), make=make)


def differing(kind: SimpleNamespace, texts: list[str]) -> list[str]:
    expected, got = reference_ids(kind.own, texts, kind.spec), kind.sdk(texts)
    assert expected.shape == got.shape == (len(texts), kind.spec.length)
    assert expected.dtype == got.dtype == np.int64
    return [text for text, a, b in zip(texts, expected, got, strict=True) if (a != b).any()]


def test_ids_equal_the_original_on_ten_thousand_strings(kind: SimpleNamespace) -> None:
    texts = strings(10_000)
    assert len(texts) == 10_000
    assert differing(kind, texts) == []


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.lists(st.text(max_size=12) | st.sampled_from(PIECES), max_size=12).map("".join))
@example(text="!<end_of_text>")
@example(text="a<end_of_text><start_of_text>b")
def test_ids_equal_the_original_on_any_string(kind: SimpleNamespace, text: str) -> None:
    assert differing(kind, [text]) == []


def test_a_text_too_long_keeps_its_first_tokens_and_its_end(kind: SimpleNamespace) -> None:
    [ids] = kind.sdk(["a man in a red coat " * 40])
    [short] = kind.sdk(["a man in a red coat"])
    assert ids[-1] == kind.end
    assert (ids != kind.spec.pad_id).all()
    assert (ids[:6] == short[:6]).all()


def test_an_empty_text_is_start_end_and_padding(kind: SimpleNamespace) -> None:
    ids = kind.sdk([""])
    assert ids[0, 1] == kind.end
    assert (ids[0, 2:] == kind.spec.pad_id).all()
    assert kind.sdk.mask(ids).sum() == 2


def test_a_batch_equals_its_texts_alone(kind: SimpleNamespace) -> None:
    texts = strings(60, seed=3)
    assert (kind.sdk(texts) == np.concatenate([kind.sdk([text]) for text in texts])).all()


def test_the_same_tokenizer_gives_the_same_bytes(kind: SimpleNamespace, tmp_path: Path) -> None:
    again = write_tokenizer(kind.make(), kind.spec, tmp_path / "again.json")
    assert again.read_bytes() == kind.path.read_bytes()


def test_no_id_lies_above_the_vocabulary_of_the_model(kind: SimpleNamespace) -> None:
    """The links of the chain that spells <start_of_text> have ids of their own, which must never come out."""
    if kind.spec is CLIP:
        texts = [*strings(2_000, seed=9), "".join(PIECES[:8]) * 3]
        assert kind.sdk(texts).max() == EOT


def test_word_pieces_as_written_by_hand(tmp_path: Path) -> None:
    sdk = TextPreprocess(BERT, write_tokenizer(word_piece(), BERT, tmp_path / "t.json"))
    expected = {
        "A man, in RED coats!": [2, 4, 5, 9, 6, 7, 8, 11, 10, 3, 0, 0],
        "unkinder walking": [2, 14, 15, 16, 13, 12, 3, 0, 0, 0, 0, 0],
        "zebra \u4eba\u4eba": [2, 1, 18, 18, 3, 0, 0, 0, 0, 0, 0, 0],
        "R\u00c9D": [2, 7, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0],  # BERT uncased drops accents
        "<a> 77": [2, 19, 4, 20, 22, 23, 3, 0, 0, 0, 0, 0],
        "a a a a a a a a a a a a": [2, *[4] * 10, 3],
        "": [2, 3, *[0] * 10],
    }
    ids = sdk(list(expected))
    assert ids.tolist() == list(expected.values())
    assert sdk.mask(ids).sum(1).tolist() == [10, 7, 5, 3, 7, 12, 2]


def test_specials_in_a_text_become_ids_only_where_open_clip_sees_them(tmp_path: Path) -> None:
    sdk = TextPreprocess(CLIP, write_tokenizer(SimpleTokenizer(), CLIP, tmp_path / "t.json"))
    counts = (sdk(["a<start_of_text>b", "!<start_of_text>", "<START_of_text><end_of_text>"]) == SOT).sum(1)
    assert counts.tolist() == [2, 1, 2]


def test_every_kind_of_code_point_splits_as_open_clip_splits_it(tmp_path: Path) -> None:
    """Each 97th code point, between letters, digits and punctuation, without the cleaning in front."""
    own, spec = SimpleTokenizer(), TextSpec(77, 0, ())
    own.clean_fn = str.lower
    sdk = TextPreprocess(spec, write_tokenizer(own, spec, tmp_path / "t.json"))
    points = [c for c in range(0, 0x110000, 97) if not 0xD800 <= c < 0xE000]
    texts = [f"a{chr(c).lower()}b {chr(c).lower()}1{chr(c).lower()}!{chr(c).lower()}" for c in points]
    assert (reference_ids(own, texts, spec) == sdk(texts)).all()


def test_the_length_of_the_spec_holds(tmp_path: Path) -> None:
    spec = TextSpec(16, 0, CLIP.clean)
    own = SimpleTokenizer()
    sdk = TextPreprocess(spec, write_tokenizer(own, spec, tmp_path / "t.json"))
    texts = strings(200, seed=5)
    assert (sdk(texts) == reference_ids(own, texts, spec)).all()


def _changed(**fields: Any) -> SimpleTokenizer:
    own = SimpleTokenizer()
    for name, value in fields.items():
        setattr(own, name, value)
    return own


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SimpleTokenizer(reduction_mask="simple"), "reduction_mask"),
        (lambda: SimpleTokenizer(clean="whitespace"), "clean='lower'"),
        (lambda: SimpleTokenizer(additional_special_tokens=["<mask>"]), "splits by"),
        (lambda: "clip-bpe", "got str"),
        (lambda: _wrapped(strip_sep_token=True), "strip_sep_token"),
        (lambda: _wrapped(tokenizer_mode="clips"), "tokenizer_mode"),
    ],
)
def test_what_a_file_cannot_hold_is_refused(make: Callable[[], Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=message):
        write_tokenizer(make(), CLIP, tmp_path / "t.json")
    assert not list(tmp_path.iterdir())


def test_a_padding_id_the_tokenizer_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"text.pad_id: 999 .* 24"):
        write_tokenizer(word_piece(), TextSpec(12, 999), tmp_path / "t.json")


def _wrapped(**fields: Any) -> HFTokenizer:
    """open_clip's wrapper as it is after loading one from the hub."""
    own = HFTokenizer.__new__(HFTokenizer)
    own.tokenizer = SimpleNamespace(backend_tokenizer=word_piece())
    own.strip_sep_token, own.tokenizer_mode = False, ""
    for name, value in fields.items():
        setattr(own, name, value)
    return own


def test_a_wrapped_tokenizer_is_taken_out_and_left_as_it_was(tmp_path: Path) -> None:
    inner = word_piece()
    before = inner.to_str()
    wrapped = _wrapped()
    wrapped.tokenizer.backend_tokenizer = inner
    made = to_tokenizers(wrapped)
    made.enable_truncation(3)
    assert made is not inner
    assert inner.to_str() == before
    write_tokenizer(wrapped, BERT, tmp_path / "a.json")
    write_tokenizer(inner, BERT, tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
