"""``python -m cpp_ext.bench`` at tiny sizes: what it shows, and that it notices wrong results."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

import cpp_ext
from cpp_ext.bench import agreement, floors, machine, mining, peers, plan, store, table, timing
from cpp_ext.bench.__main__ import bench
from cpp_ext.bench.floors import Floor, Floors
from cpp_ext.bench.row import Other, Row
from cpp_ext.bench.timing import Runs, Way
from sdk.gallery.reopened import reopened

TINY = plan.Plan(
    items=(300,), dim=48, queries=(1, 3), masked_queries=3, late=(40, 3, 20, 2), top_tokens=(2,), batch=24,
    memory_batch=24, repetitions=2,
)  # fmt: skip
STORE = ("Gallery.search", reopened)


@pytest.fixture(scope="module")
def ceilings() -> Floors:
    return floors.measure((1, 2), seconds=1e-4, size=1 << 20, tries=1)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(timing, "BURST", 1e-4)


@pytest.fixture
def no_memory(monkeypatch):
    """Memory is measured in processes of its own, which take seconds."""
    monkeypatch.setattr("cpp_ext.bench.memory.peak", lambda *_: 1.0)


def run(ceilings, *tables, kinds=("random",), with_store=STORE):
    return list(plan.run(TINY, tables, kinds, None, ceilings, 2, False, with_store))


def test_every_table_has_its_rows_and_nothing_is_wrong(ceilings, no_memory):
    rows = run(ceilings, "search", "masks", "late", "mining", kinds=("random", "cone"))
    assert [row.table for row in rows] == [
        *(["packing", "search", "search", "search", "masks", "masks"] * 2),
        "late similarity", "late similarity: memory of a search",
        "mining: loss and gradient", "mining: memory of loss and gradient",
    ]  # fmt: skip
    searches = [row for row in rows if row.table == "search"]
    assert [(r.case["data"], r.case["Q"], r.case["threads"]) for r in searches] == [
        (kind, q, t) for kind in ("random", "cone") for q, t in (("1", "1"), ("1", "2"), ("3", "2"))
    ]
    assert all(row.store is not None and row.share is not None for row in searches)
    assert {row.case["share let through"] for row in rows if row.table == "masks"} == {"0.5", "0.01"}
    assert table.faults(rows) == []
    shown = table.tables(rows)
    for row in rows:
        assert f"### {row.table}\n" in shown
    assert "| Gallery.search " in shown
    assert "serial level for 3 of 3 queries" in shown


def test_a_file_of_embeddings_is_one_more_gallery(ceilings, tmp_path, real):
    np.save(tmp_path / "people.npy", real(100, 20))
    rows = list(plan.run(TINY, ("masks",), (), tmp_path / "people.npy", ceilings, 1, False, None))
    assert [(row.case["data"], row.case["N"], row.case["d"]) for row in rows] == [("people", "97", "20")] * 3
    assert table.faults(rows) == []


def test_json_says_of_every_row_where_when_and_at_which_level(ceilings):
    rows = run(ceilings, "search")
    about = machine.describe(("numpy",))
    written = json.loads(json.dumps(table.as_json(about, ceilings, rows)))
    assert written["machine"]["numpy"] == np.__version__
    assert len(written["rows"]) == len(rows)
    for row in written["rows"]:
        assert row["machine"]
        assert row["date"] == about["date"]
        assert row["level"] == cpp_ext.level()
        assert row["least"] <= row["median"] <= row["most"]
    assert {row["floor"]["bound"] for row in written["rows"] if row["floor"]} <= {"read", "multiply"}


def test_the_command_prints_writes_and_succeeds(ceilings, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(floors, "measure", lambda _: ceilings)
    monkeypatch.setattr(store, "registered", lambda: None)
    monkeypatch.setattr("cpp_ext.bench.__main__.Plan", lambda items, repetitions: TINY)
    target = tmp_path / "bench.json"
    assert bench(rows=("masks",), data=("clustered",), json=target) == 0
    said = capsys.readouterr().out
    for wanted in ("machine: ", "level: ", "date: ", "store: none", "floor, reading: ", "### masks"):
        assert wanted in said
    assert len(json.loads(target.read_text())["rows"]) == 3


def spoilt(found):
    """The first hit's score one unit in the last place off."""
    scores = found[1].copy()
    scores[0, 0] = np.nextafter(scores[0, 0], np.float32(9))
    return found[0], scores


