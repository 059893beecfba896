// Survivors to hits: a block per query takes candidates in descending order of their upper bounds, scores
// them exactly, a batch at a time, and merges them into the best so far, until what is left lies below
// the threshold that these have raised. Keys order hits totally, so the result doesn't depend on who
// survived, or in which order: only on the gallery.
#include "launch.cuh"
#include "ptx.cuh"
#include "screening.cuh"

namespace labrador {
namespace {

constexpr int CANDIDATES = 2048; // sorted at a time, 16 KiB
constexpr int LATE_ROOM = 8192;  // floats for dot products of items with several tokens, shared by the teams

// Half-warps that score items of t tokens at a time.
__host__ __device__ inline int late_teams(std::int64_t t) {
    const int fit = LATE_ROOM / (t > 1 ? late_room(t) : 1);
    return fit < TEAMS ? fit : TEAMS;
}

// Exact keys of a batch: of candidates first .. first + size, those whose upper bound isn't below threshold.
template <class E>
__device__ void score_batch(const CudaTopk &p, std::int64_t query, const Key *candidates, int size, float threshold,
                            float *room, Key *keys) {
    const int team = threadIdx.x / LANES, lane = threadIdx.x % LANES;
    const unsigned mask = half_warp();
    const float *const from = p.queries + query * p.query_stride;
    const E *const gallery = static_cast<const E *>(p.gallery.data);
    const auto wanted = [&](int i) {
        return i < size && candidates[i] && !(key_score(candidates[i]) < threshold) &&
               !is_excluded(p, query, key_item(candidates[i]));
    };
    const auto store = [&](int i, bool scored, float score) {
        if (lane == 0) keys[i] = scored && score > p.above && score <= FLT_MAX ? make_key(score, key_item(candidates[i])) : 0;
    };
    if (p.gallery.t == 1) {
        const float *const queries[1] = {from};
        for (int first = team * ROWS; first < size; first += TEAMS * ROWS) {
            const E *rows[ROWS];
            bool scored[ROWS];
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                scored[r] = wanted(first + r);
                rows[r] = gallery + (scored[r] ? key_item(candidates[first + r]) * p.gallery.item_stride : 0);
            }
            float sums[1][ROWS] = {};
            if (scored[0] || scored[1] || scored[2] || scored[3]) dots<1>(queries, rows, p.gallery.d, lane, mask, sums);
#pragma unroll
            for (int r = 0; r < ROWS; ++r)
                if (first + r < size) store(first + r, scored[r], sums[0][r]);
        }
    } else {
        const int teams = late_teams(p.gallery.t);
        for (int i = team; i < size && team < teams; i += teams) {
            float score = 0;
            const bool scored = wanted(i);
            if (scored)
                score = score_item(from, gallery + key_item(candidates[i]) * p.gallery.item_stride,
                                   p.gallery.token_stride, p.gallery.t, p.gallery.d, p.top_tokens,
                                   room + team * late_room(p.gallery.t), lane, mask);
            store(i, scored, score);
        }
    }
}

template <class E>
__global__ void __launch_bounds__(THREADS, 2)
    refine_kernel(CudaTopk p, Screening s, Chosen chosen, std::int64_t sample, Stage stage) {
    if (blockIdx.x >= chosen_count(chosen, p.n)) return;
    const std::int64_t query = chosen_query(chosen, blockIdx.x);
    if (s.states[query] == EXACT) return;
    Key *const candidates = reinterpret_cast<Key *>(shared_memory()), *const best = candidates + CANDIDATES;
    float *const room = reinterpret_cast<float *>(best + 2 * s.slots);
    __shared__ float threshold, floor;
    Key *const kept = s.best + query * p.k;
    const int k = static_cast<int>(p.k);

    std::int64_t found = s.counts[query];
    if (sample) found = s.eligible && *s.eligible_count < sample ? *s.eligible_count : p.gallery.m < sample ? p.gallery.m : sample;
    const bool overflowed = s.states[query] == OVERFLOWED || found > s.capacity;
    if (found > s.capacity) found = s.capacity;
    for (int i = threadIdx.x; i < 2 * s.slots; i += THREADS) best[i] = i < k ? kept[i] : 0;
    if (threadIdx.x == 0) {
        floor = s.floors[query];
        threshold = __double2float_rd(floor - s.offsets[query]);
    }
    __syncthreads();
    for (std::int64_t chunk = 0; chunk < found; chunk += CANDIDATES) {
        const int here = static_cast<int>(found - chunk < CANDIDATES ? found - chunk : CANDIDATES);
        int size = 1;
        while (size < here) size *= 2;
        const Key *const from = s.candidates + query * s.capacity + chunk;
        for (int i = threadIdx.x; i < size; i += THREADS) candidates[i] = i < here ? from[i] : 0;
        sort_keys(candidates, size);
        __syncthreads();
        for (int first = 0; first < here; first += s.slots) {
            if (!candidates[first] || key_score(candidates[first]) < threshold) break; // of everyone alike
            const int batch = here - first < s.slots ? here - first : s.slots;
            score_batch<E>(p, query, candidates + first, batch, threshold, room, best + s.slots);
            for (int i = batch + static_cast<int>(threadIdx.x); i < s.slots; i += THREADS) best[s.slots + i] = 0;
            sort_keys(best, 2 * s.slots);
            if (threadIdx.x == 0 && best[k - 1] && key_score(best[k - 1]) > floor) {
                floor = key_score(best[k - 1]);
                threshold = __double2float_rd(floor - s.offsets[query]);
            }
            __syncthreads();
        }
        __syncthreads(); // everyone is done with the candidates
    }
    // What a sample or an overflowing scan found teaches a threshold; the hits themselves come again.
    const bool at_end = stage == Stage::last || stage == Stage::last_again;
    for (int i = threadIdx.x; i < k && !sample; i += THREADS) kept[i] = overflowed ? 0 : best[i];
    if (at_end && !overflowed) write_hits(best, k, k, p.indices + query * p.k, p.scores + query * p.k);
    if (threadIdx.x == 0) {
        s.floors[query] = floor;
        s.counts[query] = 0;
        if (overflowed && stage == Stage::last) s.again[atomicAdd(s.again_count, 1)] = static_cast<int>(query);
        if (overflowed && stage == Stage::last_again) s.exact[atomicAdd(s.exact_count, 1)] = static_cast<int>(query);
        s.states[query] = !overflowed || stage == Stage::last ? SCANNED : OVERFLOWED;
        s.bounds[query].threshold = overflowed && stage != Stage::last ? __int_as_float(0x7f800000) : threshold;
    }
}

} // namespace

cudaError_t refine(const CudaTopk &p, const Screening &s, const Chosen &chosen, const Share &share, Stage stage,
                   cudaStream_t stream) {
    const std::size_t room = p.gallery.t == 1 ? 0 : static_cast<std::size_t>(late_teams(p.gallery.t)) * late_room(p.gallery.t);
    const std::size_t shared = (CANDIDATES + 2 * static_cast<std::size_t>(s.slots)) * sizeof(Key) + room * sizeof(float);
    return with_element(p.gallery.element, [&](auto *element) {
        return launch(refine_kernel<std::remove_pointer_t<decltype(element)>>, p.n, THREADS, shared, stream, p, s,
                      chosen, share.sample, stage);
    });
}

} // namespace labrador
