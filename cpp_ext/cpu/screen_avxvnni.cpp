// AVX-VNNI: one instruction multiplies four panel bytes by four codes and adds all to a 32-bit sum.
#include "screen_ymm.h"

namespace labrador {
namespace {

// Written out because gcc 12 copies the sums around its intrinsic, which halves the speed; and in the VEX
// form, because a processor of this level needn't know the other.
struct Products {
    static constexpr std::size_t QUERIES = 6;
    static void add(__m256i &sums, __m256i panel, __m256i query) {
        __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sums) : "x"(panel), "x"(query));
    }
};

} // namespace

void screen_tile_avxvnni(const std::int8_t *const *queries, const ScreenQuery *constants, std::size_t n,
                         const std::uint8_t *const *panels, const PanelBounds *const *bounds, std::size_t count,
                         std::size_t depth, bool every, std::uint16_t *hits, float *uppers) {
    screen_panels<Products>(queries, constants, n, panels, bounds, count, depth, every, hits, uppers);
}

} // namespace labrador
