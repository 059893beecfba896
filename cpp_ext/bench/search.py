"""Search a gallery without a mask: the kernel, the store on it, and the peers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cpp_ext.bench.agreement import Oracle, near_ties, oracle, recall, same_bits
from cpp_ext.bench.gallery import Given
from cpp_ext.bench.peers import Peer, SearchPeers
from cpp_ext.bench.row import Other, Row
from cpp_ext.bench.timing import Runs, paired


def rows(given: Given, counts: Sequence[int], k: int, peers: bool) -> Iterator[Row]:
    """For each number of queries on all threads, and one query on one thread too."""
    queries, gallery = given.vectors.queries[: max(counts)], given.vectors.rows
    truth = oracle(queries, gallery, k)
    others = SearchPeers(gallery, given.threads) if peers else None
    for n in counts:
        for threads in sorted({1, given.threads}) if n == 1 else (given.threads,):
            yield _row(given, truth, n, k, threads, [] if others is None else others.of(n, threads))


def _row(given: Given, truth: Oracle, n: int, k: int, threads: int, peers: Sequence[Peer]) -> Row:
    queries = given.vectors.queries[:n]
    ours = given.ways(queries, k, threads, None)
    times, results = paired({**ours, **{p.name: p.way(queries, k) for p in peers}}, given.repetitions)
    faults: list[str | None] = [*truth.faults, *wrong(given, results, truth, n)]
    others = []
    for peer in peers:
        found = results[peer.name]
        if peer.exact:
            faults.append(near_ties(peer.name, found, queries, given.vectors.rows, truth.first(n)))
        known = None if peer.exact else recall(found, truth.indices[:n])
        others.append(Other(peer.name, times[peer.name], peer.columns, known))
    return Row(
        "search",
        {**given.case, "k": str(k), "Q": str(n), "threads": str(threads)},
        times["kernel"],
        floor=given.floor(n, threads),
        store=stored(given, times),
        others=tuple(others),
        checked=truth.source,
        faults=tuple(fault for fault in faults if fault is not None),
    )


def stored(given: Given, times: dict[str, Runs]) -> Other | None:
    """What the store's own search took, if there is one."""
    return None if given.store is None else Other(given.store_name, times[given.store_name], ())


def wrong(given: Given, results: dict[str, Any], truth: Oracle, n: int) -> list[str | None]:
    """Where the kernel or the store found something else than the oracle."""
    found = [same_bits("the kernel", results["kernel"], truth.first(n))]
    if given.store is not None:
        hits = given.store.found(results[given.store_name])
        found.append(same_bits(given.store_name, hits, truth.first(n)))
    return found
