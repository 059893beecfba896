// The screen in 256-bit registers, for the levels that differ only in how they multiply bytes.
#pragma once

#include "kernels.h"

#include <immintrin.h>

namespace labrador {
namespace {

// Uppers of rows 8 * half .. 8 * half + 7, whose dot products are `dots`.
inline __m256 upper_bounds(__m256i dots, const ScreenQuery &query, const PanelBounds &bounds, int half) {
    const __m256 slack =
        _mm256_fmadd_ps(_mm256_loadu_ps(bounds.norm + 8 * half), _mm256_set1_ps(query.residual),
                        _mm256_mul_ps(_mm256_loadu_ps(bounds.residual + 8 * half), _mm256_set1_ps(query.norm)));
    const __m256 centre = _mm256_mul_ps(_mm256_cvtepi32_ps(dots), _mm256_set1_ps(query.scale));
    return _mm256_fmadd_ps(centre, _mm256_loadu_ps(bounds.scale + 8 * half), slack);
}

// One query and one panel: low and high are the dot products of rows 0 .. 7 and 8 .. 15.
inline void store_bounds(__m256i low, __m256i high, const ScreenQuery &query, const PanelBounds &bounds, bool every,
                         std::uint16_t *hits, float *uppers) {
    const __m256 first = upper_bounds(low, query, bounds, 0), second = upper_bounds(high, query, bounds, 1);
    const __m256 threshold = _mm256_set1_ps(query.threshold); // not less than: true of a NaN, too
    const int found = _mm256_movemask_ps(_mm256_cmp_ps(first, threshold, _CMP_NLT_UQ)) |
                      _mm256_movemask_ps(_mm256_cmp_ps(second, threshold, _CMP_NLT_UQ)) << 8;
    *hits = static_cast<std::uint16_t>(found);
    if (!found && !every) return;
    _mm256_storeu_ps(uppers, first);
    _mm256_storeu_ps(uppers + 8, second);
}

// Q queries against one panel, their 2*Q sums in registers. `wanted` is memory that is needed soon, brought
// in along the way `pace` bytes per step. Products::add adds a row's four products to its sum.
template <class Products, int Q>
void screen_block(const std::int8_t *const *queries, const ScreenQuery *constants, const std::uint8_t *panel,
                  const PanelBounds &bounds, std::size_t depth, const std::uint8_t *wanted, std::size_t pace,
                  bool every, std::size_t count, std::uint16_t *hits, float *uppers) {
    __m256i low[Q], high[Q];
#pragma GCC unroll 6
    for (int i = 0; i < Q; ++i) {
        low[i] = high[i] = _mm256_set1_epi32(-constants[i].correction);
        __asm__("" : "+x"(low[i]), "+x"(high[i])); // else gcc 12, seeing them equal, copies them at each step
    }
    for (std::size_t e = 0; e < depth; e += PANEL_STEP) {
        _mm_prefetch(reinterpret_cast<const char *>(wanted), _MM_HINT_T0);
        wanted += pace;
        const __m256i *rows = reinterpret_cast<const __m256i *>(panel + e * PANEL_ROWS);
        const __m256i first = _mm256_loadu_si256(rows), second = _mm256_loadu_si256(rows + 1);
#pragma GCC unroll 6
        for (int i = 0; i < Q; ++i) {
            std::int32_t four_codes;
            __builtin_memcpy(&four_codes, queries[i] + e, sizeof four_codes);
            const __m256i query = _mm256_set1_epi32(four_codes);
            Products::add(low[i], first, query);
            Products::add(high[i], second, query);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < Q; ++i)
        store_bounds(low[i], high[i], constants[i], bounds, every, hits + static_cast<std::size_t>(i) * count,
                     uppers + static_cast<std::size_t>(i) * count * PANEL_ROWS);
}

// Queries in groups of nearly equal size, at most Products::QUERIES: as many as leave room for the rest of a
// step in the sixteen registers. A panel meets all of them while it is in the first-level cache.
template <class Products>
void screen_panels(const std::int8_t *const *queries, const ScreenQuery *constants, std::size_t n,
                   const std::uint8_t *const *panels, const PanelBounds *const *bounds, std::size_t count,
                   std::size_t depth, bool every, std::uint16_t *hits, float *uppers) {
    constexpr decltype(&screen_block<Products, 1>) blocks[] = {screen_block<Products, 1>, screen_block<Products, 2>,
                                                               screen_block<Products, 3>, screen_block<Products, 4>,
                                                               screen_block<Products, 5>, screen_block<Products, 6>};
    static_assert(Products::QUERIES <= sizeof(blocks) / sizeof(blocks[0]), "a group needs its block");
    const std::size_t groups = (n + Products::QUERIES - 1) / Products::QUERIES;
    for (std::size_t j = 0; j < count; ++j)
        for (std::size_t group = 0, i = 0; group < groups; ++group) {
            const std::size_t size = (n - i + groups - group - 1) / (groups - group);
            // The groups share the fetching of the next panel, which mostly lies after this one.
            const std::size_t pace = PANEL_ROWS * PANEL_STEP / groups;
            const std::uint8_t *wanted = panels[j] + depth * PANEL_ROWS + group * (depth / PANEL_STEP) * pace;
            blocks[size - 1](queries + i, constants + i, panels[j], *bounds[j], depth, wanted, pace, every, count,
                             hits + i * count + j, uppers + (i * count + j) * PANEL_ROWS);
            i += size;
        }
}

} // namespace
} // namespace labrador
