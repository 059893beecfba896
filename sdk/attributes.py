"""An attribute schema: slots and their values, and the one prompt sentence that a set of them makes.

As JSON (in a bundle's manifest, in a checkpoint, beside a dataset)::

    {"name": "drawn",
     "slots": {"gender": {"male": "man", "female": "woman"},
               "hat": {"no": "without a hat", "yes": "wearing a hat"},
               "upper_color": {"red": "red", "unknown": ""}},
     "clauses": [["A {gender}", "A person"],
                 ["{hat}"],
                 ["wearing a {upper_color} top"]]}

A slot maps each value to its phrase; an empty phrase means the value says nothing. A clause lists its
wordings, most specific first; the first one whose slots are all given (with a phrase) is used, and a
clause with no such wording is left out. Clauses are joined by ", " and end with a full stop.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import AttributeValueError

_SLOT = re.compile(r"\{(\w+)\}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(n) for n in names)


@dataclass(frozen=True)
class Schema:
    """Slots with their values and phrases, and the clauses of the prompt sentence."""

    name: str
    slots: Mapping[str, Mapping[str, str]]
    clauses: Sequence[Sequence[str]]

    def __post_init__(self) -> None:
        for wording in (w for clause in self.clauses for w in clause):
            for slot in _SLOT.findall(wording):
                if slot not in self.slots:
                    raise AttributeValueError(
                        f"schema {self.name!r}: the wording {wording!r} names the slot {slot!r}, "
                        f"which it doesn't define; it defines {_listed(list(self.slots))}"
                    )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Schema:
        """Read the JSON form above; raises AttributeValueError naming what is missing."""
        try:
            slots = {slot: dict(values.items()) for slot, values in data["slots"].items()}
            clauses = tuple(tuple(clause) for clause in data["clauses"] if not isinstance(clause, str))
            texts = [
                data["name"],
                *slots,
                *(t for values in slots.values() for pair in values.items() for t in pair),
            ]
            texts += [wording for clause in clauses for wording in clause]
            if not all(isinstance(text, str) for text in texts) or len(clauses) < len(data["clauses"]):
                raise TypeError("a name, value, phrase or wording is not a string, or a clause is not a list")
            return cls(data["name"], slots, clauses)
        except (KeyError, AttributeError, TypeError) as error:
            raise AttributeValueError(
                f"attribute schema: {error!r}; needed are 'name', 'slots' {{slot: {{value: phrase}}}} "
                "and 'clauses' [[wording, …], …], all of strings"
            ) from error

    def to_json(self) -> dict[str, Any]:
        """The JSON form above."""
        return {
            "name": self.name,
            "slots": {slot: dict(values) for slot, values in self.slots.items()},
            "clauses": [list(clause) for clause in self.clauses],
        }

    def check(self, attributes: Mapping[str, str]) -> dict[str, str]:
        """The attributes in slot order; raises AttributeValueError listing what is known."""
        if not isinstance(attributes, Mapping) or not attributes:
            raise AttributeValueError(
                f"attributes: got {attributes!r}; give a dict of at least one of {_listed(list(self.slots))}"
            )
        for slot, value in attributes.items():
            if slot not in self.slots:
                near = difflib.get_close_matches(str(slot), list(self.slots), n=1)
                hint = f" (did you mean {near[0]!r}?)" if near else ""
                raise AttributeValueError(
                    f"attributes: unknown slot {slot!r}{hint}; "
                    f"schema {self.name!r} has {_listed(list(self.slots))}"
                )
            if not isinstance(value, str) or value not in self.slots[slot]:
                raise AttributeValueError(
                    f"attributes: {slot}={value!r} is unknown; "
                    f"{slot!r} takes {_listed(list(self.slots[slot]))}"
                )
        return {slot: attributes[slot] for slot in self.slots if slot in attributes}

    def sentence(self, attributes: Mapping[str, str]) -> str:
        """One prompt sentence, e.g. ``A woman, wearing a hat, wearing a red top.``

        Raises AttributeValueError for an unknown slot or value, and when the values given say nothing.
        """
        return self.spans(attributes)[0]

    def spans(self, attributes: Mapping[str, str]) -> tuple[str, dict[str, tuple[int, int]]]:
        """The sentence, and for each spoken slot the [start, end) characters of its phrase."""
        given = self.check(attributes)
        said = {slot: self.slots[slot][value] for slot, value in given.items() if self.slots[slot][value]}
        text, spans = "", {}
        for clause in self.clauses:
            wording = next((w for w in clause if all(s in said for s in _SLOT.findall(w))), None)
            if wording is None:
                continue
            text += ", " if text else ""
            at = 0
            for match in _SLOT.finditer(wording):
                text += wording[at : match.start()]
                spans[match[1]] = (len(text), len(text) + len(said[match[1]]))
                text += said[match[1]]
                at = match.end()
            text += wording[at:]
        if not text:
            raise AttributeValueError(
                f"attributes: {dict(attributes)!r} says nothing in schema {self.name!r} "
                "(its phrases are empty, or no clause speaks of them alone); add another slot"
            )
        return text + ".", spans

    @staticmethod
    def as_set(attributes: Mapping[str, str]) -> frozenset[tuple[str, str]]:
        """The attributes as a set of (slot, value), for overlap and equality."""
        return frozenset(attributes.items())
