// NEON with the dot product instructions of ARMv8.2.
#include "screen_neon.h"

namespace labrador {
namespace {

struct Products {
    template <int step> static int32x4_t add(int32x4_t sums, int8x16_t codes, int8x16_t query) {
        return vdotq_laneq_s32(sums, codes, query, step);
    }
};

constexpr int QUERIES = 6; // 24 accumulators, four registers of codes, one of the query, one of 0x80

} // namespace

void screen_tile_neondot(const std::int8_t *const *queries, const ScreenQuery *constants, std::size_t n,
                         const std::uint8_t *const *panels, const PanelBounds *const *bounds, std::size_t count,
                         std::size_t depth, bool every, std::uint16_t *hits, float *uppers) {
    screen<Products, QUERIES>(queries, constants, n, panels, bounds, count, depth, every, hits, uppers);
}

} // namespace labrador
