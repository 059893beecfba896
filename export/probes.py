"""What an export is tried on: a dataset's pictures and queries, or pictures and texts made from a seed.

The made-up ones are no test of how well a model searches, only of whether two engines agree. So they cover
what real input does to numbers: odd sizes, smooth and noisy areas, hard edges, dark and burnt-out
pictures; short, long, non-English and badly encoded texts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sdk.errors import DatasetError

if TYPE_CHECKING:
    from train.split import Query, Split

_WHO = ("man", "woman", "girl", "boy", "cyclist", "nurse")
_COLOUR = ("red", "navy blue", "grey", "white", "black", "olive green", "yellow", "pink and purple")
_TOP = ("coat", "T-shirt", "hooded jacket", "long dress", "striped shirt")
_MORE = (
    "carrying a backpack",
    "with short brown hair",
    "in jeans and white sneakers",
    "talking on a phone",
    "",
)
AWKWARD = (
    "a man &amp; his dog &lt;3 it&#8217;s 100% &quot;red&quot;",
    "Ünïcödé: la femme à l\u2019écharpe, 赤いコートの男, человек, رجل \U0001f6b6\U0001f3fd\u200d\u2640\ufe0f",
    "doesâ€™nt matter  \t  what\nthe ENCODING was",
    "<start_of_text>a hat<end_of_text> !<end_of_text>",
    "a " * 60 + "very long description that is cut before its end",
    "x",
    "1234567890 ½ ٣ ①",
)


@dataclass(frozen=True)
class Probe:
    """m pictures to index and n queries to ask: texts, or pictures where a model knows no words.

    relevant, ignored: (n, m) bool when right answers are known (see train.split.Split).
    """

    name: str
    images: Sequence[Any]
    texts: Sequence[str]
    queries: Sequence[Any] = ()
    relevant: npt.NDArray[np.bool_] | None = None
    ignored: npt.NDArray[np.bool_] | None = None

    def pick(self, rows: Sequence[int]) -> tuple[list[Any], list[str]]:
        """The pictures and texts of these rows, from the start again where there are fewer."""
        texts = self.texts or AWKWARD
        return [self.images[i % len(self.images)] for i in rows], [texts[i % len(texts)] for i in rows]


def synthetic(count: int = 48) -> Probe:
    """Made-up pictures and texts; picture queries are further pictures."""
    made = pictures(2 * count)
    return Probe(f"{count} made-up pictures and texts", made[:count], texts(count), made[count:])


def from_split(split: Split, images: int, words: bool) -> Probe:
    """At most `images` gallery pictures of a dataset, of people spread over all of it, and their queries.

    All pictures of a chosen person are taken, so that Rank-1 and mAP mean something. words: ask by text
    (an attribute set by its sentence), else by picture. Raises DatasetError when there is nothing to ask.
    """
    asked = [(q, _words(q, split) if words else q.image) for q in split.queries]
    asked = [(q, what) for q, what in asked if what is not None and str(what).strip()]
    members: dict[object, list[int]] = {q.key: [] for q, _ in asked}
    for i, key in enumerate(split.gallery_keys):
        if key in members:
            members[key].append(i)
    keys = [key for key, items in members.items() if items]
    if not keys or images < 1:
        kind = "text" if words else "picture"
        raise DatasetError(
            f"{split.name}: has no {kind} query with an answer in its gallery, for {images} images"
        )
    people = max(1, images * len(keys) // sum(len(members[key]) for key in keys))
    chosen = {keys[i]: None for i in _spread(len(keys), people)}
    items = sorted(i for key in chosen for i in members[key])[:images]
    asked = [pair for pair in asked if pair[0].key in chosen]
    asked = [asked[i] for i in _spread(len(asked), images)]
    part = dataclasses.replace(
        split,
        samples=(),
        queries=tuple(q for q, _ in asked),
        gallery=tuple(split.gallery[i] for i in items),
        gallery_keys=tuple(split.gallery_keys[i] for i in items),
    )
    return Probe(
        f"{split.name}: {len(items)} pictures, {len(asked)} queries",
        [sample.image for sample in part.gallery],
        [str(what) for _, what in asked] if words else (),
        () if words else [what for _, what in asked],
        part.relevant(),
        part.ignored(),
    )


def _words(query: Query, split: Split) -> str | None:
    if query.text is None and query.attributes and split.schema:
        return split.schema.sentence(query.attributes)
    return query.text


def _spread(size: int, count: int) -> list[int]:
    """At most `count` of the numbers below `size`, evenly spread."""
    return [i * size // min(count, size) for i in range(min(count, size))]


def rows_of(batches: Sequence[int]) -> dict[int, list[int]]:
    """Which items a batch of each size holds: item 0, further ones that no other batch has, item 0 again."""
    found, middle = {}, 1
    for b in batches:
        found[b] = [0, *range(middle, middle + b - 2), 0][-b:]
        middle += max(b - 2, 0)
    return found


def pictures(count: int, seed: int = 0) -> list[npt.NDArray[np.uint8]]:
    """`count` pictures (h, w, 3) uint8, each of another, mostly odd, size of 33 to 320 pixels a side."""
    return [_picture(np.random.default_rng([seed, i])) for i in range(count)]


def _picture(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    h, w = (int(v) for v in rng.integers((48, 33), (321, 161)))
    y, x = np.linspace(0, 1, h)[:, None, None], np.linspace(0, 1, w)[None, :, None]
    corners = rng.uniform(0, 255, (4, 3))
    light = (1 - y) * ((1 - x) * corners[0] + x * corners[1]) + y * ((1 - x) * corners[2] + x * corners[3])
    for _ in range(int(rng.integers(3, 9))):  # blocks of cloth, with stripes on every other one
        top, left = int(rng.integers(0, h - 8)), int(rng.integers(0, w - 8))
        tall, wide = int(rng.integers(8, h - top + 1)), int(rng.integers(8, w - left + 1))
        block = np.broadcast_to(rng.uniform(0, 255, 3), (tall, wide, 3)).copy()
        if rng.random() < 0.5:
            block[:: int(rng.integers(2, 9))] = rng.uniform(0, 255, 3)
        light[top : top + tall, left : left + wide] = block
    light = (light - 128) * rng.uniform(0.3, 1.6) + rng.uniform(60, 190)
    light += rng.normal(0, rng.uniform(0, 25), light.shape)
    return np.ascontiguousarray(np.clip(light, 0, 255).astype(np.uint8))


def texts(count: int) -> list[str]:
    """`count` different texts: awkward ones and plain descriptions in turn, then descriptions only."""
    plain = _descriptions()
    out: list[str] = []
    for awkward in AWKWARD:
        out += [next(plain), awkward]
    while len(out) < count:
        out.append(next(plain))
    return out[:count]


def _descriptions() -> Iterator[str]:
    """Distinct sentences without end; neighbours differ in every part."""
    i = 0
    while True:
        who, colour, top = _WHO[i % 6], _COLOUR[(i // 6 + i) % 8], _TOP[(i // 48 + i) % 5]
        more = _MORE[(i // 240 + i) % 5]
        tail = f", number {i // 1200}" if i >= 1200 else ""
        yield f"A {who} in a {colour} {top} {more}".rstrip() + tail + "."
        i += 1
