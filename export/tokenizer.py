"""A model's tokenizer as one ``tokenizer.json`` that the `tokenizers` library runs without torch.

Cleaning (ftfy, HTML, whitespace, case) is no part of the file: `sdk.preprocess.TextPreprocess` does it
first, in Python, as its `TextSpec.clean` says. The file holds what comes after: splitting, byte-level BPE
(or WordPiece), the special ids around the text, truncation and padding.

Three things keep an open_clip BPE file equal to open_clip itself on every text, not only on English:

* open_clip splits with Python's `regex`, tokenizers with Oniguruma, and the two carry different Unicode
  tables (17,000 code points are letters in one and unassigned in the other). So letters and digits are
  written out as code point ranges, read off the `regex` that open_clip itself uses.
* `regex` ignores case while it splits, so ``'`` with a long s counts as ``'s``, and U+0345 matches nothing.
* The words ``<start_of_text>`` and ``<end_of_text>`` in a text become their ids only where the splitter
  reaches them (not in ``!<end_of_text>``). An added token would match everywhere; a last chain of
  merges matches exactly there, since no other piece holds both ``<`` and letters.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sdk.errors import ExportError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from sdk.preprocess import TextSpec

SPECIAL = ("<start_of_text>", "<end_of_text>")
CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
SPLITTER = "|".join([*SPECIAL, *CONTRACTIONS, r"[\p{L}]+", r"[\p{N}]", r"[^\s\p{L}\p{N}]+"])
SUFFIX = "</w>"


def write_tokenizer(tokenizer: object, spec: TextSpec, path: str | Path) -> Path:
    """Write ``tokenizer.json``: ids (length,) int64 of a cleaned text, truncated and padded as `spec` says.

    `tokenizer` is open_clip's `SimpleTokenizer` (CLIP BPE), a `tokenizers.Tokenizer` of any kind, or an
    open_clip `HFTokenizer` around one. The same tokenizer always gives the same bytes. Raises ExportError
    for one that a file can't hold.
    """
    made = to_tokenizers(tokenizer)
    made.enable_truncation(max_length=spec.length)
    pad = made.id_to_token(spec.pad_id)
    if pad is None:
        raise ExportError(
            f"text.pad_id: {spec.pad_id} is no id of this tokenizer, it has {made.get_vocab_size()}"
        )
    made.enable_padding(direction="right", pad_id=spec.pad_id, pad_token=pad, length=spec.length)
    path = Path(path)
    path.write_text(made.to_str(), encoding="utf-8")
    return path


def reference_ids(tokenizer: Any, texts: list[str], spec: TextSpec) -> npt.NDArray[np.int64]:
    """The ids (n, length) that training saw, from the model's own tokenizer: what the file must equal."""
    from tokenizers import Tokenizer

    if isinstance(tokenizer, Tokenizer):
        return _encode(tokenizer, texts, spec)
    return np.asarray(tokenizer(texts, context_length=spec.length), dtype=np.int64)


def _encode(tokenizer: Tokenizer, texts: list[str], spec: TextSpec) -> npt.NDArray[np.int64]:
    """The ids of a `tokenizers.Tokenizer` one text at a time, cut by it and padded by hand."""
    from tokenizers import Tokenizer

    from sdk.preprocess import CLEANERS

    plain = Tokenizer.from_str(tokenizer.to_str())
    plain.no_padding()
    plain.enable_truncation(max_length=spec.length)
    out = np.full((len(texts), spec.length), spec.pad_id, dtype=np.int64)
    for row, text in zip(out, texts, strict=True):
        for step in spec.clean:
            text = CLEANERS[step](text)
        ids = plain.encode(text).ids
        row[: len(ids)] = ids
    return out


def to_tokenizers(tokenizer: Any) -> Tokenizer:
    """The same tokenizer as a fresh `tokenizers.Tokenizer`; the one given is left as it was."""
    from tokenizers import Tokenizer

    backend = getattr(getattr(tokenizer, "tokenizer", None), "backend_tokenizer", None)
    if isinstance(backend, Tokenizer):
        for name in ("strip_sep_token", "tokenizer_mode"):
            if getattr(tokenizer, name, None):
                raise ExportError(
                    f"tokenizer: open_clip's {name}={getattr(tokenizer, name)!r} rewrites ids after "
                    "tokenising, which a tokenizer.json can't; use a model without it"
                )
        tokenizer = backend
    if isinstance(tokenizer, Tokenizer):
        return Tokenizer.from_str(tokenizer.to_str())
    if hasattr(tokenizer, "bpe_ranks"):
        return _from_open_clip(tokenizer)
    raise ExportError(
        f"tokenizer: got {type(tokenizer).__name__}; known are open_clip's SimpleTokenizer and HFTokenizer, "
        "and tokenizers.Tokenizer"
    )


