// Exact scores: of all pairs of one person, and of the pairs that the screen kept. Who is best is a total order,
// and 64-bit maxima don't care in which order they are taken.
#include "mining_rows.cuh"

#include <cfloat>

namespace labrador {
namespace {

constexpr unsigned NOBODY = ~0u;

__device__ inline bool finite(float score) { return fabsf(score) <= FLT_MAX; }

// Negatives of a row score below this.
__device__ inline float limit_of(const CudaMining &p, const MiningSpace &space, std::int64_t row) {
    const Key positive = p.semi_hard ? space.best_positive[row] : 0;
    return positive ? -key_score(positive) : __int_as_float(0x7f800000);
}

// A half-warp per anchor scores the others of its person, for both. The least score is the largest of the
// negated ones.
template <class E> __global__ void __launch_bounds__(THREADS) positives(CudaMining p, MiningSpace space) {
    const std::int64_t anchor = grid_thread() / LANES;
    const int lane = threadIdx.x % LANES;
    if (anchor >= p.anchors.n) return;
    const E *const own[1] = {row_of<E>(p.anchors, anchor)};
    const unsigned *const heads = space.heads + space.table_mask + 1, *const next = space.next + space.first[1];
    unsigned link = p.paired ? static_cast<unsigned>(anchor) + 1 : heads[space.places[anchor].person];
    Key best = 0;
    while (link) {
        const E *mates[ROWS];
        std::int64_t numbers[ROWS];
        bool any = false;
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            numbers[r] = static_cast<std::int64_t>(link) - 1;
            if (link) link = p.paired ? 0 : next[numbers[r]];
            if (p.exclude_self && numbers[r] == anchor) numbers[r] = -1;
            any |= numbers[r] >= 0;
            mates[r] = row_of<E>(p.others, numbers[r] < 0 ? 0 : numbers[r]);
        }
        if (!any) continue;
        float scores[1][ROWS];
        dots<1>(own, mates, p.d, lane, half_warp(), scores);
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            if (numbers[r] < 0 || !finite(scores[0][r])) continue;
            best = max(best, make_key(-scores[0][r], numbers[r]));
            if (lane == r)
                atomicMax(space.best_positive + space.first[1] + numbers[r], make_key(-scores[0][r], anchor));
        }
    }
    if (lane == 0) space.best_positive[anchor] = best;
}

// Of each four threads, the candidate with the largest bound.
__device__ inline Candidate most_hopeful(Candidate mine, unsigned team) {
#pragma unroll
    for (int gap = 1; gap < 4; gap *= 2) {
        const Candidate other{__shfl_xor_sync(team, mine.row, gap), __shfl_xor_sync(team, mine.upper, gap)};
        if (mine.row == NOBODY || (other.row != NOBODY && other.upper > mine.upper)) mine = other;
    }
    return mine;
}

