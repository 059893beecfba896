// AVX-512 without VNNI: as the AVX2 level, codes of a query lie within -63 .. 63, so that the 16-bit sums of
// pairs can't saturate (2 * 255 * 63 = 32130). A panel's step is one register.
#include "kernels.h"

#include <immintrin.h>

namespace labrador {
namespace {

inline void add_products(__m512i &sums, __m512i panel, __m512i query) {
    const __m512i pairs = _mm512_maddubs_epi16(panel, query);
    sums = _mm512_add_epi32(sums, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}

inline void store_bounds(__m512i dots, const ScreenQuery &query, const PanelBounds &bounds, bool every,
                         std::uint16_t *hits, float *uppers) {
    const __m512 slack = _mm512_fmadd_ps(_mm512_loadu_ps(bounds.norm), _mm512_set1_ps(query.residual),
                                         _mm512_mul_ps(_mm512_loadu_ps(bounds.residual), _mm512_set1_ps(query.norm)));
    const __m512 centre = _mm512_mul_ps(_mm512_cvtepi32_ps(dots), _mm512_set1_ps(query.scale));
    const __m512 upper = _mm512_fmadd_ps(centre, _mm512_loadu_ps(bounds.scale), slack);
    // Not less than: true of a NaN, too.
    const __mmask16 found = _mm512_cmp_ps_mask(upper, _mm512_set1_ps(query.threshold), _CMP_NLT_UQ);
    *hits = found;
    if (found || every) _mm512_storeu_ps(uppers, upper);
}

// Q queries against P panels, all sums in registers. What lies `ahead` of each panel is needed soon, and
// brought in along the way `pace` bytes per step.
template <int Q, int P>
void block(const std::int8_t *const *queries, const ScreenQuery *constants, const std::uint8_t *const *panels,
           const PanelBounds *const *bounds, std::size_t count, std::size_t depth, std::size_t ahead, std::size_t pace,
           bool every, std::uint16_t *hits, float *uppers) {
    __m512i sums[Q][P], rows[P];
#pragma GCC unroll 4
    for (int i = 0; i < Q; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < P; ++j) sums[i][j] = _mm512_set1_epi32(-constants[i].correction);
    for (std::size_t e = 0; e < depth; e += PANEL_STEP, ahead += pace) {
#pragma GCC unroll 4
        for (int j = 0; j < P; ++j) {
            _mm_prefetch(reinterpret_cast<const char *>(panels[j] + ahead), _MM_HINT_T0);
            rows[j] = _mm512_loadu_si512(panels[j] + e * PANEL_ROWS);
        }
#pragma GCC unroll 4
        for (int i = 0; i < Q; ++i) {
            std::int32_t four_codes;
            __builtin_memcpy(&four_codes, queries[i] + e, sizeof four_codes);
            const __m512i query = _mm512_set1_epi32(four_codes);
#pragma GCC unroll 4
            for (int j = 0; j < P; ++j) add_products(sums[i][j], rows[j], query);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < Q; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < P; ++j) {
            const std::size_t pair = static_cast<std::size_t>(i) * count + static_cast<std::size_t>(j);
            store_bounds(sums[i][j], constants[i], *bounds[j], every, hits + pair, uppers + pair * PANEL_ROWS);
        }
}

constexpr std::size_t GROUP = 4;  // queries in a block
constexpr std::size_t PANELS = 2; // panels in a block

// All queries against P panels, in groups of nearly equal size.
template <int P>
void columns(const std::int8_t *const *queries, const ScreenQuery *constants, std::size_t n,
             const std::uint8_t *const *panels, const PanelBounds *const *bounds, std::size_t count, std::size_t depth,
             bool every, std::uint16_t *hits, float *uppers) {
    constexpr decltype(&block<1, P>) blocks[GROUP] = {block<1, P>, block<2, P>, block<3, P>, block<4, P>};
    const std::size_t groups = (n + GROUP - 1) / GROUP;
    for (std::size_t group = 0, i = 0; group < groups; ++group) {
        const std::size_t size = (n - i + groups - group - 1) / (groups - group);
        // The groups share the fetching of the next panels, which mostly lie after these.
        const std::size_t pace = PANEL_ROWS * PANEL_STEP / groups;
        const std::size_t ahead = P * depth * PANEL_ROWS + group * (depth / PANEL_STEP) * pace;
        blocks[size - 1](queries + i, constants + i, panels, bounds, count, depth, ahead, pace, every, hits + i * count,
                         uppers + i * count * PANEL_ROWS);
        i += size;
    }
}

} // namespace

void screen_tile_avx512(const std::int8_t *const *queries, const ScreenQuery *constants, std::size_t n,
                        const std::uint8_t *const *panels, const PanelBounds *const *bounds, std::size_t count,
                        std::size_t depth, bool every, std::uint16_t *hits, float *uppers) {
    std::size_t j = 0; // few queries read as fast as memory gives, and that is faster from one place than from two
    for (; n > GROUP && j + PANELS <= count; j += PANELS)
        columns<PANELS>(queries, constants, n, panels + j, bounds + j, count, depth, every, hits + j,
                        uppers + j * PANEL_ROWS);
    for (; j < count; ++j)
        columns<1>(queries, constants, n, panels + j, bounds + j, count, depth, every, hits + j,
                   uppers + j * PANEL_ROWS);
}

} // namespace labrador
