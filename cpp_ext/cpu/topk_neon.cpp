// NEON: a pair's 16 lanes are four q registers, so blocking over queries and rows changes no bit.
#include "kernels.h"

#include <arm_neon.h>

namespace labrador {
namespace {

// Q queries' and R rows' next 16 elements, a slice of four lanes at a time: beside the accumulators only
// R rows and a query have to be in registers. The empty asm holds the next slice's loads back; without it
// gcc loads early and keeps accumulators in memory.
template <int Q, int R>
inline void add_sixteen(const float *const (&q)[Q], const float *const (&x)[R], float32x4_t (&lanes)[Q][R][4]) {
#pragma GCC unroll 4
    for (int slice = 0; slice < 4; ++slice) {
        __asm__ volatile("" ::: "memory");
        float32x4_t row[R];
#pragma GCC unroll 4
        for (int j = 0; j < R; ++j) row[j] = vld1q_f32(x[j] + 4 * slice);
#pragma GCC unroll 4
        for (int i = 0; i < Q; ++i) {
            const float32x4_t query = vld1q_f32(q[i] + 4 * slice);
#pragma GCC unroll 4
            for (int j = 0; j < R; ++j) lanes[i][j][slice] = vfmaq_f32(lanes[i][j][slice], query, row[j]);
        }
    }
}

// The beginning of 16 floats that are there to be read, for a row's last ones.
inline const float *copied(const float *from, std::size_t count, float *to) {
    __builtin_memcpy(to, from, count * sizeof(float));
    return to;
}

// The halving tree, 16 lanes to 8, 4, 2, 1; + 0 makes -0 a +0.
inline float fold(const float32x4_t (&lanes)[4]) {
    const float32x4_t four = vaddq_f32(vaddq_f32(lanes[0], lanes[2]), vaddq_f32(lanes[1], lanes[3]));
    return vpadds_f32(vadd_f32(vget_low_f32(four), vget_high_f32(four))) + 0.0f;
}

// Q queries against R rows with all 4*Q*R accumulators in registers.
template <int Q, int R>
inline void block(const float *const *queries, const float *const *gallery, std::size_t d, float *dots,
                  std::size_t stride) {
    float32x4_t lanes[Q][R][4];
    const float *q[Q], *x[R];
#pragma GCC unroll 4
    for (int i = 0; i < Q; ++i) q[i] = queries[i];
#pragma GCC unroll 4
    for (int j = 0; j < R; ++j) x[j] = gallery[j];
#pragma GCC unroll 4
    for (int i = 0; i < Q; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < R; ++j)
#pragma GCC unroll 4
            for (int slice = 0; slice < 4; ++slice) lanes[i][j][slice] = vdupq_n_f32(0.0f);

    std::size_t left = d;
    for (; left >= 16; left -= 16) {
        add_sixteen<Q, R>(q, x, lanes);
#pragma GCC unroll 4
        for (int i = 0; i < Q; ++i) q[i] += 16;
#pragma GCC unroll 4
        for (int j = 0; j < R; ++j) x[j] += 16;
    }
    if (left) { // absent lanes add 0 * 0, which changes at most the sign of a zero
        float last[Q + R][16] = {};
#pragma GCC unroll 4
        for (int i = 0; i < Q; ++i) q[i] = copied(q[i], left, last[i]);
#pragma GCC unroll 4
        for (int j = 0; j < R; ++j) x[j] = copied(x[j], left, last[Q + j]);
        add_sixteen<Q, R>(q, x, lanes);
    }
#pragma GCC unroll 4
    for (int i = 0; i < Q; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < R; ++j) dots[static_cast<std::size_t>(i) * stride + j] = fold(lanes[i][j]);
}

// Rows `begin` to `end` against Q queries, R rows at a time.
template <int Q, int R>
void rows_by(const float *const *queries, const float *const *gallery, std::size_t begin, std::size_t end,
             std::size_t rows, std::size_t d, float *dots) {
    std::size_t j = begin;
    for (; j + R <= end; j += R) block<Q, R>(queries, gallery + j, d, dots + j, rows);
    for (; j < end; ++j) block<Q, 1>(queries, gallery + j, d, dots + j, rows);
}

constexpr std::size_t CACHED_ROWS = 8; // few enough to stay in the first-level cache while all queries pass

} // namespace

void dot_tile_neon(const float *const *queries, std::size_t n, const float *const *gallery, std::size_t rows,
                   std::size_t d, float *dots) {
    if (n == 1) return rows_by<1, 4>(queries, gallery, 0, rows, rows, d, dots);
    for (std::size_t begin = 0; begin < rows; begin += CACHED_ROWS) {
        const std::size_t end = begin + CACHED_ROWS < rows ? begin + CACHED_ROWS : rows;
        std::size_t i = 0;
        for (; i + 3 <= n; i += 3) rows_by<3, 2>(queries + i, gallery, begin, end, rows, d, dots + i * rows);
        if (n - i == 2) rows_by<2, 2>(queries + i, gallery, begin, end, rows, d, dots + i * rows);
        if (n - i == 1) rows_by<1, 4>(queries + i, gallery, begin, end, rows, d, dots + i * rows);
    }
}

} // namespace labrador
