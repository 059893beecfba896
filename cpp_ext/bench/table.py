"""The result as Markdown tables for people and documents, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cpp_ext.bench.floors import Floors
from cpp_ext.bench.row import Row


def header(machine: Mapping[str, str], floors: Floors) -> str:
    lines = [f"{name}: {value}" for name, value in machine.items()]
    read = ", ".join(f"{rate:.1f} GB/s on {_threads(count)}" for count, rate in floors.read.items())
    lines.append(f"floor, reading: {read}")
    for what, rates in (("float32", floors.fma), ("int8", floors.mac)):
        for level, by_threads in rates.items():
            each = ", ".join(f"{rate:.0f} GMAC/s on {_threads(count)}" for count, rate in by_threads.items())
            lines.append(f"floor, {what} multiply-adds, {level}: {each}")
    return "\n".join(lines)


def tables(rows: Sequence[Row]) -> str:
    """One table per kind of row; a column that no row of it fills isn't shown."""
    kinds = list(dict.fromkeys(row.table for row in rows))
    return "\n\n".join(_table([row for row in rows if row.table == kind]) for kind in kinds)


def faults(rows: Iterable[Row]) -> list[str]:
    """What isn't right, with the row it was found in."""
    return [
        f"{row.table}, {', '.join(f'{key} {value}' for key, value in row.case.items())}: {fault}"
        for row in rows
        for fault in row.faults
    ]


def as_json(machine: Mapping[str, str], floors: Floors, rows: Sequence[Row]) -> dict[str, Any]:
    """Every row carries machine, date and level, so that rows of many runs can be put together."""
    origin = {key: machine[key] for key in ("machine", "date", "level")}
    return {
        "machine": dict(machine),
        "floors": {"GB/s": floors.read, "float32 GMAC/s": floors.fma, "int8 GMAC/s": floors.mac},
        "rows": [{**origin, **row.as_json()} for row in rows],
    }


def _table(rows: Sequence[Row]) -> str:
    case = list(dict.fromkeys(key for row in rows for key in row.case))
    others = list(dict.fromkeys(column for row in rows for column in row.columns()))
    facts = list(dict.fromkeys(key for row in rows for key in row.facts))
    stores = list(dict.fromkeys(row.store.name for row in rows if row.store is not None))
    titles = [*case, rows[0].unit, "of floor", *stores, *(f"vs {column}" for column in others), *facts]
    cells = [
        [
            *(row.case.get(key, "") for key in case),
            _figure(row),
            _share(row),
            *(_store(row, name) for name in stores),
            *(_ratio(row, column) for column in others),
            *(_number(row.facts.get(key)) for key in facts),
        ]
        for row in rows
    ]
    shown = [i for i in range(len(titles)) if any(line[i] for line in cells)]
    lines = [[line[i] for i in shown] for line in (titles, *cells)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(shown))]
    lines.insert(1, ["-" * width for width in widths])
    text = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines]
    checked = list(dict.fromkeys(row.checked for row in rows if row.checked))
    return "\n".join([f"### {rows[0].table}", "", *text, *([""] if checked else []), *checked])


def _figure(row: Row) -> str:
    least, most = min(row.runs.each), max(row.runs.each)
    between = f" ({_number(least)} … {_number(most)})" if len(row.runs.each) > 1 else " (once)"
    return _number(row.runs.median) + between


def _share(row: Row) -> str:
    return "" if row.floor is None or row.share is None else f"{row.share:.2f} ({row.floor.bound})"


def _store(row: Row, name: str) -> str:
    if row.store is None or row.store.name != name:
        return ""
    more = row.store.runs.median - row.runs.median
    return f"{_number(row.store.runs.median)} ({row.store.runs.over(row.runs) - 1:+.1%}, {more:+.2f} ms)"


def _ratio(row: Row, column: str) -> str:
    found = row.ratio(column)
    if found is None:
        return ""
    other, ratio = found
    recall = "" if other.recall is None else f" at recall {other.recall:.3f}"
    return f"{_number(ratio)}x{recall}"


def _number(value: Any) -> str:
    """Three figures of a number, everything of a text."""
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _threads(count: int) -> str:
    return f"{count} thread{'s'[: count != 1]}"
