// The exact scan: every pair in float32 lanes. It serves galleries without codes, any k, and the queries
// for which codes screen out too little.
#pragma once

#include "late.cuh"
#include "keys.cuh"
#include "topk_cuda.h"

namespace labrador {

// Which of a call's queries a kernel serves, in device memory, so that kernels decide and nothing waits.
// count null: all. queries null: the first *count.
struct Chosen {
    const int *queries, *count;
};

namespace {

__device__ inline std::int64_t chosen_count(const Chosen &chosen, std::int64_t n) {
    return chosen.count ? *chosen.count : n;
}

__device__ inline std::int64_t chosen_query(const Chosen &chosen, std::int64_t place) {
    return chosen.queries ? chosen.queries[place] : place;
}

__device__ inline bool bit(const std::uint8_t *bits, std::int64_t item) { return bits[item / 8] >> (item % 8) & 1; }

__device__ inline bool is_excluded(const CudaTopk &p, std::int64_t query, std::int64_t item) {
    if (!p.excluded) return false;
    std::int64_t low = p.excluded_begin[query], high = p.excluded_begin[query + 1];
    const std::int64_t end = high;
    while (low < high) {
        const std::int64_t middle = (low + high) / 2;
        if (p.excluded[middle] < item)
            low = middle + 1;
        else
            high = middle;
    }
    return low < end && p.excluded[low] == item;
}

constexpr int TEAMS = THREADS / LANES;

} // namespace

// Bytes of workspace for n queries, aligned to 8.
std::size_t exact_space(std::int64_t n, std::int64_t m, std::int64_t t, std::int64_t k);

// Queued on the stream: the results of the chosen queries.
cudaError_t exact_topk(const CudaTopk &, const Chosen &, void *space, cudaStream_t);

} // namespace labrador
