// From integer dot products to upper bounds in 256-bit registers, for the levels that screen in those.
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

} // namespace
} // namespace labrador
