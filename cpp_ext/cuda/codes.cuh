// A gallery's codes on the device, and the bound that they prove.
//
// A row x, less the mean, is scale * c + r with c in -127 .. 127; norm >= |scale c| and residual >= |r|.
// For a query q = scale_q c_q + r_q the float32 score of the pair, whatever it rounds, is at most
//     upper + <q, mean> + 4 G |q| |mean| + tiny,   G = (d / 16 + 8 + top_tokens) 2^-24,
//     upper = fma(float(c . c_q) * scale_q, scale, fma(norm, R, residual * N)),
//     R = |r_q| (1 + 2^-18) + 4 G |q|,   N = |q| (1 + 4 G + 2^-18):
// Cauchy-Schwarz bounds what the codes leave out, and 4 G covers the rounding of the score itself (d / 16
// + 5 units of 2^-24, one more per token in a mean), of c . c_q as a float, and of upper.
#pragma once

#include "topk_cuda.h"

#include <cuda_runtime.h>

namespace labrador {

// Codes lie in blocks of 128 rows, a block in chunks of 64 dimensions, a chunk row after row: 8 KiB that
// are read one after another by whoever scans. Dimensions and rows that are missing are zeros.
constexpr int BLOCK_ROWS = 128, CHUNK_BYTES = 64;

// Between these a number's square and its share of a sum keep clear of underflow and overflow. A row
// whose norm is above, or isn't a number, gets an infinite residual and is never screened out; one whose
// entries are all below gets no codes, only a residual. A query outside isn't screened at all.
constexpr double SMALLEST = 0x1p-60, LARGEST = 0x1p60;

struct RowBound {
    float scale, norm, residual, unused; // 16 bytes: one copy, one load
};

struct CodesHead {
    double mean_norm; // at least the norm of the mean
    double unused;
};

inline std::int64_t coded_depth(std::int64_t d) { return (d + CHUNK_BYTES - 1) / CHUNK_BYTES * CHUNK_BYTES; }

// Where things are in a buffer of cuda_codes_bytes.
struct CudaCodes {
    std::uint8_t *codes;
    RowBound *bounds;
    float *mean; // (depth,)
    CodesHead *head;
    std::int64_t blocks, depth, bytes;

    CudaCodes(void *buffer, std::int64_t m, std::int64_t t, std::int64_t d)
        : blocks((m * t + BLOCK_ROWS - 1) / BLOCK_ROWS), depth(coded_depth(d)) {
        char *place = static_cast<char *>(buffer);
        codes = reinterpret_cast<std::uint8_t *>(place);
        bounds = reinterpret_cast<RowBound *>(place += blocks * BLOCK_ROWS * depth);
        mean = reinterpret_cast<float *>(place += blocks * BLOCK_ROWS * static_cast<std::int64_t>(sizeof(RowBound)));
        head = reinterpret_cast<CodesHead *>(place += depth * static_cast<std::int64_t>(sizeof(float)));
        place += sizeof(CodesHead);
        bytes = place - static_cast<char *>(buffer);
    }
};

namespace {

// Of row `row`, where its first chunk begins; the next chunk is BLOCK_ROWS * CHUNK_BYTES further on.
__device__ inline std::int64_t row_offset(std::int64_t row, int chunks) {
    return (row / BLOCK_ROWS * chunks * BLOCK_ROWS + row % BLOCK_ROWS) * CHUNK_BYTES;
}

// The least float that is at least `value`.
__device__ inline float float_above(double value) { return __double2float_ru(value); }

// Sums over a warp, in every thread of it.
__device__ inline double sum_of_warp(double value) {
#pragma unroll
    for (int half = 16; half > 0; half /= 2) value += __shfl_xor_sync(0xffffffffu, value, half);
    return value;
}

__device__ inline double largest_of_warp(double value) {
#pragma unroll
    for (int half = 16; half > 0; half /= 2) {
        const double other = __shfl_xor_sync(0xffffffffu, value, half);
        value = value > other || value != value ? value : other; // NaN stays
    }
    return value;
}

} // namespace
} // namespace labrador