def test_a_wrong_kernel_is_a_fault_and_fails_the_command(ceilings, monkeypatch, capsys):
    honest = cpp_ext.topk

    def wrong(queries, gallery, *args, **kwargs):
        found = honest(queries, gallery, *args, **kwargs)
        return spoilt(found) if isinstance(gallery, cpp_ext.Packed) else found

    monkeypatch.setattr(cpp_ext, "topk", wrong)
    for row in run(ceilings, "search", "masks", "late", with_store=None):
        assert ("the kernel" in " ".join(row.faults)) == (row.unit == "ms" and row.table != "packing")
    monkeypatch.setattr(floors, "measure", lambda _: ceilings)
    monkeypatch.setattr(store, "registered", lambda: None)
    monkeypatch.setattr("cpp_ext.bench.__main__.Plan", lambda items, repetitions: TINY)
    assert bench(rows=("search",), data=("random",)) == 1
    assert "WRONG RESULTS" in capsys.readouterr().out


def test_a_wrong_scan_is_found_by_the_serial_level(ceilings, monkeypatch):
    honest = cpp_ext.topk
    monkeypatch.setattr(
        cpp_ext,
        "topk",
        lambda *a, **k: honest(*a, **k) if k.get("level") == "serial" else spoilt(honest(*a, **k)),
    )
    assert all("unscreened scan" in row.faults[0] for row in run(ceilings, "masks", with_store=None)[1:])


def test_a_wrong_store_is_a_fault(ceilings):
    @contextmanager
    def shifted(rows, marks):
        with reopened(np.roll(rows, 1, axis=0), marks) as opened:
            yield opened

    rows = run(ceilings, "search", with_store=("Gallery.search", shifted))
    assert all(row.faults and row.faults[0].startswith("Gallery.search: ") for row in rows[1:])


def test_a_wrong_loss_gradient_or_triplet_is_a_fault(ceilings, monkeypatch, no_memory):
    honest, search = mining._ours, cpp_ext.hard_triplets
    monkeypatch.setattr(mining, "_ours", lambda *a: 1.001 * honest(*a))
    assert "the loss is" in run(ceilings, "mining")[0].faults[0]
    monkeypatch.setattr(
        mining, "_ours", lambda a, o, i, m: honest(a, o, i, m) + 1e-3 * (a - a.detach()).sum()
    )
    assert "a gradient is off" in run(ceilings, "mining")[0].faults[0]
    monkeypatch.setattr(mining, "_ours", honest)
    assert run(ceilings, "mining")[0].faults == ()

    def swapped(*args, level, **kwargs):
        found = search(*args, level=level, **kwargs)
        return found if level == "serial" else type(found)(*reversed(found))

    monkeypatch.setattr(cpp_ext, "hard_triplets", swapped)
    assert "differs from the serial level's" in run(ceilings, "mining")[0].faults[0]


def test_same_bits():
    found = (np.array([[3, 1]]), np.array([[0.5, 0.0]], np.float32))
    assert agreement.same_bits("x", found, (found[0].copy(), found[1].copy())) is None
    assert "query 0, place 1: row 2" in agreement.same_bits("x", (np.array([[3, 2]]), found[1]), found)
    assert "place 0" in agreement.same_bits("x", spoilt(found), found)
    assert "place 1" in agreement.same_bits("x", (found[0], np.array([[0.5, -0.0]], np.float32)), found)
    assert "shape" in agreement.same_bits("x", (found[0][:, :1], found[1][:, :1]), found)


def test_near_ties_excuse_rounding_and_nothing_else(real):
    gallery = real(50, 32)
    gallery[7] = gallery[3] * np.float32(1 + 1e-7)
    queries = gallery[3:4].copy()
    meant = cpp_ext.topk(queries, gallery, 1)
    other = {3: 7, 7: 3}[int(meant[0][0, 0])]
    assert agreement.near_ties("x", np.array([[other]]), queries, gallery, meant) is None
    assert "row 20" in agreement.near_ties("x", np.array([[20]]), queries, gallery, meant)
    two = cpp_ext.topk(queries, gallery, 2)
    assert "one twice" in agreement.near_ties("x", np.array([[3, 3]]), queries, gallery, two)
    assert "none where there is one" in agreement.near_ties("x", np.array([[3, -1]]), queries, gallery, two)
    assert agreement.recall(np.array([[3, 20]]), two[0]) == 0.5


