// The exact scan: float32 lanes as written in kernels.h, one half-warp per pair's 16 lanes; each block
// keeps the best of its slice of the gallery for a tile of queries, a second kernel merges slices. No
// (n, m) scores. k above ROUND_HITS is served in rounds, each below the last key of the round before.
#include "exact_plan.cuh"
#include "launch.cuh"
#include "ptx.cuh"

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

__device__ void consider(const CudaTopk &p, const Best &best, int q, std::int64_t query, std::int64_t item,
                         float score) {
    if (!(score > p.above && score <= FLT_MAX)) return;
    const Key key = make_key(score, item);
    if (key <= best.threshold[q] || key >= best.ceiling[query]) return;
    if (p.mask && !bit(p.mask + query * p.mask_stride, item)) return;
    if (is_excluded(p, query, item)) return;
    best.keys[(2 * q + 1) * best.slots + atomicAdd(best.count + q, 1)] = key;
}

template <class E, int TILE>
__global__ void __launch_bounds__(THREADS, 2)
    scan_exactly(CudaTopk p, ExactPlan plan, Chosen chosen, Key *partial, const Key *ceiling) {
    const std::int64_t wanted = chosen_count(chosen, p.n), tiles = (wanted + TILE - 1) / TILE;
    const std::int64_t slices = slices_for(plan, tiles), tile = tiles ? blockIdx.x % tiles : 0;
    const std::int64_t slice = tiles ? blockIdx.x / tiles : slices;
    if (slice >= slices) return;

    Key *const shared = reinterpret_cast<Key *>(shared_memory());
    __shared__ int count[TILE];
    __shared__ Key threshold[TILE];
    const Best best{shared, count, threshold, ceiling, plan.slots};
    const int team = threadIdx.x / LANES, lane = threadIdx.x % LANES;
    const unsigned team_mask = half_warp();
    const E *const gallery = static_cast<const E *>(p.gallery.data);
    const std::int64_t m = p.gallery.m;
    const int t = static_cast<int>(p.gallery.t);
    const std::int64_t begin = plan.steps * slice / slices * STEP_ROWS;
    const std::int64_t last = plan.steps * (slice + 1) / slices * STEP_ROWS, end = last < m ? last : m;

    const float *queries[TILE];
#pragma unroll
    for (int q = 0; q < TILE; ++q) { // past the last query, score it again and drop the result
        const std::int64_t place = tile * TILE + q;
        queries[q] = p.queries + chosen_query(chosen, place < wanted ? place : wanted - 1) * p.query_stride;
    }
    const int held = static_cast<int>(wanted - tile * TILE < TILE ? wanted - tile * TILE : TILE);
    for (int i = threadIdx.x; i < 2 * TILE * plan.slots; i += THREADS) shared[i] = 0;
    if (threadIdx.x < TILE) count[threadIdx.x] = threshold[threadIdx.x] = 0;
    __syncthreads();

    const int items_per_team = t == 1 ? ROWS : 1;
    for (std::int64_t step = begin; step < end; step += TEAMS * items_per_team) {
        const std::int64_t item = step + team * items_per_team;
        bool wanted_here = false; // rows that no query of the tile may see aren't read
        for (int r = 0; r < items_per_team && item + r < end; ++r) {
            if (!p.mask || p.mask_stride == 0)
                wanted_here |= !p.mask || bit(p.mask, item + r);
            else
                for (int q = 0; q < held; ++q)
                    wanted_here |= bit(p.mask + chosen_query(chosen, tile * TILE + q) * p.mask_stride, item + r);
        }
        if (wanted_here) {
            float *const room = reinterpret_cast<float *>(shared + 2 * TILE * plan.slots) + team * TILE * plan.room;
            for (int token = 0; token < t; token += ROWS) { // one turn where t is 1
                const E *rows[ROWS];
#pragma unroll
                for (int r = 0; r < ROWS; ++r)
                    rows[r] = t == 1 ? gallery + (item + r < end ? item + r : item) * p.gallery.item_stride
                                     : gallery + item * p.gallery.item_stride +
                                           (token + r < t ? token + r : token) * p.gallery.token_stride;
                float sums[TILE][ROWS], mine[(TILE * ROWS + LANES - 1) / LANES];
                dots<TILE>(queries, rows, p.gallery.d, lane, team_mask, sums);
#pragma unroll
                for (int pair = 0; pair < TILE * ROWS; ++pair) // deal the pairs out to the threads
                    if (pair % LANES == lane) mine[pair / LANES] = sums[pair / ROWS][pair % ROWS];
#pragma unroll
                for (int turn = 0; turn < (TILE * ROWS + LANES - 1) / LANES; ++turn) {
                    const int pair = turn * LANES + lane, q = pair / ROWS, r = pair % ROWS;
                    if (pair >= TILE * ROWS || q >= held) continue;
                    if (t > 1 && token + r < t)
                        room[q * plan.room + token + r] = mine[turn];
                    else if (t == 1 && item + r < end)
                        consider(p, best, q, chosen_query(chosen, tile * TILE + q), item + r, mine[turn]);
                }
            }
            for (int q = 0; q < held && t > 1; ++q) {
                const float score =
                    late_score(room + q * plan.room, t, p.top_tokens, lane, team_mask);
                if (lane == 0) consider(p, best, q, chosen_query(chosen, tile * TILE + q), item, score);
            }
            __syncwarp(team_mask); // the item's dot products have been read
        }
        __syncthreads();
        for (int q = 0; q < TILE; ++q) { // a step adds at most STEP_ROWS keys per query
            if (step + TEAMS * items_per_team < end && count[q] <= plan.slots - STEP_ROWS) continue;
            sort_keys(shared + 2 * q * plan.slots, 2 * plan.slots);
            for (int i = threadIdx.x; i < plan.slots; i += THREADS) shared[(2 * q + 1) * plan.slots + i] = 0;
            if (threadIdx.x == 0) {
                threshold[q] = shared[2 * q * plan.slots + plan.kept - 1];
                count[q] = 0;
            }
        }
        __syncthreads();
    }
    for (int i = threadIdx.x; i < held * plan.kept; i += THREADS) {
        const std::int64_t place = tile * TILE + i / plan.kept;
        partial[(place * slices + slice) * plan.kept + i % plan.kept] =
            shared[2 * (i / plan.kept) * plan.slots + i % plan.kept];
    }
}

