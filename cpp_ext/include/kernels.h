// Every kernel, declared once. Plain pointers only: no header of the standard library's classes may
// reach a per-ISA unit, or the linker could pick its copy of an inline function for every machine.
//
// Letters: n queries, m gallery items, t tokens per item, d dimension, k hits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace labrador {

// dots[i * rows + j] = queries[i] . gallery[j], where queries and gallery are arrays of row pointers,
// each row d contiguous floats. The one summation order of the project: element e is fused-multiply-
// added into lane e mod 16, lanes are added as a halving tree ((0+8), (1+9), ...; then 4, 2, 1), and
// a zero result is +0. Every level returns the same bits; the serial level is the oracle.
using DotTile = void (*)(const float *const *queries, std::size_t n, const float *const *gallery, std::size_t rows,
                         std::size_t d, float *dots);

void dot_tile_serial(const float *const *, std::size_t, const float *const *, std::size_t, std::size_t, float *);
void dot_tile_avx2(const float *const *, std::size_t, const float *const *, std::size_t, std::size_t, float *);

struct Level {
    const char *name;
    DotTile dot_tile;
    bool supported; // by this processor and operating system
};

// All compiled levels, slowest first.
const Level *levels(std::size_t *count);

// Strides count floats. Items are (m, t, d); t is 1 for plain vectors.
struct Gallery {
    const float *data;
    std::size_t m, t, d;
    std::ptrdiff_t item_stride, token_stride;
    std::size_t top_tokens; // an item scores the mean of its top_tokens largest dot products
};

struct Queries {
    const float *data;
    std::size_t n, d;
    std::ptrdiff_t stride;
};

// Which pairs may be hits. Bits are little-endian within a byte; mask_stride is the bytes from one
// query's bits to the next's, 0 when all queries share them. Query i must not return the rows
// excluded[excluded_begin[i] .. excluded_begin[i + 1]), which are sorted.
struct Filter {
    const std::uint8_t *mask; // null: every row
    std::size_t mask_stride;
    const std::int64_t *excluded; // null: none
    const std::int64_t *excluded_begin;
    float above; // a hit scores more than this
};

// indices (n, k), scores (n, k): best first, equal scores by ascending index; missing places are -1
// and -inf. An item with a dot product that isn't finite is never a hit. threads >= 1.
void topk(const Queries &, const Gallery &, const Filter &, std::size_t k, std::size_t threads, DotTile,
          std::int64_t *indices, float *scores);

// scores[p] = score of query query_index[p] and item gallery_index[p]; NaN where a dot product isn't finite.
void score_pairs(const Queries &, const Gallery &, const std::int64_t *query_index, const std::int64_t *gallery_index,
                 std::size_t pairs, DotTile, float *scores);

} // namespace labrador
