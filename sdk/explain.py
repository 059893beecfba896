"""Why a hit has its score: what each part of the query gave, what each attribute changed, which tokens spoke.

A search vector is a sum of terms (text, image, -without, each divided by the length of the sum), and a
score is linear in it, so ``parts`` add up to the score. Where a query isn't a sum (a prompt sentence, a
composer graph), ``effects`` say how much the score falls when one ingredient is left out; these do not
add up to anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .encoder import Encoder
from .errors import AttributeValueError, InputError
from .queries import Asked, encode, total
from .recognition import recognise
from .types import Floats, Gallery, Hits, Id, Query, Ranking

Doubles: TypeAlias = npt.NDArray[np.float64]

# Between the gallery's fp32 sum in its own order and a sum in fp64; more means another vector.
AGREE = 1e-4


@dataclass(frozen=True)
class Seen:
    """What the item's vector says of one slot of an attribute query.

    ``asked``: the query's value, and its ``probability``. ``likeliest``: the value that the item most
    probably has, and its probability, ``certainty``. ``matches``: they are the same value.
    """

    asked: str
    probability: float
    likeliest: str
    certainty: float

    @property
    def matches(self) -> bool:
        return self.asked == self.likeliest


@dataclass(frozen=True)
class Explanation:
    """One hit's score taken apart.

    ``parts``: term → its share, adding up to ``score``. ``effects``: slot (or "image", "text" for a
    composer) → how much the score falls without it. ``tokens``: the item's tokens that count, best
    first, as (index, dot product); empty for items of one vector. ``sentence``: what the attributes said.
    ``attributes``: slot asked for → what the item seems to have; empty when the query has no attributes or
    the bundle no graph that tells (``sdk.recognition``). It takes no part in the score.
    """

    id: Id
    score: float
    parts: dict[str, float]
    effects: dict[str, float] = field(default_factory=dict)
    tokens: tuple[tuple[int, float], ...] = ()
    sentence: str | None = None
    attributes: dict[str, Seen] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain data; of each attribute asked for also whether it ``matches``."""
        seen = {slot: {**asdict(one), "matches": one.matches} for slot, one in self.attributes.items()}
        return {**asdict(self), "attributes": seen}

    def __str__(self) -> str:
        lines = [f"{self.score:+.4f}  {self.id}"]
        lines += [f"  {share:+.4f}  {name}" for name, share in self.parts.items()]
        lines += [f"  {effect:+.4f}  lost without {name}" for name, effect in self.effects.items()]
        lines += [f"  {dot:+.4f}  token {index}" for index, dot in self.tokens]
        lines += [f"  asked: {self.sentence}"] if self.sentence else []
        lines += [_line(slot, seen) for slot, seen in self.attributes.items()]
        return "\n".join(lines)


def explain(hits: Hits | Ranking, encoder: Encoder, gallery: Gallery) -> list[list[Explanation]]:
    """For each query the explanation of each of its hits, best first.

    Raises InputError when the hits hold no query (they came from ``gallery.search``), when an item is no
    longer in the gallery, or when query or item gave another vector at the time of the search.
    """
    rankings = [hits] if isinstance(hits, Ranking) else list(hits)
    return [_explain_one(ranking, encoder, gallery) for ranking in rankings]


