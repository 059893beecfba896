// AVX2: bytes multiplied and added in pairs, in 16 bits that saturate. Codes of a query within -63 .. 63
// keep clear of that: a pair's sum is at most 2 * 255 * 63 = 32130. The alternatives take all codes but four
// instructions where this takes three: the panel's signs moved to the query, or 16-bit multiplications.
// GMAC/s on one core (Zen 5, d = 512, 48 queries): 94, 95; this 126. The query's coarser rounding, half as
// much again on the bound, lets a third to four fifths more rows through, but few are rescored at all.
#include "screen_ymm.h"

namespace labrador {
namespace {

struct Products {
    static constexpr std::size_t QUERIES = 4;
    static void add(__m256i &sums, __m256i panel, __m256i query) {
        const __m256i pairs = _mm256_maddubs_epi16(panel, query);
        sums = _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
};

} // namespace

void screen_tile_avx2(const std::int8_t *const *queries, const ScreenQuery *constants, std::size_t n,
                      const std::uint8_t *const *panels, const PanelBounds *const *bounds, std::size_t count,
                      std::size_t depth, bool every, std::uint16_t *hits, float *uppers) {
    screen_panels<Products>(queries, constants, n, panels, bounds, count, depth, every, hits, uppers);
}

} // namespace labrador
