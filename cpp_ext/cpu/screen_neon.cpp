// NEON as every AArch64 processor has it.
#include "screen_neon.h"

namespace labrador {
namespace {

struct Products {
    // Two products of codes fit 16 bits: 2 * 127 * 128 < 2^15. So they are added there, neighbour to
    // neighbour, and once more on the way to 32 bits: a row's four.
    template <int step> static int32x4_t add(int32x4_t sums, int8x16_t codes, int8x16_t query) {
        const int8x16_t four = vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(query), step));
        const int16x8_t low = vmull_s8(vget_low_s8(codes), vget_low_s8(four)), high = vmull_high_s8(codes, four);
        return vpadalq_s16(sums, vpaddq_s16(low, high));
    }
};

constexpr int QUERIES = 4; // 16 accumulators, four registers of codes, and what a product needs

} // namespace

void screen_tile_neon(const std::int8_t *const *queries, const ScreenQuery *constants, std::size_t n,
                      const std::uint8_t *const *panels, const PanelBounds *const *bounds, std::size_t count,
                      std::size_t depth, bool every, std::uint16_t *hits, float *uppers) {
    screen<Products, QUERIES>(queries, constants, n, panels, bounds, count, depth, every, hits, uppers);
}

} // namespace labrador