def _explain_one(ranking: Ranking, encoder: Encoder, gallery: Gallery) -> list[Explanation]:
    query = ranking.query
    if query is None or query.vector is None:
        raise InputError("hits: they hold no query; explain takes the hits of Retriever.search")
    ids = [hit.id for hit in ranking]
    if not ids:
        return []
    rows = gallery.get(ids)
    items = [row.vector for row in rows if row is not None]
    if len(items) < len(rows):
        gone = ids[[row is None for row in rows].index(True)]
        raise InputError(f"hits: {gone!r} is no longer in the gallery; search again")
    vectors = np.stack(items).astype(np.float64)
    vectors = vectors[:, None] if vectors.ndim == 2 else vectors  # (k, t, d)
    terms = _terms(query, encoder)
    dots = vectors @ total(terms)[0].astype(np.float64)  # (k, t)
    best = np.argsort(-dots, axis=1, kind="stable")[:, : encoder.bundle.space.top_tokens]
    shares = {name: _score(vectors, term[0], best) for name, term in terms.items()}
    scores = np.sum(list(shares.values()), axis=0)
    effects = _effects(query, encoder, vectors, scores)
    seen = _seen(query, encoder, np.stack(items))
    explanations = []
    for place, identity in enumerate(ids):
        given = float(ranking.scores[place])
        if abs(scores[place] - given) > AGREE:
            raise InputError(
                f"hits: {identity!r} scored {given:+.4f} then and {scores[place]:+.4f} now; "
                "the item was updated, or another model searched; search again"
            )
        tokens = tuple((int(t), float(dots[place, t])) for t in best[place]) if vectors.shape[1] > 1 else ()
        explanations.append(
            Explanation(
                identity,
                given,
                {name: float(share[place]) for name, share in shares.items()},
                {name: float(effect[place]) for name, effect in effects.items()},
                tokens,
                encoder.sentences([query.attributes])[0] if query.attributes else None,
                seen[place],
            )
        )
    return explanations


def _terms(query: Query, encoder: Encoder) -> dict[str, Floats]:
    """The named terms of one query, each (1, d)."""
    asked = Asked(
        query.kind,
        1,
        text=_listed(query.text),
        attributes=_listed(query.attributes),
        image=_listed(query.image),
        without=_listed(query.without),
        vector=query.vector[None] if query.kind == "vector" and query.vector is not None else None,
        compose=query.compose,
    )
    return encode(asked, encoder)


def _seen(query: Query, encoder: Encoder, vectors: Floats) -> list[dict[str, Seen]]:
    """Per item, each slot of the query beside what the bundle's graph ``attributes`` says of it."""
    asked = query.attributes or {}
    known = recognise(encoder.bundle, encoder.session, vectors) if asked else None
    if known is None:
        return [{} for _ in vectors]
    seen: list[dict[str, Seen]] = []
    for item in known:
        best = {slot: max(item[slot], key=item[slot].__getitem__) for slot in asked}
        seen.append({s: Seen(v, item[s][v], best[s], item[s][best[s]]) for s, v in asked.items()})
    return seen


def _line(slot: str, seen: Seen) -> str:
    if seen.matches:
        return f"  matches {slot}={seen.asked} ({seen.probability:.0%})"
    return f"  {slot}={seen.asked} seems {seen.likeliest} ({seen.certainty:.0%})"


def _score(vectors: Doubles, term: Floats, best: npt.NDArray[np.intp]) -> Doubles:
    """(k,): the mean over each item's counting tokens of their dot products with one term."""
    dots = vectors @ term.astype(np.float64)
    return np.asarray(np.take_along_axis(dots, best, axis=1).mean(axis=1))


def _effects(query: Query, encoder: Encoder, vectors: Doubles, scores: Doubles) -> dict[str, Doubles]:
    """(k,) per ingredient: the score minus the score of the query without it."""
    effects = {}
    for name, poorer in _poorer(query, encoder).items():
        dots = np.sort(vectors @ total(_terms(poorer, encoder))[0].astype(np.float64), axis=1)
        effects[name] = scores - dots[:, -encoder.bundle.space.top_tokens :].mean(axis=1)
    return effects


def _poorer(query: Query, encoder: Encoder) -> dict[str, Query]:
    """The same query with one ingredient left out, as far as that is still a query."""
    if query.kind == "composed" and query.compose == "bundle":
        alone: dict[str, tuple[str, Query]] = {
            "text": ("query.image", replace(query, kind="image", text=None, compose=None)),
            "image": ("query.text", replace(query, kind="text", image=None, compose=None)),
        }
        return {name: other for name, (role, other) in alone.items() if role in encoder.bundle.roles}
    poorer = {}
    for slot in query.attributes or {}:
        rest: Mapping[str, str] = {s: v for s, v in (query.attributes or {}).items() if s != slot}
        try:
            encoder.sentences([rest])
        except AttributeValueError:  # this slot was all that was said
            continue
        poorer[slot] = replace(query, attributes=rest)
    return poorer


def _listed(value: object) -> list[object]:
    return [] if value is None else [value]
