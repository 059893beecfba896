// AVX2 + FMA: a pair's 16 lanes are two ymm registers, so blocking over queries and rows changes no bit.
#include "kernels.h"

#include <immintrin.h>

namespace labrador {
namespace {

// Which of the lanes `from` .. `from + 7` exist in a chunk with `left` elements.
__m256i lanes_present(std::size_t left, int from) {
    const __m256i lane = _mm256_setr_epi32(from, from + 1, from + 2, from + 3, from + 4, from + 5, from + 6, from + 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(left)), lane);
}

// Two pairs' eight lanes become four: pair a in the low half, pair b in the high one.
__m256 fold_halves(__m256 a, __m256 b) {
    return _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
}

// The rest of the halving tree, 8 lanes to 4, 2, 1, for four pairs at once; + 0 makes -0 a +0.
__m128 fold(__m256 a, __m256 b, __m256 c, __m256 d) {
    const __m256d ac = _mm256_castps_pd(fold_halves(a, c)), bd = _mm256_castps_pd(fold_halves(b, d));
    const __m256 two = _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(ac, bd)), // a0 a1 b0 b1 | c0 c1 d0 d1
                                     _mm256_castpd_ps(_mm256_unpackhi_pd(ac, bd)));
    const __m128 ab = _mm256_castps256_ps128(two), cd = _mm256_extractf128_ps(two, 1);
    const __m128 one =
        _mm_add_ps(_mm_shuffle_ps(ab, cd, _MM_SHUFFLE(2, 0, 2, 0)), _mm_shuffle_ps(ab, cd, _MM_SHUFFLE(3, 1, 3, 1)));
    return _mm_add_ps(one, _mm_setzero_ps());
}

// Q queries against R rows with all 2*Q*R accumulators in registers. FETCH brings in the R rows after
// these along the way: worth it on a row's first reading, when it comes from memory.
template <int Q, int R, bool FETCH>
inline void block(const float *const *queries, const float *const *gallery, std::size_t d, float *dots,
                  std::size_t stride) {
    __m256 low[Q][R], high[Q][R], x[R];
#pragma GCC unroll 4
    for (int i = 0; i < Q; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < R; ++j) low[i][j] = high[i][j] = _mm256_setzero_ps();

    std::size_t e = 0;
    for (; e + 16 <= d; e += 16) {
#pragma GCC unroll 4
        for (int j = 0; j < R; ++j) {
            if (FETCH) _mm_prefetch(reinterpret_cast<const char *>(gallery[R + j] + e), _MM_HINT_T0);
            x[j] = _mm256_loadu_ps(gallery[j] + e);
            if (Q > 1) __asm__("" : "+x"(x[j])); // else gcc reads it anew for each query
        }
#pragma GCC unroll 4
        for (int i = 0; i < Q; ++i) {
            __m256 q = _mm256_loadu_ps(queries[i] + e);
            if (R > 1) __asm__("" : "+x"(q));
#pragma GCC unroll 4
            for (int j = 0; j < R; ++j) low[i][j] = _mm256_fmadd_ps(q, x[j], low[i][j]);
        }
#pragma GCC unroll 4
        for (int j = 0; j < R; ++j) {
            x[j] = _mm256_loadu_ps(gallery[j] + e + 8);
            if (Q > 1) __asm__("" : "+x"(x[j]));
        }
#pragma GCC unroll 4
        for (int i = 0; i < Q; ++i) {
            __m256 q = _mm256_loadu_ps(queries[i] + e + 8);
            if (R > 1) __asm__("" : "+x"(q));
#pragma GCC unroll 4
            for (int j = 0; j < R; ++j) high[i][j] = _mm256_fmadd_ps(q, x[j], high[i][j]);
        }
    }
    if (e < d) { // absent lanes add 0 * 0, which changes at most the sign of a zero
        const __m256i first = lanes_present(d - e, 0), second = lanes_present(d - e, 8);
#pragma GCC unroll 4
        for (int i = 0; i < Q; ++i)
#pragma GCC unroll 4
            for (int j = 0; j < R; ++j) {
                low[i][j] = _mm256_fmadd_ps(_mm256_maskload_ps(queries[i] + e, first),
                                            _mm256_maskload_ps(gallery[j] + e, first), low[i][j]);
                high[i][j] = _mm256_fmadd_ps(_mm256_maskload_ps(queries[i] + e + 8, second),
                                             _mm256_maskload_ps(gallery[j] + e + 8, second), high[i][j]);
            }
    }

    __m256 eight[Q * R + 3]; // 16 lanes to 8; the three past the end fill up the last fold
#pragma GCC unroll 4
    for (int i = 0; i < Q; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < R; ++j) eight[i * R + j] = _mm256_add_ps(low[i][j], high[i][j]);
#pragma GCC unroll 4
    for (int p = Q * R; p < Q * R + 3; ++p) eight[p] = _mm256_setzero_ps();
#pragma GCC unroll 4
    for (int p = 0; p < Q * R; p += 4) {
        float sums[4];
        _mm_storeu_ps(sums, fold(eight[p], eight[p + 1], eight[p + 2], eight[p + 3]));
#pragma GCC unroll 4
        for (int s = 0; s < 4; ++s)
            if (p + s < Q * R) dots[static_cast<std::size_t>((p + s) / R) * stride + (p + s) % R] = sums[s];
    }
}

// One query: four rows at a time give the eight independent chains that hide the FMA's latency.
void one_query(const float *const *query, const float *const *gallery, std::size_t rows, std::size_t d, float *dots) {
    std::size_t j = 0;
    for (; j + 8 <= rows; j += 4) block<1, 4, true>(query, gallery + j, d, dots + j, rows);
    for (; j + 4 <= rows; j += 4) block<1, 4, false>(query, gallery + j, d, dots + j, rows);
    for (; j < rows; ++j) block<1, 1, false>(query, gallery + j, d, dots + j, rows);
}

// Rows `begin` to `end`, few enough to stay in the first-level cache, against Q queries.
template <int Q, bool FETCH>
void row_pairs(const float *const *queries, const float *const *gallery, std::size_t begin, std::size_t end,
               std::size_t rows, std::size_t d, float *dots) {
    std::size_t j = begin;
    for (; FETCH && j + 2 <= end && j + 4 <= rows; j += 2) block<Q, 2, true>(queries, gallery + j, d, dots + j, rows);
    for (; j + 2 <= end; j += 2) block<Q, 2, false>(queries, gallery + j, d, dots + j, rows);
    if (j < end) block<Q, 1, false>(queries, gallery + j, d, dots + j, rows);
}

constexpr std::size_t CACHED_ROWS = 8;

} // namespace

void dot_tile_avx2(const float *const *queries, std::size_t n, const float *const *gallery, std::size_t rows,
                   std::size_t d, float *dots) {
    if (n == 1) return one_query(queries, gallery, rows, d, dots);
    const std::size_t groups = (n + 2) / 3;
    for (std::size_t begin = 0; begin < rows; begin += CACHED_ROWS) {
        const std::size_t end = begin + CACHED_ROWS < rows ? begin + CACHED_ROWS : rows;
        for (std::size_t group = 0, i = 0; group < groups; ++group) { // of nearly equal size: 4 as 2 + 2, not 3 + 1
            const std::size_t q = (n - i + groups - group - 1) / (groups - group);
            const auto tile = q == 3 ? (group ? row_pairs<3, false> : row_pairs<3, true>)
                                     : (group ? row_pairs<2, false> : row_pairs<2, true>);
            tile(queries + i, gallery, begin, end, rows, d, dots + i * rows);
            i += q;
        }
    }
}

} // namespace labrador