def _from_open_clip(tokenizer: Any) -> Tokenizer:
    """CLIP's byte-level BPE. A text is lower-cased before it gets here."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    regex: Any = import_module("regex")  # untyped; open_clip brings it

    if tokenizer.pat.pattern != SPLITTER or not tokenizer.pat.flags & regex.IGNORECASE:
        raise ExportError(
            f"tokenizer: it splits by {tokenizer.pat.pattern!r}; known is open_clip's {SPLITTER!r}, "
            "so pass it as a tokenizers.Tokenizer instead"
        )
    if getattr(tokenizer, "reduction_fn", None) is not None:
        raise ExportError("tokenizer: reduction_mask drops tokens at random or by syntax; export it without")
    if tokenizer.clean_fn("A") != "a":
        raise ExportError("tokenizer: clean='lower' is the only cleaning that a CLIP BPE file is made for")

    vocab = {str(token): int(i) for token, i in tokenizer.encoder.items() if token not in SPECIAL}
    merges = [pair for pair, _ in sorted(tokenizer.bpe_ranks.items(), key=lambda item: item[1])]
    plain = models.BPE(vocab=dict(vocab), merges=list(merges), end_of_word_suffix=SUFFIX)
    spare = len(tokenizer.encoder)  # ids of the chain's inner links: above the vocabulary, never emitted
    for word in SPECIAL:
        link, *rest = [token.value for token in plain.tokenize(word)]
        for part in rest:
            merges.append((link, part))
            link += part
            if link == word + SUFFIX:
                vocab[link] = int(tokenizer.encoder[word])
            elif link not in vocab:
                vocab[link] = spare
                spare += 1

    made = Tokenizer(models.BPE(vocab=vocab, merges=merges, end_of_word_suffix=SUFFIX))
    split = pre_tokenizers.Split(Regex(_splitter()), behavior="removed", invert=True)
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([split, as_bytes])
    start, end = (int(tokenizer.encoder[word]) for word in SPECIAL)
    made.post_processor = processors.TemplateProcessing(
        single=f"{SPECIAL[0]} $A {SPECIAL[1]}",
        special_tokens=[(SPECIAL[0], start), (SPECIAL[1], end)],
    )
    return made


@cache
def _splitter() -> str:
    """SPLITTER for Oniguruma, with `regex`'s own idea of letters, digits and equal cases spelled out."""
    regex: Any = import_module("regex")  # untyped; open_clip brings it

    # No surrogates: they are no text. Position in this string -> code point, in order, without holes.
    points = [*range(0xD800), *range(0xE000, 0x110000)]
    every = "".join(map(chr, points))

    def matched(pattern: str) -> list[tuple[int, int]]:
        found = regex.finditer(f"(?:{pattern})+", every, regex.IGNORECASE)
        return [(points[m.start()], points[m.end() - 1]) for m in found]

    def inside(pattern: str) -> str:
        return "".join(
            f"\\x{{{a:x}}}-\\x{{{b:x}}}" if a < b else f"\\x{{{a:x}}}" for a, b in matched(pattern)
        )

    def folded(word: str) -> str:
        """`word` in every case that lower-casing leaves standing: 's' also comes long."""
        out = ""
        for letter in word:
            alike = [
                c
                for a, b in matched(regex.escape(letter))
                for c in map(chr, range(a, b + 1))
                if c.lower() == c
            ]
            out += regex.escape(letter) if len(alike) == 1 else "[" + "".join(alike) + "]"
        return out

    words = [folded(word) for word in (*SPECIAL, *CONTRACTIONS)]
    letters, digits, others = inside(r"\p{L}"), inside(r"\p{N}"), inside(r"[^\s\p{L}\p{N}]")
    return "|".join([*words, f"[{letters}]+", f"[{digits}]", f"[{others}]+"])
