"""Which items' vectors a top-k read: all that its result depends on, besides codes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cpp_ext


def bits(read, m):
    return np.unpackbits(read, count=m, bitorder="little").astype(bool)


@given(
    seed=st.integers(0, 2**32 - 1),
    m=st.sampled_from([1, 15, 300, 2000]),
    t=st.sampled_from([1, 3, 17]),
    k=st.sampled_from([1, 10, 400]),
    share=st.sampled_from([None, 0.02, 0.6]),
    level=st.sampled_from(cpp_ext.LEVELS),
)
@settings(max_examples=60, deadline=None)
def test_the_result_depends_on_no_vector_that_was_not_read(seed, m, t, k, share, level):
    random = np.random.default_rng(seed)
    gallery = random.standard_normal((m, t, 24)).astype(np.float32)
    queries = random.standard_normal((random.integers(1, 4), 24)).astype(np.float32)
    mask = None if share is None else random.random(m) < share
    packed = cpp_ext.pack(gallery)
    options = {"mask": mask, "threads": 1, "level": level, "top_tokens": min(t, 2)}
    read = np.zeros((m + 7) // 8, np.uint8)
    found = cpp_ext.topk(queries, packed, k, read=read, **options)
    seen = bits(read, m)
    assert set(found[0][found[0] >= 0]) <= set(np.flatnonzero(seen))
    assert mask is None or not seen[~mask].any()
    assert not bits(read, 8 * len(read))[m:].any()

    gallery[~seen] = random.choice([np.nan, 0, 1e30, -7])
    again = cpp_ext.topk(queries, replace(packed, vectors=gallery), k, **options)
    assert [x.tobytes() for x in again] == [x.tobytes() for x in found]


def test_a_screened_search_reads_few_vectors(real):
    gallery = real(20_000, 64)
    read = np.zeros(2500, np.uint8)
    cpp_ext.topk(real(1, 64), cpp_ext.pack(gallery), 10, read=read)
    assert 10 <= bits(read, 20_000).sum() < 2_000


@pytest.mark.parametrize("level", ["reference", *cpp_ext.LEVELS])
def test_parts_tell_for_themselves_and_bits_are_added(real, level):
    parts = [cpp_ext.pack(real(40, 8)), real(21, 8), real(9, 8)]
    mask = [None, np.arange(21) % 2 == 0, np.zeros(9, bool)]
    read = [None, np.zeros(3, np.uint8), np.full(2, 0b10, np.uint8)]
    for threads in (1, 4):
        cpp_ext.topk(real(3, 8), parts, 5, mask=mask, read=read, threads=threads, level=level)
    assert bits(read[1], 21).tolist() == mask[1].tolist()  # a part without codes is read in full
    assert read[2].tolist() == [0b10, 0b10]


@pytest.mark.parametrize(
    ("read", "error", "message"),
    [
        (np.zeros(2, bool), TypeError, "read must be uint8, got bool"),
        ([0, 0], TypeError, "read must be a NumPy array"),
        (np.zeros(3, np.uint8), ValueError, r"read must .* shape \(2,\), got \(3,\)"),
        (np.zeros(4, np.uint8)[::2], ValueError, "contiguous and writable"),
        (np.frombuffer(bytes(2), np.uint8), ValueError, "contiguous and writable"),
    ],
)
def test_what_cannot_be_written_to_is_refused(read, error, message):
    with pytest.raises(error, match=message):
        cpp_ext.topk(np.ones((1, 4), np.float32), np.ones((10, 4), np.float32), 1, read=read)


def test_one_array_for_several_parts_is_refused():
    part = np.ones((10, 4), np.float32)
    with pytest.raises(ValueError, match="2 parts takes read as a sequence of 2"):
        cpp_ext.topk(np.ones((1, 4), np.float32), [part, part], 1, read=np.zeros(3, np.uint8))
