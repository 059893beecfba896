"""What the kernels cost on this machine, beside its floors and their peers.

    python -m cpp_ext.bench                                   # every table, all three kinds of vectors
    python -m cpp_ext.bench --peers --rows search masks --items 200000 --data random --json search.json
    python -m cpp_ext.bench --peers --rows late mining

Each figure is the median of nine repetitions (fewer of what takes seconds), in which the kernel, the store
and the peers took turns; in brackets the least and the most. "Of floor" is the share of what the machine can
do at most, measured at the start of the run: reading the codes once, or multiplying them with every query,
whichever takes longer. "vs FAISS best, 4x" says that the fastest setting of FAISS' IndexFlatIP (its own loops
or BLAS, one thread or all) took four times as long as the kernel. Every result is compared: the kernel's and
the store's with the serial level, to the bit, and the peers' up to rounding. Whatever is wrong is printed
last, and then the exit status is 1.

Embeddings of a real model: after scripts/quickstart, this writes those of all its people, which
``--embeddings`` takes:

    python - runs/quickstart <<'P'
    import sys, numpy, pathlib, sdk
    root = pathlib.Path(sys.argv[1])
    finder = sdk.Retriever(root / "person.bundle")
    numpy.save(root / "people.npy", finder.embed_images(sorted((root / "people/imgs").rglob("*.jpg"))))
    P
"""

from __future__ import annotations

import json as formats
import sys
from pathlib import Path
from typing import Annotated, get_args

import tyro

from cpp_ext.bench import floors, machine, peers, plan, store, table
from cpp_ext.bench.plan import Kind, Plan, Table


def bench(
    rows: tuple[Table, ...] = get_args(Table),
    items: tuple[int, ...] = Plan.items,
    data: tuple[Kind, ...] = get_args(Kind),
    embeddings: Path | None = None,
    repetitions: int = Plan.repetitions,
    with_peers: Annotated[bool, tyro.conf.arg(name="peers"), tyro.conf.FlagCreatePairsOff] = False,
    json: Path | None = None,
) -> int:
    """Measure, print the tables, and return 1 if any result was wrong.

    Args:
        rows: which tables.
        items: gallery sizes of the tables "search" and "masks".
        data: vectors of these two tables.
        embeddings: a .npy file (m, d) of floats, as one more gallery; 1,024 of its rows become the queries.
        repetitions: of every figure.
        with_peers: measure the peers too; they come with the extra "bench".
        json: also write everything to this file.
    """
    if with_peers:
        peers.require()
    threads = floors.processors()
    known = machine.describe(("numpy", *(peers.PACKAGES.values() if with_peers else ())))
    found = store.registered()
    known["store"] = (
        found[0] if found else f"none: no installed package names one in {store.GROUP}; install again"
    )
    ceilings = floors.measure(sorted({1, threads}))
    print(table.header(known, ceilings), flush=True)
    sizes = Plan(items=items, repetitions=repetitions)
    measured = []
    for row in plan.run(sizes, rows, data, embeddings, ceilings, threads, with_peers, found):
        measured.append(row)
        print(f"{row.table} {' '.join(row.case.values())}: {row.runs.median:.4g} {row.unit}", file=sys.stderr)
    print(f"\n{table.tables(measured)}")
    if json is not None:
        json.write_text(formats.dumps(table.as_json(known, ceilings, measured), indent=1), "utf-8")
    faults = table.faults(measured)
    if faults:
        print("\nWRONG RESULTS:", *faults, sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(tyro.cli(bench, description=__doc__))
