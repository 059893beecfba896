// AVX-VNNI: four multiply-adds of unsigned panel bytes and signed query codes per lane and instruction.
#include "screen_ymm.h"

namespace labrador {
namespace {

// Written out because gcc 12 copies the sums around its intrinsic, which halves the speed; and in the VEX
// form, because processors of this level need not know the other.
inline void multiply_add(__m256i &sums, __m256i panel, __m256i query) {
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sums) : "x"(panel), "x"(query));
}

// Q queries against one panel, their 2*Q sums in registers. `wanted` is memory that is needed soon, brought
// in along the way `pace` bytes per step.
template <int Q>
void block(const std::int8_t *const *queries, const ScreenQuery *constants, const std::uint8_t *panel,
           const PanelBounds &bounds, std::size_t depth, const std::uint8_t *wanted, std::size_t pace, bool every,
           std::size_t count, std::uint16_t *hits, float *uppers) {
    __m256i low[Q], high[Q];
#pragma GCC unroll 6
    for (int i = 0; i < Q; ++i) low[i] = high[i] = _mm256_set1_epi32(-constants[i].correction);
    for (std::size_t e = 0; e < depth; e += PANEL_STEP) {
        _mm_prefetch(reinterpret_cast<const char *>(wanted), _MM_HINT_T0);
        wanted += pace;
        const __m256i *rows = reinterpret_cast<const __m256i *>(panel + e * PANEL_ROWS);
        const __m256i first = _mm256_loadu_si256(rows), second = _mm256_loadu_si256(rows + 1);
#pragma GCC unroll 6
        for (int i = 0; i < Q; ++i) {
            const __m256i query =
                _mm256_castps_si256(_mm256_broadcast_ss(reinterpret_cast<const float *>(queries[i] + e)));
            multiply_add(low[i], first, query);
            multiply_add(high[i], second, query);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < Q; ++i)
        store_bounds(low[i], high[i], constants[i], bounds, every, hits + static_cast<std::size_t>(i) * count,
                     uppers + static_cast<std::size_t>(i) * count * PANEL_ROWS);
}

constexpr std::size_t GROUP = 6; // queries whose sums fit the sixteen registers beside a panel's step

} // namespace

void screen_tile_avxvnni(const std::int8_t *const *queries, const ScreenQuery *constants, std::size_t n,
                         const std::uint8_t *const *panels, const PanelBounds *const *bounds, std::size_t count,
                         std::size_t depth, bool every, std::uint16_t *hits, float *uppers) {
    constexpr decltype(&block<1>) blocks[] = {block<1>, block<2>, block<3>, block<4>, block<5>, block<6>};
    const std::size_t groups = (n + GROUP - 1) / GROUP;
    for (std::size_t j = 0; j < count; ++j) // a panel meets every query while it is in the first-level cache
        for (std::size_t group = 0, i = 0; group < groups; ++group) {
            // Groups of nearly equal size, which share the fetching of the next panel.
            const std::size_t q = (n - i + groups - group - 1) / (groups - group);
            const std::size_t pace = j + 1 < count ? PANEL_ROWS * PANEL_STEP / groups : 0;
            const std::uint8_t *wanted = j + 1 < count ? panels[j + 1] + group * (depth / PANEL_STEP) * pace : panels[j];
            blocks[q - 1](queries + i, constants + i, panels[j], *bounds[j], depth, wanted, pace, every, count,
                          hits + i * count + j, uppers + (i * count + j) * PANEL_ROWS);
            i += q;
        }
}

} // namespace labrador
