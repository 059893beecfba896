// AVX-512: a pair's 16 lanes are one zmm register, so blocking over queries and rows changes no bit.
#include "kernels.h"

#include <immintrin.h>

namespace labrador {
namespace {

// The halving tree for 16 pairs at once: each step adds the upper half of every pair's lanes to the lower
// and packs two registers into one, so 16 pairs cost 45 instructions. Sum p lands in lane p.
inline __attribute__((always_inline)) __m512 fold(const __m512 (&pairs)[16]) {
    __m512 eight[8], four[4];
#pragma GCC unroll 8
    for (int s = 0; s < 8; ++s) { // eight[s]: pairs a and a + 4, eight lanes each
        const int a = s < 4 ? s : s + 4;
        eight[s] = _mm512_add_ps(_mm512_shuffle_f32x4(pairs[a], pairs[a + 4], 0x44),
                                 _mm512_shuffle_f32x4(pairs[a], pairs[a + 4], 0xee));
    }
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s) // four[s]: pairs s, s + 4, s + 8, s + 12, four lanes each
        four[s] = _mm512_add_ps(_mm512_shuffle_f32x4(eight[s], eight[s + 4], 0x88),
                                _mm512_shuffle_f32x4(eight[s], eight[s + 4], 0xdd));
    const __m512d a = _mm512_castps_pd(four[0]), b = _mm512_castps_pd(four[1]), c = _mm512_castps_pd(four[2]),
                  d = _mm512_castps_pd(four[3]);
    const __m512 ab =
        _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
    const __m512 cd =
        _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(c, d)), _mm512_castpd_ps(_mm512_unpackhi_pd(c, d)));
    const __m512 one = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, _MM_SHUFFLE(2, 0, 2, 0)),
                                     _mm512_shuffle_ps(ab, cd, _MM_SHUFFLE(3, 1, 3, 1)));
    return _mm512_add_ps(one, _mm512_setzero_ps()); // makes -0 a +0
}

// Q queries against R rows with all Q*R accumulators in registers: one query against at most 16 rows, more
// against at most 4. Along the way FETCH rows that are wanted soon are brought in.
template <int Q, int R, int FETCH>
inline void block(const float *const *queries, const float *const *gallery, const float *const *wanted, std::size_t d,
                  float *dots, std::size_t stride) {
    static_assert(Q == 1 ? R <= 16 : Q <= 4 && R <= 4, "pairs must fit one fold");
    constexpr int STEP = Q == 1 ? 16 : 4; // pair (i, j) is number i * STEP + j of the fold
    __m512 sums[16], x[R];
    const float *query[Q], *row[R]; // clang would load the pointers at every step
#pragma GCC unroll 4
    for (int i = 0; i < Q; ++i) query[i] = queries[i];
#pragma GCC unroll 16
    for (int j = 0; j < R; ++j) row[j] = gallery[j];
#pragma GCC unroll 16
    for (int p = 0; p < 16; ++p) sums[p] = _mm512_setzero_ps();

    std::size_t e = 0;
    for (; e + 16 <= d; e += 16) {
#pragma GCC unroll 4
        for (int j = 0; j < FETCH; ++j) _mm_prefetch(reinterpret_cast<const char *>(wanted[j] + e), _MM_HINT_T0);
#pragma GCC unroll 16
        for (int j = 0; j < R; ++j) {
            x[j] = _mm512_loadu_ps(row[j] + e);
            // Else gcc loads the row anew for each query, and rows seldom begin a cache line: two reads each.
            if (Q > 1) __asm__("" : "+v"(x[j]));
        }
#pragma GCC unroll 4
        for (int i = 0; i < Q; ++i) {
            const __m512 q = _mm512_loadu_ps(query[i] + e);
#pragma GCC unroll 16
            for (int j = 0; j < R; ++j) sums[i * STEP + j] = _mm512_fmadd_ps(q, x[j], sums[i * STEP + j]);
        }
    }
    if (e < d) { // absent lanes add 0 * 0, which changes at most the sign of a zero
        const __mmask16 present = static_cast<__mmask16>((1u << (d - e)) - 1);
#pragma GCC unroll 16
        for (int j = 0; j < R; ++j) x[j] = _mm512_maskz_loadu_ps(present, row[j] + e);
#pragma GCC unroll 4
        for (int i = 0; i < Q; ++i) {
            const __m512 q = _mm512_maskz_loadu_ps(present, query[i] + e);
#pragma GCC unroll 16
            for (int j = 0; j < R; ++j) sums[i * STEP + j] = _mm512_fmadd_ps(q, x[j], sums[i * STEP + j]);
        }
    }

    const __m512 folded = fold(sums);
    if (Q == 1) {
        _mm512_mask_storeu_ps(dots, static_cast<__mmask16>((1u << R) - 1), folded);
        return;
    }
    const __m128 of_query[4] = {_mm512_castps512_ps128(folded), _mm512_extractf32x4_ps(folded, 1),
                                _mm512_extractf32x4_ps(folded, 2), _mm512_extractf32x4_ps(folded, 3)};
#pragma GCC unroll 4
    for (int i = 0; i < Q; ++i) {
        __m128 sums_of_query = of_query[i];
        // Else gcc stores by a masked vextractf32x4, which faults on memory behind the mask as well (class E6NF).
        __asm__("" : "+v"(sums_of_query));
        _mm_mask_storeu_ps(dots + static_cast<std::size_t>(i) * stride, static_cast<__mmask8>((1u << R) - 1),
                           sums_of_query);
    }
}

