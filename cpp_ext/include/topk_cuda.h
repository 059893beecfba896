// The CUDA top-k: device pointers, a stream, and buffers that the caller owns.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace labrador {

// As Queries, Gallery and Filter of kernels.h, every pointer on the device.
struct CudaTopk {
    const float *queries; // (n, d)
    std::int64_t n, d, query_stride;
    const float *gallery; // (m, t, d)
    std::int64_t m, t, item_stride, token_stride;
    int top_tokens;
    const std::uint8_t *mask; // null: every row
    std::int64_t mask_stride; // bytes, 0: one mask for all queries
    const std::int64_t *excluded, *excluded_begin;
    float above;
    std::int64_t k;
    std::int64_t *indices; // (n, k)
    float *scores;         // (n, k)
    void *workspace;       // cuda_topk_workspace bytes, aligned to 8
};

constexpr std::int64_t CUDA_MAX_ITEMS = 0xfffffffe; // an item number fills the low half of a 64-bit key
constexpr int CUDA_MAX_TOP_TOKENS = 128;

std::size_t cuda_topk_workspace(std::int64_t n, std::int64_t m, std::int64_t k, int top_tokens);

// Queued on the stream; nothing is allocated, nothing waits.
cudaError_t cuda_topk(const CudaTopk &, cudaStream_t);

} // namespace labrador
