// NEON: reading, float FMA, and int8 products summed, without the widening that a dot product adds.
#include "floors.h"

#include <arm_neon.h>

namespace labrador {
namespace {

constexpr std::size_t BLOCK = 64;
constexpr int CHAINS = 16;

template <bool AHEAD> void read_lines(const FloorWork &work, uint8x16_t *sums) {
    for (std::size_t at = 0; at < work.bytes; at += 128) {
        const std::uint8_t *from = work.data + at;
#pragma GCC unroll 8
        for (int i = 0; i < 8; ++i) {
            if (AHEAD && i % 4 == 0) __builtin_prefetch(from + work.ahead + 16 * i);
            sums[i] = veorq_u8(sums[i], vld1q_u8(from + 16 * i));
        }
    }
}

// Unrolled like every loop over the sums: one that isn't keeps them in memory instead of registers.
template <int N> std::uint32_t folded(const uint32x4_t (&sums)[N]) {
    uint32x4_t all = sums[0];
#pragma GCC unroll 16
    for (int i = 1; i < N; ++i) all = veorq_u32(all, sums[i]);
    return vgetq_lane_u32(all, 0) ^ vgetq_lane_u32(all, 1) ^ vgetq_lane_u32(all, 2) ^ vgetq_lane_u32(all, 3);
}

std::uint64_t read(const FloorWork &work, std::uint32_t *sink) {
    uint8x16_t sums[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) sums[i] = vdupq_n_u8(0);
    for (std::size_t round = 0; round < work.rounds; ++round)
        work.ahead == 0 ? read_lines<false>(work, sums) : read_lines<true>(work, sums);
    uint32x4_t bits[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) bits[i] = vreinterpretq_u32_u8(sums[i]);
    *sink = folded(bits);
    return work.rounds * static_cast<std::uint64_t>(work.bytes);
}

std::uint64_t multiply_floats(const FloorWork &work, std::uint32_t *sink) {
    float32x4_t sums[CHAINS];
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; ++i) sums[i] = vdupq_n_f32(static_cast<float>(i));
    const float32x4_t a = vdupq_n_f32(static_cast<float>(work.rounds)), b = vdupq_n_f32(0x1p-30f);
    for (std::size_t step = 0; step < work.rounds * BLOCK; ++step)
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; ++i) sums[i] = vfmaq_f32(sums[i], a, b);
    uint32x4_t bits[CHAINS];
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; ++i) bits[i] = vreinterpretq_u32_f32(sums[i]);
    *sink = folded(bits);
    return static_cast<std::uint64_t>(work.rounds) * BLOCK * CHAINS * 4;
}

// Each sum is its own second factor, so that no product can be computed once, before the loop.
std::uint64_t multiply_codes(const FloorWork &work, std::uint32_t *sink) {
    int16x8_t sums[CHAINS];
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; ++i) sums[i] = vdupq_n_s16(static_cast<short>(i));
    const int8x8_t a = vdup_n_s8(static_cast<signed char>(work.rounds));
    for (std::size_t step = 0; step < work.rounds * BLOCK; ++step)
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; ++i) sums[i] = vmlal_s8(sums[i], a, vget_low_s8(vreinterpretq_s8_s16(sums[i])));
    uint32x4_t bits[CHAINS];
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; ++i) bits[i] = vreinterpretq_u32_s16(sums[i]);
    *sink = folded(bits);
    return static_cast<std::uint64_t>(work.rounds) * BLOCK * CHAINS * 8;
}

} // namespace

std::uint64_t floor_neon(FloorLoop loop, const FloorWork &work, std::uint32_t *sink) {
    if (loop == FloorLoop::read) return read(work, sink);
    return loop == FloorLoop::fma ? multiply_floats(work, sink) : multiply_codes(work, sink);
}

} // namespace labrador
