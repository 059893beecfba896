// The gradient of mined scores. Every row of the result is a sum over its own positive, its own negative, and
// then the rows of the other side that chose it, in ascending order: products and sums rounded one by one, the
// bits of the CPU's. A term is 2 * source + (0: its positive, 1: its negative). Atomics only share out places:
// the terms of a row are put in order by counting, for each, how many stand before it. Where many rows choose
// one, that is quadratic in their number, and still less work than adding them up.
#include "mining_rows.cuh"

namespace labrador {
namespace {

constexpr int WIDTH = 4, DIMENSIONS = 32 * WIDTH; // that a warp sums

// Rows are counted over both sides: first the anchors, then the others.
struct Space {
    std::int64_t rows[2], all;
    unsigned *terms, *sorted; // (2 * all,)
    unsigned *begin;          // (all) where a row's terms begin
    unsigned *counts, *taken; // (all), (all) zero when a call begins, as is `end`
    unsigned *end;            // (1,) of what was given away
    std::size_t zeroed_bytes, bytes;
};

Space space_of(void *workspace, std::int64_t n, std::int64_t m) {
    Space space{{n, m}, n + m, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0, 0};
    const auto all = static_cast<std::size_t>(n + m);
    unsigned *const words = static_cast<unsigned *>(workspace);
    space.counts = words;
    space.taken = words + all;
    space.end = words + 2 * all;
    space.begin = words + 2 * all + 1;
    space.terms = words + 3 * all + 1;
    space.sorted = words + 5 * all + 1;
    space.zeroed_bytes = (2 * all + 1) * sizeof(unsigned);
    space.bytes = (7 * all + 1) * sizeof(unsigned);
    return space;
}

struct Choice {
    std::int64_t row; // chosen, a number within the other side; -1: none that matters
    float weight;
};

__device__ inline Choice choice_of(const CudaScoreGradients &of, std::int64_t source, int role) {
    const Choice choice{role ? of.negative[source] : of.positive[source],
                        role ? of.negative_score[source] : of.positive_score[source]};
    return choice.weight != 0.0f ? choice : Choice{-1, 0.0f};
}

// The term of this thread, and the row that it adds to.
struct Term {
    unsigned name;
    std::int64_t target; // counted over both sides, -1: none

    __device__ Term(const CudaMiningGradient &p, const Space &space) : name(0), target(-1) {
        const std::int64_t index = grid_thread() / 2;
        if (index >= space.all) return;
        const int side = index >= space.rows[0], role = threadIdx.x % 2;
        const std::int64_t source = side ? index - space.rows[0] : index;
        const Choice choice = choice_of(side ? p.of_others : p.of_anchors, source, role);
        name = static_cast<unsigned>(2 * source + role);
        if (choice.row >= 0) target = side ? choice.row : space.rows[0] + choice.row;
    }
};

__global__ void __launch_bounds__(THREADS) count(CudaMiningGradient p, Space space) {
    const Term term(p, space);
    if (term.target >= 0) atomicAdd(space.counts + term.target, 1u);
}

__global__ void __launch_bounds__(THREADS) share_out(Space space) {
    const std::int64_t row = grid_thread();
    if (row < space.all && space.counts[row]) space.begin[row] = atomicAdd(space.end, space.counts[row]);
}

__global__ void __launch_bounds__(THREADS) fill(CudaMiningGradient p, Space space) {
    const Term term(p, space);
    if (term.target >= 0) space.terms[space.begin[term.target] + atomicAdd(space.taken + term.target, 1u)] = term.name;
}

__global__ void __launch_bounds__(THREADS) order(CudaMiningGradient p, Space space) {
    const Term term(p, space);
    if (term.target < 0) return;
    const unsigned begin = space.begin[term.target], end = begin + space.counts[term.target];
    unsigned place = begin;
    for (unsigned i = begin; i < end; ++i) place += space.terms[i] < term.name;
    space.sorted[place] = term.name;
}

// A warp per row and DIMENSIONS of its d.
template <class E> __global__ void __launch_bounds__(THREADS) add(CudaMiningGradient p, Space space) {
    const std::int64_t parts = (p.d + DIMENSIONS - 1) / DIMENSIONS, index = grid_thread() / 32 / parts;
    if (index >= space.all) return;
    const int side = index >= space.rows[0];
    const std::int64_t row = side ? index - space.rows[0] : index;
    const std::int64_t first = grid_thread() / 32 % parts * DIMENSIONS + threadIdx.x % 32;
    const CudaBatch &sources = side ? p.anchors : p.others;
    const CudaScoreGradients &own = side ? p.of_others : p.of_anchors, &back = side ? p.of_anchors : p.of_others;
    float sums[WIDTH] = {};
    const auto gain = [&](std::int64_t source, float weight) {
        const E *const from = row_of<E>(sources, source);
#pragma unroll
        for (int k = 0; k < WIDTH; ++k)
            if (first + k * 32 < p.d) sums[k] = __fadd_rn(sums[k], __fmul_rn(weight, widened(from + first + k * 32)));
    };
#pragma unroll
    for (int role = 0; role < 2; ++role) {
        const Choice choice = choice_of(own, row, role);
        if (choice.row >= 0) gain(choice.row, choice.weight);
    }
    const unsigned count = space.counts[index], begin = count ? space.begin[index] : 0;
#pragma unroll 4
    for (unsigned i = begin; i < begin + count; ++i) {
        const unsigned name = space.sorted[i];
        gain(name / 2, name % 2 ? back.negative_score[name / 2] : back.positive_score[name / 2]);
    }
    float *const to = (side ? p.d_others : p.d_anchors) + row * p.d;
#pragma unroll
    for (int k = 0; k < WIDTH; ++k)
        if (first + k * 32 < p.d) to[first + k * 32] = sums[k];
}

} // namespace

std::size_t cuda_mining_gradient_workspace(std::int64_t n, std::int64_t m) { return space_of(nullptr, n, m).bytes; }

cudaError_t cuda_hard_triplets_gradient(const CudaMiningGradient &p, cudaStream_t stream) {
    const Space space = space_of(p.workspace, p.anchors.n, p.others.n);
    if (space.all == 0) return cudaSuccess;
    const std::int64_t blocks = blocks_of(2 * space.all);
    cudaError_t error = cudaMemsetAsync(p.workspace, 0, space.zeroed_bytes, stream);
    if (error == cudaSuccess) error = launch(count, blocks, THREADS, 0, stream, p, space);
    if (error == cudaSuccess) error = launch(share_out, blocks_of(space.all), THREADS, 0, stream, space);
    if (error == cudaSuccess) error = launch(fill, blocks, THREADS, 0, stream, p, space);
    if (error == cudaSuccess) error = launch(order, blocks, THREADS, 0, stream, p, space);
    if (error != cudaSuccess) return error;
    return with_row_element(p.element, [&](auto *type) {
        using E = std::remove_pointer_t<decltype(type)>;
        const std::int64_t warps = space.all * ((p.d + DIMENSIONS - 1) / DIMENSIONS);
        return launch(add<E>, blocks_of(warps * 32), THREADS, 0, stream, p, space);
    });
}

} // namespace labrador
