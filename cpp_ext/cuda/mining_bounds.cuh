// From codes to bounds on scores.
//
// A pair's estimate is fma(float(dot) * scale_j, scale_i, offset_i + offset_j). Its distance from the pair's
// fp32 score is at most
//     |s c_i| |r_j| + |r_i| |x'_j|                            what codes leave out,
//   + (d/16 + 8) 2^-24 |x_i| |x_j|                            the rounding of the fp32 score,
//   + 2^-22 (|s c_i| |s c_j| + |offset_i| + |offset_j|) + ..  the rounding of the estimate,
// a sum of products of a part of i and a part of j. A warp takes the largest parts of its 64 rows or 32
// columns: one bound then serves a whole row of its tile, and a comparison of estimates is all that a pair
// costs. NaN bounds (infinite parts) compare so that the pair is kept.
#pragma once

#include "keys.cuh"
#include "mining_space.cuh"

#include <cfloat>
#include <limits>

namespace labrador {
namespace {

constexpr float INFINITE = std::numeric_limits<float>::infinity();
constexpr int WARP_ROWS = 64, WARP_COLUMNS = 32, LINES = WARP_ROWS + WARP_COLUMNS;

// What a warp knows of one of its rows or columns; rows first.
struct Line {
    float scale, offset;
    unsigned person;
    float bound;   // of every pair of this line within the warp's tile
    float least;   // an estimate below it can't reach the floor
    float highest; // an estimate above it is not below the row's positive, for sure or perhaps (first pass)
};

__device__ inline unsigned ordered(float value) {
    const unsigned bits = __float_as_uint(value);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// 0, which nobody has written to, is -inf.
__device__ inline float floor_of(unsigned stored) {
    if (stored == 0) return -INFINITE;
    return __uint_as_float(stored & 0x80000000u ? stored & 0x7fffffffu : ~stored);
}

__device__ inline Reach largest(const Reach &a, const Reach &b) {
    Reach both;
#pragma unroll
    for (int k = 0; k < 4; ++k) both.part[k] = fmaxf(a.part[k], b.part[k]);
    return both;
}

__device__ inline Reach largest_of_warp(Reach reach) {
#pragma unroll
    for (int k = 0; k < 4; ++k) // none is negative: their bits are in their order
        reach.part[k] = __uint_as_float(__reduce_max_sync(0xffffffffu, __float_as_uint(reach.part[k])));
    return reach;
}

__device__ inline float bound_of(const Reach &a, const Reach &b) {
    float bound = __fadd_ru(a.part[3], b.part[3]);
#pragma unroll
    for (int k = 0; k < 3; ++k) bound = __fmaf_ru(a.part[k], b.part[k], bound);
    return bound;
}

// COLLECT: the second pass. BELOW: only pairs that score less than the row's positive count.
template <bool COLLECT, bool BELOW>
__device__ inline Line describe(const MiningSpace &space, std::int64_t row, const Reach &own, const Reach &across) {
    const Place place = space.places[row];
    Line line{place.scale, place.offset, place.person, bound_of(own, across), 0.0f, INFINITE};
    if (COLLECT) line.least = __fsub_rd(floor_of(__ldcg(space.floors + row)), line.bound);
    if (BELOW) {
        const Key positive = space.best_positive[row];
        if (positive) {
            const float limit = -key_score(positive);
            line.highest = COLLECT ? __fadd_ru(limit, line.bound) : __fsub_rd(limit, line.bound);
        }
    }
    return line;
}

template <bool COLLECT, bool BELOW>
__device__ inline void fill_lines(const MiningSpace &space, std::int64_t row, std::int64_t column, int lane,
                                  Line *lines) {
    const Reach low = space.reaches[row + lane], high = space.reaches[row + 32 + lane];
    const Reach across = space.reaches[column + lane];
    const Reach rows = largest_of_warp(largest(low, high)), columns = largest_of_warp(across);
    lines[lane] = describe<COLLECT, BELOW>(space, row + lane, low, columns);
    lines[32 + lane] = describe<COLLECT, BELOW>(space, row + 32 + lane, high, columns);
    lines[WARP_ROWS + lane] = describe<COLLECT, BELOW>(space, column + lane, across, rows);
}

// Estimates of pairs of one person, and of rows that don't count, are -inf.
template <bool BELOW> __device__ inline bool certain(float estimate, const Line &line) {
    return !BELOW || estimate < line.highest;
}

template <bool BELOW> __device__ inline bool possible(float estimate, const Line &line) {
    return estimate >= -FLT_MAX && !(estimate < line.least) && !(BELOW && estimate > line.highest);
}

} // namespace
} // namespace labrador
