// The project's dot product on a half-warp: its 16 threads are the 16 lanes of a pair.
#pragma once

#include "elements.cuh"

namespace labrador {
namespace {

constexpr int LANES = 16;
constexpr int ROWS = 4; // gallery rows a half-warp scores at a time

// This thread's half-warp, as the mask that warp functions take.
__device__ inline unsigned half_warp() { return 0xffffu << (threadIdx.x % 32 / LANES * LANES); }

// The halving tree over a half-warp; every thread of it gets the sum. Lane i adds lane i xor h, the
// same two numbers on both sides, so this is (0+8), (1+9), ... to the bit. The last + 0 makes -0 a +0.
__device__ inline float sum_lanes(float value, unsigned team) {
#pragma unroll
    for (int half = LANES / 2; half > 0; half /= 2) value = __fadd_rn(value, __shfl_xor_sync(team, value, half));
    return __fadd_rn(value, 0.0f);
}

// Dot products of TILE queries with ROWS rows; every thread of the half-warp gets all of them.
template <int TILE, class Q, class E>
__device__ inline void dots(const Q *const (&queries)[TILE], const E *const (&rows)[ROWS], std::int64_t d,
                            int lane, unsigned team, float (&sums)[TILE][ROWS]) {
#pragma unroll
    for (int q = 0; q < TILE; ++q)
#pragma unroll
        for (int r = 0; r < ROWS; ++r) sums[q][r] = 0.0f;
#pragma unroll(TILE == 1 ? 4 : 1) // a lone query leaves registers for sixteen loads in flight
    for (std::int64_t e = lane; e < d; e += LANES) {
        float x[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; ++r) x[r] = widened(rows[r] + e);
#pragma unroll
        for (int q = 0; q < TILE; ++q) {
            const float value = widened(queries[q] + e);
#pragma unroll
            for (int r = 0; r < ROWS; ++r) sums[q][r] = __fmaf_rn(value, x[r], sums[q][r]);
        }
    }
#pragma unroll
    for (int q = 0; q < TILE; ++q)
#pragma unroll
        for (int r = 0; r < ROWS; ++r) sums[q][r] = sum_lanes(sums[q][r], team);
}

} // namespace
} // namespace labrador
