// AVX-512 with VNNI: one instruction adds 4 codes of each of a panel's 16 rows.
//
// GMAC/s on one Zen 5 core at d = 512, in cache / from memory, of 515 that a loop on registers alone reaches:
//   6 queries x 4 panels, all lines ahead brought in by the first block   8 queries: 411 / 159, 64: 481 / 365
//   the same, each block bringing in its share                            8 queries: 435 / 150, 64: 478 / 421
//   8 x 2, ditto: what is ahead fits beside it in 48 KiB                  8 queries: 436 / 294, 64: 455 / 426
//   1024 queries in tiles of 48, from memory                              6 x 4: 481, 8 x 2: 445
// So 6 x 4 is for many queries, 8 x 2 for some; up to 4 queries wait for memory, at 32 to 39 GB/s.
#include "kernels.h"

#include <immintrin.h>

namespace labrador {
namespace {

// As an instruction of its own: given the intrinsic, gcc 12 copies and spills the accumulators.
inline void add_products(__m512i &sum, __m512i codes, __m512i query) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(codes), "v"(query));
}

inline __m512i four_codes(const std::int8_t *query) {
    std::int32_t four;
    __builtin_memcpy(&four, query, sizeof four);
    return _mm512_set1_epi32(four);
}

// From 16 integer dot products to the bounds and who they leave in.
inline void judge(__m512i dots, const ScreenQuery &query, const PanelBounds &panel, bool every, std::uint16_t *hits,
                  float *uppers) {
    dots = _mm512_sub_epi32(dots, _mm512_set1_epi32(query.correction));
    const __m512 slack = _mm512_fmadd_ps(_mm512_loadu_ps(panel.norm), _mm512_set1_ps(query.residual),
                                         _mm512_mul_ps(_mm512_loadu_ps(panel.residual), _mm512_set1_ps(query.norm)));
    const __m512 centre = _mm512_mul_ps(_mm512_cvtepi32_ps(dots), _mm512_set1_ps(query.scale));
    const __m512 upper = _mm512_fmadd_ps(centre, _mm512_loadu_ps(panel.scale), slack);
    const __mmask16 found = _mm512_cmp_ps_mask(upper, _mm512_set1_ps(query.threshold), _CMP_NLT_UQ);
    *hits = found;
    if (found || every) _mm512_storeu_ps(uppers, upper);
}

// Where the panels lie that are read next, and which of their lines a block brings in. A block's share is
// small, so that memory is asked steadily and not all at once.
struct Ahead {
    const std::uint8_t *line;
    std::size_t lines;
};

