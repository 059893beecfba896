// The project's dot product on a half-warp: its 16 threads are the 16 lanes of a pair.
#pragma once

#include <cstdint>

namespace labrador {
namespace {

constexpr int LANES = 16;
constexpr int ROWS = 4; // gallery rows a half-warp scores at a time

// The halving tree over a half-warp; every thread of it gets the sum. Lane i adds lane i xor h, the
// same two numbers on both sides, so this is (0+8), (1+9), ... to the bit. The last + 0 makes -0 a +0.
__device__ inline float sum_lanes(float value, unsigned team_mask) {
#pragma unroll
    for (int half = LANES / 2; half > 0; half /= 2) value = __fadd_rn(value, __shfl_xor_sync(team_mask, value, half));
    return __fadd_rn(value, 0.0f);
}

// Dot products of TILE queries with ROWS rows; every thread of the half-warp gets all of them.
template <int TILE>
__device__ inline void dots(const float *const (&queries)[TILE], const float *const (&rows)[ROWS], std::int64_t d,
                            int lane, unsigned team_mask, float (&sums)[TILE][ROWS]) {
#pragma unroll
    for (int q = 0; q < TILE; ++q)
#pragma unroll
        for (int r = 0; r < ROWS; ++r) sums[q][r] = 0.0f;
    for (std::int64_t e = lane; e < d; e += LANES) {
        float x[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; ++r) x[r] = __ldg(rows[r] + e);
#pragma unroll
        for (int q = 0; q < TILE; ++q) {
            const float value = __ldg(queries[q] + e);
#pragma unroll
            for (int r = 0; r < ROWS; ++r) sums[q][r] = __fmaf_rn(value, x[r], sums[q][r]);
        }
    }
#pragma unroll
    for (int q = 0; q < TILE; ++q)
#pragma unroll
        for (int r = 0; r < ROWS; ++r) sums[q][r] = sum_lanes(sums[q][r], team_mask);
}

// The largest dot products of one item for one query, in descending order, kept by one thread.
__device__ inline void keep_largest(float *largest, int &held, int top, float value) {
    if (held == top && value <= largest[top - 1]) return;
    int place = held < top ? held++ : top - 1;
    for (; place > 0 && largest[place - 1] < value; --place) largest[place] = largest[place - 1];
    largest[place] = value;
}

} // namespace
} // namespace labrador
