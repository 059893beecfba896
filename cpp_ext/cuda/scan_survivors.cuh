// What a scan does with the dot products of a tile: nearly all pairs are below their threshold and are
// dismissed by one comparison per query and thread; the others are kept as candidates.
#pragma once

#include "keys.cuh"
#include "scan_tiles.cuh"

#include <cfloat>

namespace labrador {
namespace {

__device__ inline float upper_bound(int dot, const QueryBound &query, const RowBound &row) {
    const float slack = __fmaf_rn(row.norm, query.residual, __fmul_rn(row.residual, query.norm));
    return __fmaf_rn(__fmul_rn(__int2float_rn(dot), query.scale), row.scale, slack);
}

template <int TN, bool LATE>
__device__ inline void keep(const Scan &scan, const Groups<LATE> &groups, const Room<TN> &room, int column,
                            unsigned place, float upper) {
    const int query = room.ids[column];
    if (query < 0 || place >= groups.items) return;
    const unsigned item = groups.item(place);
    const bool wanted = !scan.mask || bit(scan.mask + query * scan.mask_stride, item);
    Key *const mine = scan.state.candidates + query * scan.state.capacity;
    if (scan.share.sample) {
        mine[place] = wanted ? make_key(upper, item) : 0;
    } else if (wanted) {
        const int slot = atomicAdd(scan.state.counts + query, 1);
        if (slot < scan.state.capacity) {
            mine[slot] = make_key(upper, item);
        } else { // it has to come again anyway: this block needn't look for more
            room.bounds[column].threshold = room.limits[column].x = __int_as_float(0x7f800000);
        }
    }
}

// One token per item. The comparison: a row can only survive if
//     float(dot) * row.scale >= (threshold - row.norm R - row.residual N) / query.scale,
// and then also with the largest norm and residual of the thread's neighbours for its own, less a margin
// for rounding. So each dot product costs a conversion, a multiplication and a maximum.
template <int TN>
__device__ inline void keep_rows(const Scan &scan, const Groups<false> &groups, const Room<TN> &room, const RowBound *rows,
                                 unsigned begin, int first_row, int first_column,
                                 const int (&sums)[Tiling<TN>::M][Tiling<TN>::N][4]) {
    constexpr int M = Tiling<TN>::M, N = Tiling<TN>::N;
    float scale[2 * M], norm = 0, residual = 0;
#pragma unroll
    for (int r = 0; r < 2 * M; ++r) {
        const RowBound row = rows[first_row + 8 * r];
        scale[r] = row.scale;
        norm = fmaxf(norm, row.norm);
        residual = fmaxf(residual, row.residual);
    }
#pragma unroll
    for (int gap = 4; gap < 32; gap *= 2) { // lanes with other rows of the warp's
        norm = fmaxf(norm, __shfl_xor_sync(0xffffffffu, norm, gap));
        residual = fmaxf(residual, __shfl_xor_sync(0xffffffffu, residual, gap));
    }
    unsigned suspects = scan.share.sample || !(residual <= FLT_MAX) ? ~0u : 0u; // a bit per column of this thread
#pragma unroll
    for (int c = 0; c < 2 * N; ++c) {
        const float4 limit = room.limits[first_column + c / 2 * 8 + c % 2];
        const float slack = __fmaf_rn(norm, limit.y, __fmul_rn(residual, limit.z));
        const float least = limit.x - slack - 0x1p-18f * (fabsf(limit.x) + slack);
        float largest = -FLT_MAX;
#pragma unroll
        for (int r = 0; r < 2 * M; ++r)
            largest = fmaxf(largest, __int2float_rn(sums[r / 2][c / 2][2 * (r % 2) + c % 2]) * scale[r]);
        if (largest >= least) suspects |= 1u << c;
    }
    if (!suspects) return;
#pragma unroll
    for (int c = 0; c < 2 * N; ++c) {
        if (!(suspects >> c & 1)) continue;
        const int column = first_column + c / 2 * 8 + c % 2;
        const QueryBound query = room.bounds[column];
#pragma unroll
        for (int r = 0; r < 2 * M; ++r) {
            const int slot = first_row + 8 * r;
            const float upper = upper_bound(sums[r / 2][c / 2][2 * (r % 2) + c % 2], query, rows[slot]);
            if (scan.share.sample || !(upper < query.threshold)) keep(scan, groups, room, column, begin + slot, upper);
        }
    }
}

// At least the mean of the `top` largest of t numbers, `step` apart; as soon as it is below `threshold`
// it needn't be tight. For any level, level + (what exceeds it, summed) / top is such a bound, and the
// least of them, where `top` numbers exceed the level, is the mean itself; the level is found by halving.
__device__ inline float top_mean_bound(const float *numbers, int step, int t, int top, float threshold) {
    float low = FLT_MAX, high = -FLT_MAX;
    for (int i = 0; i < t; ++i) {
        low = fminf(low, numbers[i * step]);
        high = fmaxf(high, numbers[i * step]);
    }
    if (top == 1 || high < threshold || !(high <= FLT_MAX)) return high;
    float bound = high;
    for (int turn = 0; turn < 16 && !(bound < threshold); ++turn) {
        const float level = turn ? low + 0.5f * (high - low) : low;
        float excess = 0;
        int above = 0;
        for (int i = 0; i < t; ++i) {
            const float more = numbers[i * step] - level;
            above += more > 0;
            excess += fmaxf(more, 0.0f);
        }
        // The margins cover the rounding of up to 1,024 additions, and of the level's.
        bound = fminf(bound, level + excess / static_cast<float>(top) * (1 + 0x1p-12f) + fabsf(level) * 0x1p-22f);
        if (above == top || (turn == 0 && t == top)) break;
        (above > top ? low : high) = level;
    }
    return bound;
}

// Several tokens per item: the upper bounds of a tile's rows go to shared memory, and after the last tile
// of a group a thread per query and item has the mean of the largest. Everyone of the block calls this.
template <int TN>
__device__ inline void keep_items(const Scan &scan, const Groups<true> &groups, const Room<TN> &room, const RowBound *rows,
                                  unsigned begin, int tile, int first_row, int first_column,
                                  const int (&sums)[Tiling<TN>::M][Tiling<TN>::N][4]) {
    constexpr int M = Tiling<TN>::M, N = Tiling<TN>::N, STRIDE = Tiling<TN>::STRIDE;
#pragma unroll
    for (int r = 0; r < 2 * M; ++r) {
        const RowBound row = rows[first_row + 8 * r];
        float *const to = room.uppers + (tile * BLOCK_ROWS + first_row + 8 * r) * STRIDE + first_column;
#pragma unroll
        for (int n = 0; n < N; ++n)
#pragma unroll
            for (int j = 0; j < 2; ++j)
                to[8 * n + j] = upper_bound(sums[r / 2][n][2 * (r % 2) + j], room.bounds[first_column + 8 * n + j], row);
    }
    if (tile + 1 < groups.tiles()) return;
    __syncthreads();
    for (int pair = threadIdx.x; pair < groups.group_items() * TN; pair += SCAN_THREADS) {
        const int column = pair % TN, which = pair / TN;
        const float threshold = scan.share.sample ? -FLT_MAX : room.bounds[column].threshold;
        const float upper = top_mean_bound(room.uppers + which * groups.late_t * STRIDE + column, STRIDE, groups.late_t,
                                           scan.top_tokens, threshold);
        if (scan.share.sample || !(upper < threshold)) keep(scan, groups, room, column, begin + which, upper);
    }
}

} // namespace
} // namespace labrador