// Q queries against P panels, all sums in registers.
template <int Q, int P>
__attribute__((noinline)) // inlined together, gcc 12 keeps their sums on the stack
void block(const std::int8_t *const *queries, const ScreenQuery *constants, const std::uint8_t *const *panels,
           const PanelBounds *const *bounds, std::size_t depth, Ahead ahead, bool every, std::uint16_t *hits,
           float *uppers, std::size_t count) {
    __m512i sums[Q][P];
#pragma GCC unroll 8
    for (int i = 0; i < Q; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < P; ++j) sums[i][j] = _mm512_setzero_si512();
    for (std::size_t e = 0; e < depth; e += PANEL_STEP) {
        if (e * P < ahead.lines * PANEL_STEP)
#pragma GCC unroll 4
            for (int f = 0; f < P; ++f)
                _mm_prefetch(reinterpret_cast<const char *>(ahead.line + (e / PANEL_STEP * P + f) * 64), _MM_HINT_T0);
        __m512i codes[P];
#pragma GCC unroll 8
        for (int j = 0; j < P; ++j) codes[j] = _mm512_loadu_si512(panels[j] + e * PANEL_ROWS);
#pragma GCC unroll 8
        for (int i = 0; i < Q; ++i) {
            const __m512i query = four_codes(queries[i] + e);
#pragma GCC unroll 8
            for (int j = 0; j < P; ++j) add_products(sums[i][j], codes[j], query);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < Q; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < P; ++j)
            judge(sums[i][j], constants[i], *bounds[j], every, hits + static_cast<std::size_t>(i) * count + j,
                  uppers + (static_cast<std::size_t>(i) * count + j) * PANEL_ROWS);
}

// Few queries: one panel at a time in the order it lies in memory, four sums to hide the latency.
template <int Q>
__attribute__((noinline)) void stream(const std::int8_t *const *queries, const ScreenQuery *constants,
                                      const std::uint8_t *const *panels, const PanelBounds *const *bounds,
                                      std::size_t count, std::size_t depth, bool every, std::uint16_t *hits,
                                      float *uppers) {
    constexpr std::size_t AHEAD = 2048;
    for (std::size_t j = 0; j < count; ++j) {
        __m512i sums[Q][4];
#pragma GCC unroll 8
        for (int i = 0; i < Q; ++i)
#pragma GCC unroll 4
            for (int s = 0; s < 4; ++s) sums[i][s] = _mm512_setzero_si512();
        for (std::size_t e = 0; e < depth; e += 4 * PANEL_STEP) {
            const std::uint8_t *const at = panels[j] + e * PANEL_ROWS;
#pragma GCC unroll 4
            for (int s = 0; s < 4; ++s) {
                _mm_prefetch(reinterpret_cast<const char *>(at + AHEAD + 64 * s), _MM_HINT_T0);
                const __m512i codes = _mm512_loadu_si512(at + 64 * s);
#pragma GCC unroll 8
                for (int i = 0; i < Q; ++i)
                    add_products(sums[i][s], codes, four_codes(queries[i] + e + PANEL_STEP * s));
            }
        }
#pragma GCC unroll 8
        for (int i = 0; i < Q; ++i)
            judge(_mm512_add_epi32(_mm512_add_epi32(sums[i][0], sums[i][1]), _mm512_add_epi32(sums[i][2], sums[i][3])),
                  constants[i], *bounds[j], every, hits + static_cast<std::size_t>(i) * count + j,
                  uppers + (static_cast<std::size_t>(i) * count + j) * PANEL_ROWS);
    }
}

// At least five queries against P panels, in blocks of at most MOST.
template <int P, int MOST>
void columns(const std::int8_t *const *queries, const ScreenQuery *constants, std::size_t n,
             const std::uint8_t *const *panels, const PanelBounds *const *bounds, std::size_t depth, bool every,
             std::uint16_t *hits, float *uppers, std::size_t count) {
    const std::size_t blocks = (n + MOST - 1) / MOST, lines = P * depth * PANEL_ROWS / 64;
    for (std::size_t b = 0, i = 0; b < blocks; ++b) {
        const std::size_t size = (n - i + (blocks - b) - 1) / (blocks - b), first = lines * b / blocks;
        const Ahead ahead{panels[0] + (lines + first) * 64, lines * (b + 1) / blocks - first};
        const auto run = [&](auto kernel) {
            kernel(queries + i, constants + i, panels, bounds, depth, ahead, every, hits + i * count,
                   uppers + i * count * PANEL_ROWS, count);
        };
        switch (size) { // nine queries are five and four
        case 4:
            run(block<4, P>);
            break;
        case 5:
            run(block<5, P>);
            break;
        case 6:
            run(block<6, P>);
            break;
        case 7:
            run(block < MOST < 7 ? MOST : 7, P >);
            break;
        default:
            run(block<MOST, P>);
            break;
        }
        i += size;
    }
}

} // namespace

void screen_tile_avx512vnni(const std::int8_t *const *queries, const ScreenQuery *constants, std::size_t n,
                            const std::uint8_t *const *panels, const PanelBounds *const *bounds, std::size_t count,
                            std::size_t depth, bool every, std::uint16_t *hits, float *uppers) {
    switch (n) {
    case 0:
        return;
    case 1:
        return stream<1>(queries, constants, panels, bounds, count, depth, every, hits, uppers);
    case 2:
        return stream<2>(queries, constants, panels, bounds, count, depth, every, hits, uppers);
    case 3:
        return stream<3>(queries, constants, panels, bounds, count, depth, every, hits, uppers);
    case 4:
        return stream<4>(queries, constants, panels, bounds, count, depth, every, hits, uppers);
    }
    std::size_t j = 0;
    for (; n >= 24 && j + 4 <= count; j += 4)
        columns<4, 6>(queries, constants, n, panels + j, bounds + j, depth, every, hits + j, uppers + j * PANEL_ROWS,
                      count);
    for (; j + 2 <= count; j += 2)
        columns<2, 8>(queries, constants, n, panels + j, bounds + j, depth, every, hits + j, uppers + j * PANEL_ROWS,
                      count);
    for (; j < count; ++j)
        columns<1, 8>(queries, constants, n, panels + j, bounds + j, depth, every, hits + j, uppers + j * PANEL_ROWS,
                      count);
}

} // namespace labrador
