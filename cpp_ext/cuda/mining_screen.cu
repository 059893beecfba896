// The screen: bounds on the scores of all pairs of different persons, and for each row those that may win.
//
// Two passes over tiles of codes. The first reads every second tile of each row and column and leaves in
// `floors` the largest lower bound: the row's hardest negative scores at least that. The second keeps every
// pair whose upper bound reaches the floor, a dozen or so of thousands; mining_decide.cu scores them exactly.
#include "launch.cuh"
#include "mining_bounds.cuh"
#include "mining_tile.cuh"

namespace labrador {
namespace {

constexpr int SEED_SHARE = 2; // the first pass reads one tile in so many

// The largest lower bound that a line's pairs give.
__device__ inline void raise(const MiningSpace &space, unsigned row, float estimate, float bound) {
    const float reached = __fsub_rd(estimate, bound);
    if (reached > floor_of(__ldcg(space.floors + row))) atomicMax(space.floors + row, ordered(reached));
}

__device__ inline void keep(const MiningSpace &space, unsigned row, unsigned number, float upper) {
    const unsigned slot = atomicAdd(space.counts + row, 1u);
    if (slot < MINING_KEPT) space.kept[static_cast<std::size_t>(row) * MINING_KEPT + slot] = {number, upper};
}

template <bool COLLECT, bool BELOW>
__global__ void __launch_bounds__(SCREEN_THREADS, 2)
    screen(MiningSpace space, unsigned tiles_down, unsigned tiles_across) {
    // Diagonals: blocks that run side by side share neither rows nor columns, and raise each other's floors.
    const unsigned diagonal = blockIdx.x / tiles_down * (COLLECT ? 1 : SEED_SHARE);
    const unsigned tile_row = blockIdx.x % tiles_down * MINING_TILE;
    const unsigned tile_column = (diagonal + blockIdx.x % tiles_down) % tiles_across * MINING_TILE;
    const auto others = static_cast<unsigned>(space.first[1]);
    Dots dots;
    multiply_tile(shared_address(shared_memory()), space.codes + static_cast<std::size_t>(tile_row) * space.depth,
                  space.codes + static_cast<std::size_t>(others + tile_column) * space.depth, space.depth, dots);

    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = lane / 4, member = lane % 4;
    const unsigned row = tile_row + warp / 4 * WARP_ROWS, column = tile_column + warp % 4 * WARP_COLUMNS;
    Line *const lines = reinterpret_cast<Line *>(shared_memory()) + warp * LINES;
    fill_lines<COLLECT, BELOW>(space, row, others + column, lane, lines);
    __syncwarp();

    float estimates[TILES_DOWN][TILES_ACROSS][4];
#pragma unroll
    for (int j = 0; j < TILES_ACROSS; ++j)
#pragma unroll
        for (int c = 0; c < 2; ++c) {
            const Line &across = lines[WARP_ROWS + j * 8 + member * 2 + c];
#pragma unroll
            for (int i = 0; i < TILES_DOWN; ++i)
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    const Line &down = lines[i * 16 + h * 8 + group];
                    const float estimate = __fmaf_rn(static_cast<float>(dots[i][j][h * 2 + c]) * across.scale,
                                                     down.scale, down.offset + across.offset);
                    estimates[i][j][h * 2 + c] = down.person == across.person ? -INFINITE : estimate;
                }
        }
#pragma unroll
    for (int i = 0; i < TILES_DOWN; ++i)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const int place = i * 16 + h * 8 + group;
            const Line line = lines[place];
            float best = -INFINITE;
#pragma unroll
            for (int j = 0; j < TILES_ACROSS; ++j)
#pragma unroll
                for (int c = 0; c < 2; ++c)
                    if (COLLECT || certain<BELOW>(estimates[i][j][h * 2 + c], line))
                        best = fmaxf(best, estimates[i][j][h * 2 + c]);
            if (!COLLECT) {
                for (int gap = 1; gap < 4; gap *= 2) best = fmaxf(best, __shfl_xor_sync(0xffffffffu, best, gap));
                if (member == 0 && best >= -FLT_MAX) raise(space, row + place, best, line.bound);
            } else if (!(best < line.least)) {
#pragma unroll
                for (int j = 0; j < TILES_ACROSS; ++j)
#pragma unroll
                    for (int c = 0; c < 2; ++c)
                        if (possible<BELOW>(estimates[i][j][h * 2 + c], line))
                            keep(space, row + place, column + j * 8 + member * 2 + c,
                                 __fadd_ru(estimates[i][j][h * 2 + c], line.bound));
            }
        }
#pragma unroll
    for (int j = 0; j < TILES_ACROSS; ++j)
#pragma unroll
        for (int c = 0; c < 2; ++c) {
            const int place = j * 8 + member * 2 + c;
            const Line line = lines[WARP_ROWS + place];
            float best = -INFINITE;
#pragma unroll
            for (int i = 0; i < TILES_DOWN; ++i)
#pragma unroll
                for (int h = 0; h < 2; ++h)
                    if (COLLECT || certain<BELOW>(estimates[i][j][h * 2 + c], line))
                        best = fmaxf(best, estimates[i][j][h * 2 + c]);
            if (!COLLECT) {
                for (int gap = 4; gap < 32; gap *= 2) best = fmaxf(best, __shfl_xor_sync(0xffffffffu, best, gap));
                if (group == 0 && best >= -FLT_MAX) raise(space, others + column + place, best, line.bound);
            } else if (!(best < line.least)) {
#pragma unroll
                for (int i = 0; i < TILES_DOWN; ++i)
#pragma unroll
                    for (int h = 0; h < 2; ++h)
                        if (possible<BELOW>(estimates[i][j][h * 2 + c], line))
                            keep(space, others + column + place, row + i * 16 + h * 8 + group,
                                 __fadd_ru(estimates[i][j][h * 2 + c], line.bound));
            }
        }
}

template <bool COLLECT, bool BELOW> cudaError_t pass(const MiningSpace &space, cudaStream_t stream) {
    const std::int64_t down = space.first[1] / MINING_TILE, across = space.padded / MINING_TILE - down;
    const std::int64_t diagonals = COLLECT ? across : (across + SEED_SHARE - 1) / SEED_SHARE;
    return launch(screen<COLLECT, BELOW>, down * diagonals, SCREEN_THREADS, STAGES * STAGE_BYTES, stream, space,
                  static_cast<unsigned>(down), static_cast<unsigned>(across));
}

} // namespace

cudaError_t mining_screen(const CudaMining &p, const MiningSpace &space, cudaStream_t stream) {
    if (p.anchors.n == 0 || p.others.n == 0) return cudaSuccess;
    const cudaError_t error = p.semi_hard ? pass<false, true>(space, stream) : pass<false, false>(space, stream);
    if (error != cudaSuccess) return error;
    return p.semi_hard ? pass<true, true>(space, stream) : pass<true, false>(space, stream);
}

} // namespace labrador