// One block per query: the best of all slices, written out; the last key is the next round's ceiling.
__global__ void __launch_bounds__(THREADS, 2)
    merge_slices(CudaTopk p, ExactPlan plan, Chosen chosen, const Key *partial, Key *ceiling, std::int64_t done) {
    const std::int64_t wanted = chosen_count(chosen, p.n), place = blockIdx.x;
    if (place >= wanted) return;
    Key *const keys = reinterpret_cast<Key *>(shared_memory());
    const std::int64_t query = chosen_query(chosen, place);
    const std::int64_t all = slices_for(plan, (wanted + plan.tile - 1) / plan.tile) * plan.kept;
    const Key *mine = partial + place * all;
    for (int i = threadIdx.x; i < plan.slots; i += THREADS) keys[i] = 0;
    for (std::int64_t first = 0; first < all; first += plan.slots) {
        for (int i = threadIdx.x; i < plan.slots; i += THREADS)
            keys[plan.slots + i] = first + i < all ? mine[first + i] : 0;
        sort_keys(keys, 2 * plan.slots);
    }
    write_hits(keys, plan.kept, p.k - done, p.indices + query * p.k + done, p.scores + query * p.k + done);
    if (threadIdx.x == 0) ceiling[query] = keys[plan.kept - 1];
}

template <class E, int TILE>
cudaError_t launch_scan(const CudaTopk &p, const ExactPlan &plan, const Chosen &chosen, Key *partial,
                        const Key *ceiling, cudaStream_t stream) {
    const std::size_t bytes = 2 * TILE * plan.slots * sizeof(Key) + TEAMS * TILE * plan.room * sizeof(float);
    return launch(scan_exactly<E, TILE>, plan.blocks, THREADS, bytes, stream, p, plan, chosen, partial, ceiling);
}

} // namespace

std::size_t exact_space(std::int64_t n, std::int64_t m, std::int64_t t, std::int64_t k) {
    const ExactPlan plan = exact_plan(n, m, t, k);
    return static_cast<std::size_t>(n + plan.blocks * plan.tile * plan.kept) * sizeof(Key);
}

cudaError_t exact_topk(const CudaTopk &p, const Chosen &chosen, void *space, cudaStream_t stream) {
    const ExactPlan plan = exact_plan(p.n, p.gallery.m, p.gallery.t, p.k);
    Key *const ceiling = static_cast<Key *>(space), *const partial = ceiling + p.n;
    cudaError_t error = cudaMemsetAsync(ceiling, 0xff, static_cast<std::size_t>(p.n) * sizeof(Key), stream);
    for (std::int64_t done = 0; done < p.k && error == cudaSuccess; done += plan.kept) {
        error = with_element(p.gallery.element, [&](auto *element) {
            using E = std::remove_pointer_t<decltype(element)>;
            return plan.tile == 1 ? launch_scan<E, 1>(p, plan, chosen, partial, ceiling, stream)
                                  : launch_scan<E, WIDE_TILE>(p, plan, chosen, partial, ceiling, stream);
        });
        if (error == cudaSuccess)
            error = launch(merge_slices, p.n, THREADS, 2 * plan.slots * sizeof(Key), stream, p, plan, chosen, partial,
                           ceiling, done);
    }
    return error;
}

} // namespace labrador
