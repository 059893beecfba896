"""Search a part of a gallery: with a mask, against the same search without one."""

from __future__ import annotations

from collections.abc import Iterator

from cpp_ext.bench.agreement import oracle
from cpp_ext.bench.gallery import Given
from cpp_ext.bench.row import Other, Row
from cpp_ext.bench.search import stored, wrong
from cpp_ext.bench.timing import paired


def rows(given: Given, n: int, k: int) -> Iterator[Row]:
    """For every mark of the gallery: ``n`` queries on all threads, taking turns with the unmasked search."""
    queries = given.vectors.queries[:n]
    for share, mask in given.marks.items():
        truth = oracle(queries, given.vectors.rows, k, mask=mask)
        whole = given.ways(queries, k, given.threads, None)["kernel"]
        ways = {**given.ways(queries, k, given.threads, share), "unmasked": whole}
        times, results = paired(ways, given.repetitions)
        yield Row(
            "masks",
            {
                **given.case,
                "k": str(k),
                "Q": str(n),
                "threads": str(given.threads),
                "share let through": share,
            },
            times["kernel"],
            store=stored(given, times),
            others=(Other("unmasked", times["unmasked"], ("unmasked",)),),
            checked=truth.source,
            faults=tuple(f for f in (*truth.faults, *wrong(given, results, truth, n)) if f is not None),
        )
