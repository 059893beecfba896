// Fused similarity and top-k on the GPU, exact: the ids, order and bits of the CPU's levels.
//
// v1 (this one): float32 lanes as written in kernels.h, one half-warp per pair's 16 lanes; each block
//    keeps the best of its slice of the gallery for a tile of queries, a second kernel merges slices.
//    No (n, m) scores. k above ROUND_HITS is served in rounds, each below the last key of the round before.
#include "topk_cuda.h"
#include "topk_dots.cuh"
#include "topk_keys.cuh"
#include "topk_plan.cuh"

#include <cfloat>

namespace labrador {
namespace {

// What a block knows while it scans. keys: per query `slots` sorted best, then `slots` new ones.
struct Best {
    Key *keys;
    int *count;
    Key *threshold;
    const Key *ceiling; // of the round before; only keys below it are new
    int slots;
};

__device__ bool bit(const std::uint8_t *bits, std::int64_t item) { return bits[item / 8] >> (item % 8) & 1; }

__device__ bool is_excluded(const CudaTopk &p, std::int64_t query, std::int64_t item) {
    std::int64_t low = p.excluded_begin[query], high = p.excluded_begin[query + 1];
    while (low < high) {
        const std::int64_t middle = (low + high) / 2;
        if (p.excluded[middle] < item)
            low = middle + 1;
        else
            high = middle;
    }
    return low < p.excluded_begin[query + 1] && p.excluded[low] == item;
}

__device__ void consider(const CudaTopk &p, const Best &best, int q, std::int64_t query, std::int64_t item,
                         float score) {
    if (!(score > p.above && score <= FLT_MAX)) return;
    const Key key = make_key(score, item);
    if (key <= best.threshold[q] || key >= best.ceiling[query]) return;
    if (p.mask && !bit(p.mask + query * p.mask_stride, item)) return;
    if (p.excluded && is_excluded(p, query, item)) return;
    best.keys[(2 * q + 1) * best.slots + atomicAdd(best.count + q, 1)] = key;
}

template <int TILE>
__global__ void __launch_bounds__(THREADS) scan(CudaTopk p, Plan plan, Key *partial, const Key *ceiling) {
    extern __shared__ Key shared[];
    __shared__ int count[TILE];
    __shared__ Key threshold[TILE];
    const Best best{shared, count, threshold, ceiling, plan.slots};
    float *const largest_of_block = reinterpret_cast<float *>(shared + 2 * TILE * plan.slots);

    const int team = threadIdx.x / LANES, lane = threadIdx.x % LANES;
    const unsigned team_mask = 0xffffu << (threadIdx.x % 32 / LANES * LANES);
    const std::int64_t first_query = static_cast<std::int64_t>(blockIdx.x) * TILE;
    const std::int64_t begin = blockIdx.y * plan.slice_items;
    const std::int64_t end = begin + plan.slice_items < p.m ? begin + plan.slice_items : p.m;

    const float *queries[TILE];
#pragma unroll
    for (int q = 0; q < TILE; ++q) { // past the last query, score it again and drop the result
        const std::int64_t query = first_query + q < p.n ? first_query + q : p.n - 1;
        queries[q] = p.queries + query * p.query_stride;
    }
    for (int i = threadIdx.x; i < 2 * TILE * plan.slots; i += THREADS) shared[i] = 0;
    if (threadIdx.x < TILE) count[threadIdx.x] = threshold[threadIdx.x] = 0;
    __syncthreads();

    const int items_per_team = p.t == 1 ? ROWS : 1;
    for (std::int64_t step = begin; step < end; step += TEAMS * items_per_team) {
        const std::int64_t item = step + team * items_per_team;
        bool wanted = false; // rows that no query of the tile may see aren't read
        for (int r = 0; r < items_per_team && item + r < end; ++r) {
            if (!p.mask || p.mask_stride == 0)
                wanted |= !p.mask || bit(p.mask, item + r);
            else
                for (int q = 0; q < TILE && first_query + q < p.n; ++q)
                    wanted |= bit(p.mask + (first_query + q) * p.mask_stride, item + r);
        }
        if (wanted && p.t == 1) {
            const float *rows[ROWS];
#pragma unroll
            for (int r = 0; r < ROWS; ++r) rows[r] = p.gallery + (item + r < end ? item + r : item) * p.item_stride;
            float sums[TILE][ROWS], mine[(TILE * ROWS + LANES - 1) / LANES];
            dots<TILE>(queries, rows, p.d, lane, team_mask, sums);
#pragma unroll
            for (int pair = 0; pair < TILE * ROWS; ++pair) // deal the pairs out to the threads
                if (pair % LANES == lane) mine[pair / LANES] = sums[pair / ROWS][pair % ROWS];
#pragma unroll
            for (int turn = 0; turn < (TILE * ROWS + LANES - 1) / LANES; ++turn) {
                const int pair = turn * LANES + lane, q = pair / ROWS, r = pair % ROWS;
                if (pair < TILE * ROWS && first_query + q < p.n && item + r < end)
                    consider(p, best, q, first_query + q, item + r, mine[turn]);
            }
        } else if (wanted) { // thread q of the half-warp gathers the item's tokens for query q
            float *const largest = largest_of_block + (team * TILE + lane) * p.top_tokens;
            int held = 0;
            bool finite = true;
            for (std::int64_t token = 0; token < p.t; token += ROWS) {
                const float *rows[ROWS];
#pragma unroll
                for (int r = 0; r < ROWS; ++r)
                    rows[r] = p.gallery + item * p.item_stride + (token + r < p.t ? token + r : token) * p.token_stride;
                float sums[TILE][ROWS];
                dots<TILE>(queries, rows, p.d, lane, team_mask, sums);
#pragma unroll
                for (int q = 0; q < TILE; ++q)
#pragma unroll
                    for (int r = 0; r < ROWS; ++r)
                        if (q == lane && token + r < p.t) {
                            finite &= fabsf(sums[q][r]) <= FLT_MAX;
                            keep_largest(largest, held, p.top_tokens, sums[q][r]);
                        }
            }
            if (lane < TILE && first_query + lane < p.n && finite) {
                float total = largest[0];
                for (int i = 1; i < p.top_tokens; ++i) total = __fadd_rn(total, largest[i]);
                const float mean = __fdiv_rn(total, static_cast<float>(p.top_tokens));
                consider(p, best, lane, first_query + lane, item, __fadd_rn(mean, 0.0f));
            }
        }
        __syncthreads();
        for (int q = 0; q < TILE; ++q) { // a step adds at most TEAMS * ROWS keys per query
            if (step + TEAMS * items_per_team < end && count[q] <= plan.slots - TEAMS * ROWS) continue;
            sort_keys(shared + 2 * q * plan.slots, 2 * plan.slots);
            for (int i = threadIdx.x; i < plan.slots; i += THREADS) shared[(2 * q + 1) * plan.slots + i] = 0;
            if (threadIdx.x == 0) {
                threshold[q] = shared[2 * q * plan.slots + plan.kept - 1];
                count[q] = 0;
            }
        }
        __syncthreads();
    }
    for (int i = threadIdx.x; i < TILE * plan.kept; i += THREADS) {
        const std::int64_t query = first_query + i / plan.kept;
        if (query < p.n)
            partial[(query * plan.slices + blockIdx.y) * plan.kept + i % plan.kept] =
                shared[2 * (i / plan.kept) * plan.slots + i % plan.kept];
    }
}

// One block per query: the best of all slices, written out; the last key is the next round's ceiling.
__global__ void __launch_bounds__(THREADS)
    merge(CudaTopk p, Plan plan, const Key *partial, Key *ceiling, std::int64_t done) {
    extern __shared__ Key keys[];
    const std::int64_t query = blockIdx.x, all = plan.slices * plan.kept;
    const Key *mine = partial + query * all;
    for (int i = threadIdx.x; i < plan.slots; i += THREADS) keys[i] = 0;
    for (std::int64_t first = 0; first < all; first += plan.slots) {
        for (int i = threadIdx.x; i < plan.slots; i += THREADS)
            keys[plan.slots + i] = first + i < all ? mine[first + i] : 0;
        sort_keys(keys, 2 * plan.slots);
    }
    for (std::int64_t i = threadIdx.x; i < plan.kept && done + i < p.k; i += THREADS) {
        const Key key = keys[i];
        p.indices[query * p.k + done + i] = key ? key_item(key) : -1;
        p.scores[query * p.k + done + i] = key ? key_score(key) : -__int_as_float(0x7f800000);
    }
    if (threadIdx.x == 0) ceiling[query] = keys[plan.kept - 1];
}

template <int TILE>
void launch_scan(const CudaTopk &p, const Plan &plan, Key *partial, const Key *ceiling, cudaStream_t stream) {
    const std::size_t bytes =
        2 * TILE * plan.slots * sizeof(Key) + (p.t == 1 ? 0 : TEAMS * TILE * p.top_tokens * sizeof(float));
    scan<TILE><<<dim3(static_cast<unsigned>(plan.tiles), static_cast<unsigned>(plan.slices)), THREADS, bytes, stream>>>(
        p, plan, partial, ceiling);
}

} // namespace

std::size_t cuda_topk_workspace(std::int64_t n, std::int64_t m, std::int64_t k, int top_tokens) {
    const Plan p = plan(n, m, k, top_tokens);
    return static_cast<std::size_t>(n * (p.slices * p.kept + 1)) * sizeof(Key);
}

cudaError_t cuda_topk(const CudaTopk &p, cudaStream_t stream) {
    if (p.n == 0) return cudaSuccess;
    const Plan how = plan(p.n, p.m, p.k, p.top_tokens);
    Key *const ceiling = static_cast<Key *>(p.workspace), *const partial = ceiling + p.n;
    cudaError_t error = cudaMemsetAsync(ceiling, 0xff, static_cast<std::size_t>(p.n) * sizeof(Key), stream);
    for (std::int64_t done = 0; done < p.k && error == cudaSuccess; done += how.kept) {
        how.tile == 1 ? launch_scan<1>(p, how, partial, ceiling, stream)
                      : launch_scan<WIDE_TILE>(p, how, partial, ceiling, stream);
        merge<<<static_cast<unsigned>(p.n), THREADS, 2 * how.slots * sizeof(Key), stream>>>(p, how, partial, ceiling,
                                                                                            done);
        error = cudaGetLastError();
    }
    return error;
}

} // namespace labrador
