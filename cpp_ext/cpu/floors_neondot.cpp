// NEON with dot products: int8 multiply-adds. What else it can do is NEON's.
#include "floors.h"

#include <arm_neon.h>

namespace labrador {
namespace {

constexpr std::size_t BLOCK = 64;
constexpr int CHAINS = 16;

} // namespace

// Each sum is its own second factor, so that no product can be computed once, before the loop.
std::uint64_t floor_neondot(FloorLoop loop, const FloorWork &work, std::uint32_t *sink) {
    if (loop != FloorLoop::mac) return 0;
    int32x4_t sums[CHAINS];
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; ++i) sums[i] = vdupq_n_s32(i);
    const int8x16_t a = vdupq_n_s8(static_cast<signed char>(work.rounds));
    for (std::size_t step = 0; step < work.rounds * BLOCK; ++step)
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; ++i) sums[i] = vdotq_s32(sums[i], a, vreinterpretq_s8_s32(sums[i]));
    int32x4_t all = sums[0];
#pragma GCC unroll 16 // one that isn't unrolled keeps the sums in memory instead of registers
    for (int i = 1; i < CHAINS; ++i) all = veorq_s32(all, sums[i]);
    *sink = static_cast<std::uint32_t>(vgetq_lane_s32(all, 0) ^ vgetq_lane_s32(all, 1) ^ vgetq_lane_s32(all, 2) ^
                                       vgetq_lane_s32(all, 3));
    return static_cast<std::uint64_t>(work.rounds) * BLOCK * CHAINS * 16;
}

} // namespace labrador
