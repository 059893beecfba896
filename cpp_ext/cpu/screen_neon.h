// The screen of both NEON levels; they differ in how products of codes are added. A step of a panel is
// four q registers of four rows, so a query needs four accumulators.
#pragma once

#include "kernels.h"

#include <arm_neon.h>

namespace labrador {
namespace {

// The 16 uppers of a query and a panel, from their dot products; the hits as bits.
inline std::uint16_t bound(const int32x4_t (&dots)[4], const ScreenQuery &query, const PanelBounds &panel,
                           float32x4_t (&upper)[4]) {
    static const std::uint16_t bits[16] = {1,      1 << 1, 1 << 2,  1 << 3,  1 << 4,  1 << 5,  1 << 6,  1 << 7,
                                           1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15};
    uint16x4_t below[4];
#pragma GCC unroll 4
    for (int part = 0; part < 4; ++part) {
        const float32x4_t rest = vmulq_n_f32(vld1q_f32(panel.residual + 4 * part), query.norm);
        const float32x4_t slack = vfmaq_n_f32(rest, vld1q_f32(panel.norm + 4 * part), query.residual);
        const float32x4_t centre = vmulq_n_f32(vcvtq_f32_s32(dots[part]), query.scale);
        upper[part] = vfmaq_f32(slack, centre, vld1q_f32(panel.scale + 4 * part));
        below[part] = vmovn_u32(vcltq_f32(upper[part], vdupq_n_f32(query.threshold)));
    }
    const uint16x8_t first = vbicq_u16(vld1q_u16(bits), vcombine_u16(below[0], below[1]));
    const uint16x8_t second = vbicq_u16(vld1q_u16(bits + 8), vcombine_u16(below[2], below[3]));
    return vaddvq_u16(vorrq_u16(first, second));
}

// Step `step` of 16 codes: sums += the products of each row's four codes and the queries'. The empty asm
// holds the next query's load back; without it gcc loads early and keeps accumulators in memory.
template <class Products, int step, int Q>
inline void add_step(const std::int8_t *const (&q)[Q], const std::uint8_t *panel, int32x4_t (&dots)[Q][4]) {
    int8x16_t codes[4]; // stored as code + 128: flipping the top bit makes a byte the signed code
#pragma GCC unroll 4
    for (int part = 0; part < 4; ++part)
        codes[part] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(panel + step * 64 + 16 * part), vdupq_n_u8(0x80)));
#pragma GCC unroll 8
    for (int i = 0; i < Q; ++i) {
        __asm__ volatile("" ::: "memory");
        const int8x16_t query = vld1q_s8(q[i]);
#pragma GCC unroll 4
        for (int part = 0; part < 4; ++part)
            dots[i][part] = Products::template add<step>(dots[i][part], codes[part], query);
    }
}

// What is left of a tile: queries and the places of their results, a query's `count` panels from the next's.
struct Rest {
    const std::int8_t *const *queries;
    const ScreenQuery *constants;
    std::uint16_t *hits;
    float *uppers;
};

// Q queries against one panel, with all 4*Q accumulators in registers.
template <class Products, int Q>
void block(const Rest &rest, const std::uint8_t *panel, const PanelBounds &bounds, std::size_t count, std::size_t depth,
           bool every) {
    int32x4_t dots[Q][4];
    const std::int8_t *q[Q];
#pragma GCC unroll 8
    for (int i = 0; i < Q; ++i) {
        q[i] = rest.queries[i];
#pragma GCC unroll 4
        for (int part = 0; part < 4; ++part) dots[i][part] = vdupq_n_s32(0);
    }
    for (std::size_t e = 0; e < depth; e += 16, panel += 16 * PANEL_ROWS) {
        add_step<Products, 0>(q, panel, dots);
        add_step<Products, 1>(q, panel, dots);
        add_step<Products, 2>(q, panel, dots);
        add_step<Products, 3>(q, panel, dots);
#pragma GCC unroll 8
        for (int i = 0; i < Q; ++i) q[i] += 16;
    }
#pragma GCC unroll 8
    for (int i = 0; i < Q; ++i) {
        float32x4_t upper[4];
        const std::uint16_t hits = rest.hits[i * count] = bound(dots[i], rest.constants[i], bounds, upper);
        if (!hits && !every) continue;
#pragma GCC unroll 4
        for (int part = 0; part < 4; ++part) vst1q_f32(rest.uppers + i * count * PANEL_ROWS + 4 * part, upper[part]);
    }
}

// block for a Q that is known only now, 1 to Most.
template <class Products, int Most, class... Arguments> void block_of(std::size_t q, const Arguments &...arguments) {
    if constexpr (Most > 1)
        if (q < Most) return block_of<Products, Most - 1>(q, arguments...);
    block<Products, Most>(arguments...);
}

// A panel is read from memory once and then meets all queries, in equal groups of at most Most.
template <class Products, int Most>
void screen(const std::int8_t *const *queries, const ScreenQuery *constants, std::size_t n,
            const std::uint8_t *const *panels, const PanelBounds *const *bounds, std::size_t count, std::size_t depth,
            bool every, std::uint16_t *hits, float *uppers) {
    for (std::size_t j = 0; j < count; ++j) {
        Rest rest{queries, constants, hits + j, uppers + j * PANEL_ROWS};
        std::size_t groups = (n + Most - 1) / Most;
        for (std::size_t left = n; left > 0; --groups) {
            const std::size_t q = (left + groups - 1) / groups;
            block_of<Products, Most>(q, rest, panels[j], *bounds[j], count, depth, every);
            rest = {rest.queries + q, rest.constants + q, rest.hits + q * count, rest.uppers + q * count * PANEL_ROWS};
            left -= q;
        }
    }
}

} // namespace
} // namespace labrador
