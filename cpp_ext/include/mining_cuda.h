// Batch-hard mining on CUDA: device pointers, a stream, and buffers that the caller owns.
//
// Letters: n anchors, m others, d dimension.
#pragma once

#include "kernels.h"

#include <cuda_runtime_api.h>

namespace labrador {

// One side of a batch: (n, d), a row contiguous. The stride counts elements.
struct CudaBatch {
    const void *data;
    std::int64_t n, stride;
    const void *ids; // (n,); null for the gradient, which asks for none
};

// For each row of one side, two rows of the other side: -1 and NaN where there is none.
struct CudaHardest {
    std::int64_t *positive;
    float *positive_score;
    std::int64_t *negative;
    float *negative_score;
};

struct CudaMining {
    CudaBatch anchors, others;
    std::int64_t d;
    Element element; // of both sides; not int8
    bool wide_ids;   // int64, else int32
    bool paired;     // the positive of row i is row i of the other side
    bool semi_hard;  // negatives score below their row's positive
    bool exclude_self;
    CudaHardest of_anchors, of_others;
    void *workspace; // cuda_mining_workspace bytes, aligned to 16
};

constexpr std::int64_t CUDA_MINING_ROWS = std::int64_t(1) << 21; // n and m, so that their tiles fit a grid
constexpr std::int64_t CUDA_MINING_DEPTH = 65536;                // d; 127 * 127 * d stays below 2^31

std::size_t cuda_mining_workspace(std::int64_t n, std::int64_t m, std::int64_t d);

// Queued on the stream; nothing is allocated, nothing waits. The indices and bits of hard_triplets (mining.h).
cudaError_t cuda_hard_triplets(const CudaMining &, cudaStream_t);

// The rows that hard_triplets chose, and the gradient of a loss with respect to their scores.
struct CudaScoreGradients {
    const std::int64_t *positive;
    const float *positive_score;
    const std::int64_t *negative;
    const float *negative_score;
};

struct CudaMiningGradient {
    CudaBatch anchors, others;
    std::int64_t d;
    Element element;
    CudaScoreGradients of_anchors, of_others;
    float *d_anchors, *d_others; // (n, d) and (m, d), written
    void *workspace;             // cuda_mining_gradient_workspace bytes, aligned to 16
};

std::size_t cuda_mining_gradient_workspace(std::int64_t n, std::int64_t m);

// A row's sum runs over its own positive, its own negative, and then the rows that chose it, in ascending
// order; the same bits every time.
cudaError_t cuda_hard_triplets_gradient(const CudaMiningGradient &, cudaStream_t);

} // namespace labrador
