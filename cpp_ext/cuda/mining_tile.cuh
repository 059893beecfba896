// The codes of 128 anchors times the codes of 128 others, on the tensor cores: exact integers, in registers.
//
// Eight warps, two by four, take 64 x 32 each. Codes pass through shared memory in three stages of 64 bytes
// of every row, so that two steps are on their way while one is multiplied. A row's four 16-byte pieces are
// stored in an order that depends on the row: then no eight rows of a matrix meet in a bank.
#pragma once

#include "mining_bounds.cuh"
#include "ptx.cuh"

namespace labrador {
namespace {

constexpr int SCREEN_THREADS = 256, STAGES = 3;
constexpr int TILES_DOWN = WARP_ROWS / 16, TILES_ACROSS = WARP_COLUMNS / 8;
constexpr int STAGE_BYTES = 2 * MINING_TILE * MINING_STEP; // 16 KiB; all three fit without opting in

using Dots = int[TILES_DOWN][TILES_ACROSS][4];

__device__ inline int piece(int row, int sixteen) { return row * MINING_STEP + (sixteen ^ (row >> 1 & 3)) * 16; }

__device__ inline void fetch_step(unsigned stage, const signed char *anchors, const signed char *others, int depth,
                                  int step) {
#pragma unroll
    for (int part = 0; part < 2 * MINING_TILE * MINING_STEP / 16 / SCREEN_THREADS; ++part) {
        const int chunk = part * SCREEN_THREADS + static_cast<int>(threadIdx.x), side = chunk / (MINING_TILE * 4);
        const int row = chunk / 4 % MINING_TILE, sixteen = chunk % 4;
        const signed char *const from = side ? others : anchors;
        copy_async(stage + side * MINING_TILE * MINING_STEP + piece(row, sixteen),
                   from + static_cast<std::int64_t>(row) * depth + step * MINING_STEP + sixteen * 16, true);
    }
}

__device__ inline void multiply_step(unsigned stage, int warp, int lane, Dots &dots) {
    const unsigned anchors = stage, others = stage + MINING_TILE * MINING_STEP;
    const int first_row = warp / 4 * WARP_ROWS, first_column = warp % 4 * WARP_COLUMNS;
#pragma unroll
    for (int half = 0; half < MINING_STEP / 32; ++half) {
        unsigned a[TILES_DOWN][4], b[TILES_ACROSS / 2][4];
#pragma unroll
        for (int i = 0; i < TILES_DOWN; ++i)
            load_matrices(anchors + piece(first_row + i * 16 + lane % 16, half * 2 + lane / 16), a[i]);
#pragma unroll
        for (int j = 0; j < TILES_ACROSS / 2; ++j)
            load_matrices(others + piece(first_column + j * 16 + lane % 8 + lane / 16 * 8, half * 2 + lane / 8 % 2),
                          b[j]);
#pragma unroll
        for (int i = 0; i < TILES_DOWN; ++i)
#pragma unroll
            for (int j = 0; j < TILES_ACROSS; ++j)
                multiply_add(dots[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
    }
}

// anchors and others: the codes of the tile's first rows. shared: STAGES * STAGE_BYTES, free again afterwards.
__device__ inline void multiply_tile(unsigned shared, const signed char *anchors, const signed char *others, int depth,
                                     Dots &dots) {
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    const int steps = depth / MINING_STEP;
#pragma unroll
    for (int i = 0; i < TILES_DOWN; ++i)
#pragma unroll
        for (int j = 0; j < TILES_ACROSS; ++j)
#pragma unroll
            for (int c = 0; c < 4; ++c) dots[i][j][c] = 0;
#pragma unroll
    for (int step = 0; step < STAGES - 1; ++step) {
        if (step < steps) fetch_step(shared + step * STAGE_BYTES, anchors, others, depth, step);
        commit_copies();
    }
    for (int step = 0; step < steps; ++step) {
        wait_for_copies<STAGES - 2>();
        __syncthreads(); // everyone's copies have landed, and everyone is done with the stage that is filled next
        const int next = step + STAGES - 1;
        if (next < steps) fetch_step(shared + next % STAGES * STAGE_BYTES, anchors, others, depth, next);
        commit_copies();
        multiply_step(shared + step % STAGES * STAGE_BYTES, warp, lane, dots);
    }
    __syncthreads();
}

} // namespace
} // namespace labrador
