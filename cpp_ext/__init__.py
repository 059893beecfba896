"""Exact fused top-k and hard-triplet mining over NumPy arrays, and the rule that both obey.

The score of a query and a row is their float32 dot product in one summation order: element e is
fused-multiply-added into lane e mod 16, the 16 lanes are added as a halving tree ((0+8), (1+9), …;
then 4, 2, 1), and a zero is +0. Every level, thread count and batch split returns the same indices,
order and bits; ``serial`` is the oracle of the bits, :mod:`cpp_ext.reference` the specification.

An item of t tokens scores the mean of the ``top_tokens`` largest of its t dot products, added in
descending order, then divided. An item of which any dot product isn't finite (it holds NaN or
infinity, or overflows float32) is never a hit.
"""

from cpp_ext._levels import COMPILED_LEVELS, LEVELS, level
from cpp_ext._mining import Hardest, HardTriplets, hard_triplets
from cpp_ext._packed import Packed, pack
from cpp_ext._search import score_pairs, topk
from cpp_ext._selftest import self_test

__all__ = [
    "COMPILED_LEVELS",
    "LEVELS",
    "HardTriplets",
    "Hardest",
    "Packed",
    "hard_triplets",
    "level",
    "pack",
    "score_pairs",
    "self_test",
    "topk",
]