// A half-warp per row scores what was kept for it, four at a time: first the most hopeful, and then those whose
// bounds still reach the best score, which are few.
template <class E> __global__ void __launch_bounds__(THREADS) rescore(CudaMining p, MiningSpace space) {
    const std::int64_t row = grid_thread() / LANES;
    const int lane = threadIdx.x % LANES, side = row >= space.first[1];
    const unsigned team = half_warp();
    const std::int64_t number = row - space.first[side];
    if (row >= space.padded || number >= space.rows[side]) return;
    const unsigned count = space.counts[row];
    if (count > MINING_KEPT) {
        if (lane == 0)
            space.full[space.first[side] + atomicAdd(space.full_count + side, 1u)] = static_cast<unsigned>(number);
        return;
    }
    if (count == 0) return;
    const Candidate *const kept = space.kept + row * MINING_KEPT;
    const E *const own[1] = {row_of<E>(side_of(p, side), number)};
    const float limit = limit_of(p, space, row);
    const unsigned stored = space.floors[row];
    float floor = stored ? key_score(static_cast<Key>(stored) << 32) : -__int_as_float(0x7f800000);
    Key best = 0;
    const auto score = [&](const unsigned(&numbers)[ROWS]) {
        const E *them[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; ++r) them[r] = row_of<E>(side_of(p, 1 - side), numbers[r]);
        float scores[1][ROWS];
        dots<1>(own, them, p.d, lane, team, scores);
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            if (!finite(scores[0][r]) || !(scores[0][r] < limit)) continue;
            best = max(best, make_key(scores[0][r], numbers[r]));
            floor = fmaxf(floor, scores[0][r]);
        }
    };

    Candidate mine{NOBODY, 0.0f};
    for (unsigned index = lane; index < count; index += LANES)
        if (mine.row == NOBODY || kept[index].upper > mine.upper) mine = kept[index];
    mine = most_hopeful(mine, team);
    unsigned first[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
        first[r] = __shfl_sync(team, mine.row, r * (LANES / ROWS), LANES);
        if (first[r] == NOBODY) first[r] = first[0];
    }
    score(first);

    for (unsigned begin = 0; begin < count; begin += LANES) {
        bool waits = begin + lane < count;
        mine = waits ? kept[begin + lane] : Candidate{NOBODY, 0.0f};
#pragma unroll
        for (int r = 0; r < ROWS; ++r) waits = waits && mine.row != first[r];
        while (true) {
            waits = waits && !(mine.upper < floor);
            unsigned waiting = __ballot_sync(team, waits) & team;
            if (!waiting) break;
            unsigned numbers[ROWS];
#pragma unroll
            for (int r = 0; r < ROWS; ++r) { // of too few, the last again
                const int source = __ffs(static_cast<int>(waiting)) - 1;
                if (waiting & (waiting - 1) || r == ROWS - 1) waiting &= waiting - 1;
                if (source % LANES == lane) waits = false;
                numbers[r] = __shfl_sync(team, mine.row, source);
            }
            score(numbers);
        }
    }
    if (lane == 0) space.best_negative[row] = best;
}

__global__ void __launch_bounds__(THREADS) write(CudaMining p, MiningSpace space) {
    const std::int64_t index = grid_thread();
    if (index >= p.anchors.n + p.others.n) return;
    const int side = index >= p.anchors.n;
    const std::int64_t number = side ? index - p.anchors.n : index, row = space.first[side] + number;
    const CudaHardest &to = side ? p.of_others : p.of_anchors;
    const Key positive = space.best_positive[row], negative = space.best_negative[row];
    const float none = __int_as_float(0x7fc00000);
    to.positive[number] = positive ? key_item(positive) : -1;
    to.positive_score[number] = positive ? -key_score(positive) : none;
    to.negative[number] = negative ? key_item(negative) : -1;
    to.negative_score[number] = negative ? key_score(negative) : none;
}

} // namespace

cudaError_t mining_positives(const CudaMining &p, const MiningSpace &space, cudaStream_t stream) {
    if (p.anchors.n == 0 || p.others.n == 0) return cudaSuccess;
    return with_row_element(p.element, [&](auto *type) {
        using E = std::remove_pointer_t<decltype(type)>;
        return launch(positives<E>, blocks_of(p.anchors.n * LANES), THREADS, 0, stream, p, space);
    });
}

cudaError_t mining_decide(const CudaMining &p, const MiningSpace &space, cudaStream_t stream) {
    return with_row_element(p.element, [&](auto *type) {
        using E = std::remove_pointer_t<decltype(type)>;
        cudaError_t error = launch(rescore<E>, blocks_of(space.padded * LANES), THREADS, 0, stream, p, space);
        if (error == cudaSuccess) error = mining_full(p, space, stream);
        if (error == cudaSuccess)
            error = launch(write, blocks_of(p.anchors.n + p.others.n), THREADS, 0, stream, p, space);
        return error;
    });
}

} // namespace labrador