// One query reads as fast as memory gives: each four rows fetch the next four.
void one_query(const float *const *query, const float *const *gallery, std::size_t rows, std::size_t d, float *dots) {
    std::size_t j = 0;
    for (; j + 8 <= rows; j += 4) block<1, 4, 4>(query, gallery + j, gallery + j + 4, d, dots + j, rows);
    for (; j + 4 <= rows; j += 4) block<1, 4, 0>(query, gallery + j, nullptr, d, dots + j, rows);
    for (; j < rows; ++j) block<1, 1, 0>(query, gallery + j, nullptr, d, dots + j, rows);
}

// Rows that meet all queries before the next rows do, few enough to stay in the first-level cache.
constexpr std::size_t CACHED_ROWS = 8;

// Rows `begin` to `end` against a group of Q queries; with each four rows, FETCH rows from `ahead` rows on.
template <int Q, int FETCH>
void row_groups(const float *const *queries, const float *const *gallery, std::size_t begin, std::size_t end,
                std::size_t rows, std::size_t ahead, std::size_t d, float *dots) {
    std::size_t j = begin;
    for (; FETCH && j + 4 <= end && j + ahead + FETCH <= rows; j += 4)
        block<Q, 4, FETCH>(queries, gallery + j, gallery + j + ahead, d, dots + j, rows);
    for (; j + 4 <= end; j += 4) block<Q, 4, 0>(queries, gallery + j, nullptr, d, dots + j, rows);
    if (end - j == 3) block<Q, 3, 0>(queries, gallery + j, nullptr, d, dots + j, rows);
    if (end - j == 2) block<Q, 2, 0>(queries, gallery + j, nullptr, d, dots + j, rows);
    if (end - j == 1) block<Q, 1, 0>(queries, gallery + j, nullptr, d, dots + j, rows);
}

template <int Q> constexpr auto *fetching(std::size_t fetch) {
    return fetch == 0   ? row_groups<Q, 0>
           : fetch == 1 ? row_groups<Q, 1>
           : fetch == 2 ? row_groups<Q, 2>
                        : row_groups<Q, 4>;
}

} // namespace

void dot_tile_avx512(const float *const *queries, std::size_t n, const float *const *gallery, std::size_t rows,
                     std::size_t d, float *dots) {
    if (n == 1) return one_query(queries, gallery, rows, d, dots);
    const std::size_t groups = (n + 3) / 4;
    for (std::size_t begin = 0; begin < rows; begin += CACHED_ROWS) {
        const std::size_t end = begin + CACHED_ROWS < rows ? begin + CACHED_ROWS : rows;
        // Groups of nearly equal size: 9 queries as 3 + 3 + 3, not 4 + 4 and one alone at a quarter of the speed.
        // They share the fetching evenly, so that memory works while they compute.
        for (std::size_t group = 0, i = 0; group < groups; ++group) {
            const std::size_t q = (n - i + groups - group - 1) / (groups - group);
            const std::size_t first = 4 * group / groups, fetch = 4 * (group + 1) / groups - first;
            const std::size_t ahead = groups == 1 ? 4 : CACHED_ROWS + first;
            const auto tile = q == 4 ? fetching<4>(fetch) : q == 3 ? fetching<3>(fetch) : fetching<2>(fetch);
            tile(queries + i, gallery, begin, end, rows, ahead, d, dots + i * rows);
            i += q;
        }
    }
}

} // namespace labrador
