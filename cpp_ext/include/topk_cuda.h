// The CUDA top-k: device pointers, a stream, and buffers that the caller owns. Every call queues a fixed
// sequence of kernels, allocates nothing and waits for nothing, so it may be captured in a CUDA graph.
#pragma once

#include "kernels.h"

#include <cuda_runtime_api.h>

namespace labrador {

constexpr std::int64_t CUDA_MAX_ITEMS = 0xffffff00; // items, and places in tiles of them, are numbers of 32 bits
constexpr std::int64_t CUDA_MAX_TOKENS = 1024;      // per item
constexpr std::int64_t CUDA_MAX_CODED = 8192;       // dimensions of a gallery with codes

// (m, t, d) in device memory, each row contiguous; strides count elements.
struct CudaGallery {
    const void *data;
    Element element;
    std::int64_t m, t, d, item_stride, token_stride;
};

// As Queries, Gallery and Filter of kernels.h, every pointer on the device.
struct CudaTopk {
    const float *queries; // (n, d)
    std::int64_t n, query_stride;
    CudaGallery gallery;
    const void *codes; // cuda_codes_bytes, filled by cuda_pack; null: every pair is scored in full
    int top_tokens;
    const std::uint8_t *mask; // null: every item; bits are little-endian within a byte
    std::int64_t mask_stride; // bytes, 0: one mask for all queries
    const std::int64_t *excluded, *excluded_begin;
    float above;
    std::int64_t k;
    std::int64_t *indices; // (n, k)
    float *scores;         // (n, k)
    void *workspace;       // cuda_topk_workspace bytes, aligned to 16
};

// Bytes of codes for m items, aligned to 16.
std::size_t cuda_codes_bytes(std::int64_t m, std::int64_t t, std::int64_t d);

// Codes every row, less `mean` (d,); null: less the mean of the rows, of int8 rows less nothing.
cudaError_t cuda_pack(const CudaGallery &, const float *mean, void *codes, cudaStream_t);

std::size_t cuda_topk_workspace(std::int64_t n, std::int64_t m, std::int64_t t, std::int64_t d, std::int64_t k,
                                bool coded);

cudaError_t cuda_topk(const CudaTopk &, cudaStream_t);

} // namespace labrador
