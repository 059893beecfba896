"""The peers find what the kernel finds, each in the setting it is named for; they need the extra "bench"."""

from __future__ import annotations

import pytest

from cpp_ext.bench import agreement, data, peers, plan, search, timing
from cpp_ext.bench.floors import Floors
from cpp_ext.bench.gallery import given

CEILINGS = Floors({1: 1.0, 2: 1.0}, {"a": {1: 1.0, 2: 1.0}}, {"a": {1: 1.0, 2: 1.0}})


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(timing, "BURST", 1e-4)


@pytest.fixture
def faiss():
    for module in peers.PACKAGES:
        pytest.importorskip(module)
    return pytest.importorskip("faiss")


def test_a_search_is_compared_with_every_peer(faiss):
    vectors = data.drawn("clustered", 1200, 64, 5)
    with given(vectors, (), None, CEILINGS, 2, 2) as gallery:
        one, two, five = search.rows(gallery, (1, 5), 10, peers=True)
    for row in (one, two, five):
        assert row.faults == ()
        assert row.columns() == [
            "FAISS default", "FAISS best", "FAISS SQ8", "FAISS Panorama", "usearch exact", "NumPy", "torch",
        ]  # fmt: skip
        assert [other.recall is not None for other in row.others].count(True) == 1
    assert [other.name for other in one.others[:5]] == [
        "FAISS, 1 thread", "FAISS, BLAS forced, 1 thread",
        "FAISS, 2 threads", "FAISS, BLAS forced, 2 threads", "FAISS SQ8, 1 thread",
    ]  # fmt: skip


def test_a_peer_with_a_wrong_row_is_a_fault(faiss, monkeypatch):
    monkeypatch.setattr(peers, "_numpy", lambda rows, queries, k: peers._torch(rows, -queries, k))
    with given(data.drawn("random", 300, 32, 2), (), None, CEILINGS, 1, 1) as gallery:
        [row] = search.rows(gallery, (2,), 3, peers=True)
    assert len(row.faults) == 1
    assert row.faults[0].startswith("NumPy, 1 thread: query 0 has row")


def test_blas_is_forced_only_where_it_is_not_the_default_and_left_as_it_was(faiss):
    vectors = data.drawn("random", 400, 64, 3)
    before = faiss.cvar.distance_compute_blas_threshold, faiss.omp_get_max_threads()
    found = peers.SearchPeers(vectors.rows, 1)
    assert any("BLAS forced" in peer.name for peer in found.of(3, 1))
    assert not any("BLAS forced" in peer.name for peer in found.of(before[0] // 64, 1))
    seen = []
    index = found._flat
    found._flat = type(
        "Spy", (), {"search": lambda self, q, k: seen.append(threshold()) or index.search(q, k)}
    )()

    def threshold():
        return faiss.cvar.distance_compute_blas_threshold

    for peer in found.of(3, 1)[:2]:
        with peer.around():
            peer.search(vectors.queries, 5)
    assert seen == [before[0], 1]
    assert (faiss.cvar.distance_compute_blas_threshold, faiss.omp_get_max_threads()) == before


def test_large_problems_are_taken_in_blocks_or_left_out(faiss, monkeypatch):
    vectors = data.drawn("random", 400, 64, 7)
    meant = agreement.oracle(vectors.queries, vectors.rows, 4)
    monkeypatch.setattr(peers, "SCORES", 800)  # two queries at a time
    monkeypatch.setattr(peers, "PAIRS", 2799)
    listed = peers.SearchPeers(vectors.rows, 1).of(7, 1)
    assert "usearch exact" not in {peer.columns[0] for peer in listed}
    for peer in listed[-2:]:
        found = peer.search(vectors.queries, 4)
        assert agreement.near_ties(peer.name, found, vectors.queries, vectors.rows, meant.first(7)) is None


def test_panorama_is_left_out_where_distances_order_otherwise(faiss):
    vectors = data.drawn("random", 400, 64, 1)
    longer = peers.SearchPeers(vectors.rows * 2, 1)
    assert "FAISS Panorama" not in {peer.columns[0] for peer in longer.of(1, 1)}


def test_late_similarity_and_mining_agree_with_their_peers(faiss, monkeypatch):
    monkeypatch.setattr("cpp_ext.bench.memory.peak", lambda *_: 1.0)
    sizes = plan.Plan(
        late=(60, 3, 20, 2), top_tokens=(1, 2), dim=24, batch=32, memory_batch=32, repetitions=1
    )
    rows = list(plan.run(sizes, ("late", "mining"), (), None, CEILINGS, 1, True, None))
    assert [len(row.others) for row in rows] == [1, 1, 1, 1, 3, 3]
    assert [row.faults for row in rows] == [()] * 6
    assert rows[4].columns() == [
        "pytorch-metric-learning", "eager dense", "best eager", "eager sparse",
    ]  # fmt: skip
