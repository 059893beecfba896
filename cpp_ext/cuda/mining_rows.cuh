// Rows of a batch, of any element type, and the half-warps that score them.
#pragma once

#include "dots.cuh"
#include "keys.cuh"
#include "launch.cuh"
#include "mining_space.cuh"

namespace labrador {
namespace {

template <class E> __device__ inline const E *row_of(const CudaBatch &batch, std::int64_t number) {
    return static_cast<const E *>(batch.data) + number * batch.stride;
}

__device__ inline const CudaBatch &side_of(const CudaMining &p, int side) { return side ? p.others : p.anchors; }

// The thread's number in the grid, for grids of blocks of THREADS.
__device__ inline std::int64_t grid_thread() { return static_cast<std::int64_t>(blockIdx.x) * THREADS + threadIdx.x; }

// run(a null pointer to the element's type), for the types that a batch may have.
template <class Run> cudaError_t with_row_element(Element element, Run &&run) {
    return with_element(element, [&](auto *type) -> cudaError_t {
        if constexpr (sizeof *type == 1)
            return cudaErrorInvalidValue; // int8
        else
            return run(type);
    });
}

inline std::int64_t blocks_of(std::int64_t threads) { return (threads + THREADS - 1) / THREADS; }

} // namespace
} // namespace labrador
