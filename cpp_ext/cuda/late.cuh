// Late similarity on a half-warp: from the t dot products of an item to its score.
#pragma once

#include "dots.cuh"

#include <cfloat>

namespace labrador {
namespace {

// Floats of shared memory for the dot products of one item: t up to a power of two, to be sorted there.
__host__ __device__ inline int late_room(std::int64_t t) {
    int room = 1;
    while (room < t) room *= 2;
    return t == 1 ? 0 : room;
}

// Descending bitonic sort by one half-warp.
__device__ inline void sort_floats(float *values, int size, int lane, unsigned team) {
    for (int run = 2; run <= size; run *= 2)
        for (int gap = run / 2; gap > 0; gap /= 2) {
            __syncwarp(team);
            for (int i = lane; i < size / 2; i += LANES) {
                const int low = 2 * i - (i & (gap - 1)), high = low + gap;
                const float a = values[low], b = values[high];
                if ((a < b) == ((low & run) == 0)) {
                    values[low] = b;
                    values[high] = a;
                }
            }
        }
    __syncwarp(team);
}

// Mean of the `top` largest of dots[0..t), added in descending order, then divided; every thread of the
// half-warp gets it. NaN when any of the t isn't finite. Reorders dots, which has late_room(t) places.
__device__ inline float late_score(float *dots, int t, int top, int lane, unsigned team) {
    __syncwarp(team);
    bool sound = true;
    float largest = -FLT_MAX;
    for (int i = lane; i < t; i += LANES) {
        sound = sound && fabsf(dots[i]) <= FLT_MAX;
        largest = fmaxf(largest, dots[i]);
    }
    if (__ballot_sync(team, !sound)) return __int_as_float(0x7fc00000);
    if (top == 1) {
#pragma unroll
        for (int half = LANES / 2; half > 0; half /= 2) largest = fmaxf(largest, __shfl_xor_sync(team, largest, half));
        return largest;
    }
    const int room = late_room(t);
    for (int i = t + lane; i < room; i += LANES) dots[i] = -FLT_MAX;
    sort_floats(dots, room, lane, team);
    float total = dots[0];
    for (int i = 1; i < top; ++i) total = __fadd_rn(total, dots[i]);
    return __fadd_rn(__fdiv_rn(total, static_cast<float>(top)), 0.0f);
}

// One query against one item of t > 1 tokens.
template <class E>
__device__ inline float score_item(const float *query, const E *item, std::int64_t token_stride, std::int64_t t,
                                   std::int64_t d, int top, float *room, int lane, unsigned team) {
    const float *const queries[1] = {query};
    __syncwarp(team); // the item before has been read
    for (std::int64_t token = 0; token < t; token += ROWS) {
        const E *rows[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; ++r) rows[r] = item + (token + r < t ? token + r : token) * token_stride;
        float sums[1][ROWS];
        dots<1>(queries, rows, d, lane, team, sums);
#pragma unroll
        for (int r = 0; r < ROWS; ++r)
            if (r == lane && token + r < t) room[token + r] = sums[0][r];
    }
    return late_score(room, static_cast<int>(t), top, lane, team);
}

} // namespace
} // namespace labrador