def test_floors_are_positive_and_count_what_they_did(ceilings):
    fast = set(cpp_ext.LEVELS) - {"serial"}
    assert set(ceilings.read) == {1, 2}
    assert min(ceilings.read.values()) > 0
    assert "serial" in ceilings.fma
    assert set(ceilings.mac) == fast
    assert all(
        rate > 0 for rates in (*ceilings.fma.values(), *ceilings.mac.values()) for rate in rates.values()
    )
    from cpp_ext import _core

    pages = np.ones(3 * 4096, np.uint8)
    assert _core.run_floor("serial", "read", pages, 0, 5, 3)[0] == 5 * pages.size
    assert _core.run_floor("serial", "read", pages, 512, 5, 2)[0] == 5 * 2 * 4096  # whole pages per thread
    assert _core.run_floor("serial", "mac", pages, 0, 5, 1)[0] == 0
    assert _core.run_floor("no such level", "read", pages, 0, 5, 1)[0] == 0
    with pytest.raises(ValueError, match="no loop copy; there are read, fma, mac"):
        _core.run_floor("serial", "copy", pages, 0, 5, 1)


def test_a_floor_is_the_longer_of_reading_and_multiplying():
    known = Floors(
        {1: 10.0, 2: 20.0}, {"a": {1: 5.0, 2: 10.0}}, {"a": {1: 50.0, 2: 99.0}, "b": {1: 40.0, 2: 100.0}}
    )
    assert known.scan(1e9, 1e9, 1) == Floor(100.0, "read")
    assert known.scan(1e9, 1e10, 1) == Floor(200.0, "multiply")
    assert known.scan(1e9, 1e10, 2) == Floor(100.0, "multiply")
    assert known.product(1e9, 1e9, 1) == Floor(200.0, "multiply")


def test_ways_take_turns_inside_their_surroundings():
    calls = []

    @contextmanager
    def around():
        calls.append("in")
        yield
        calls.append("out")

    ways = {
        "a": Way(lambda: calls.append("a")),
        "b": Way(lambda: calls.append("b") or time.sleep(2e-3), around),
    }
    times, results = timing.paired(ways, 3)
    turns = [call for i, call in enumerate(calls) if i == 0 or call != calls[i - 1]]
    assert turns == ["a", "in", "b", "out"] * 4  # one round to warm up
    assert [len(times[name].each) for name in "ab"] == [3, 3]
    assert min(times["b"].each) >= 2.0
    assert results == {"a": None, "b": None}


def test_a_way_beyond_patience_has_its_first_run_only():
    count = []
    times, _ = timing.paired({"slow": Way(lambda: count.append(1), patience=0.0)}, 5)
    assert (len(count), len(times["slow"].each)) == (1, 1)


def test_ratios_are_of_turns_and_columns_of_the_fastest():
    ours = Runs((1.0, 2.0, 4.0))
    assert Runs((3.0, 6.0)).over(ours) == 3.0
    others = (
        Other("one", Runs((8.0, 8.0)), ("default", "best")),
        Other("two", Runs((4.0, 4.0)), ("best",), 0.5),
    )
    row = Row("search", {"Q": "1"}, ours, floor=Floor(1.5, "read"), others=others)
    assert row.ratio("default") == (others[0], 6.0)
    assert row.ratio("best") == (others[1], 3.0)
    assert row.ratio("none") is None
    assert row.share == 0.75
    shown = table.tables([row])
    assert "vs default" in shown
    assert "3x at recall 0.500" in shown
    assert "0.75 (read)" in shown


def test_a_spinning_thread_is_waited_for_and_then_refused():
    stop = threading.Event()

    def spin():
        while not stop.is_set():
            pass

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="a thread of this process has been computing"):
            timing.quiet(0.1)
    finally:
        stop.set()
        thread.join()
    timing.quiet()


def test_missing_peers_are_named_with_the_extra(monkeypatch):
    monkeypatch.setitem(peers.PACKAGES, "no_such_module", "no-such-package")
    with pytest.raises(ImportError, match=r"(?s)no-such-package.*pip install .*\[bench\]"):
        bench(with_peers=True)
