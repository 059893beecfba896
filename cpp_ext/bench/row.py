"""One line of the result: a case, our figure, and what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cpp_ext.bench.floors import Floor
from cpp_ext.bench.timing import Runs


@dataclass(frozen=True)
class Other:
    """The same work done another way."""

    name: str
    runs: Runs
    columns: tuple[str, ...]  # of the table; a column shows the fastest of its others
    recall: float | None = None  # of one that isn't exact


@dataclass(frozen=True)
class Row:
    """``case`` is what tells the rows of a table apart, by column. A fault is a result that isn't right."""

    table: str
    case: dict[str, str]
    runs: Runs
    unit: str = "ms"
    floor: Floor | None = None
    store: Other | None = None
    others: tuple[Other, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    checked: str = ""
    faults: tuple[str, ...] = ()

    @property
    def share(self) -> float | None:
        """Of the floor that was reached: 1 is all the machine can do."""
        return None if self.floor is None else self.floor.ms / self.runs.median

    def columns(self) -> list[str]:
        """Of its others, in their order."""
        return list(dict.fromkeys(column for other in self.others for column in other.columns))

    def ratio(self, column: str) -> tuple[Other, float] | None:
        """The fastest of a column's others, and how many times our figure it took."""
        found = [other for other in self.others if column in other.columns]
        if not found:
            return None
        best = min(found, key=lambda other: other.runs.median)
        return best, best.runs.over(self.runs)

    def as_json(self) -> dict[str, Any]:
        def figures(runs: Runs) -> dict[str, Any]:
            least, most = min(runs.each), max(runs.each)
            return {"median": runs.median, "least": least, "most": most, "each": list(runs.each)}

        def other(it: Other) -> dict[str, Any]:
            known = {} if it.recall is None else {"recall": it.recall}
            return {"name": it.name, **figures(it.runs), "ratio": it.runs.over(self.runs), **known}

        floor = None
        if self.floor is not None:
            floor = {"ms": self.floor.ms, "bound": self.floor.bound, "share": self.share}
        ratios = {column: self.ratio(column) for column in self.columns()}
        return {
            "table": self.table,
            "case": self.case,
            "unit": self.unit,
            **figures(self.runs),
            "floor": floor,
            "store": None if self.store is None else other(self.store),
            "others": [other(it) for it in self.others],
            "columns": {
                name: {"by": r[0].name, "ratio": r[1]} for name, r in ratios.items() if r is not None
            },
            "facts": self.facts,
            "checked": self.checked,
            "faults": list(self.faults),
        }
