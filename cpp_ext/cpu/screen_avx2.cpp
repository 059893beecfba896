// AVX2 has no multiply-add of bytes that can't saturate, so bytes are taken as 16-bit numbers: codes 0 and 2
// of a row's four are one operand, 1 and 3 the other. That splits a panel with two instructions, keeps a row
// in one 32-bit lane, and costs no more multiplications than the saturating instruction and its widening.
#include "screen_ymm.h"

namespace labrador {
namespace {

constexpr std::size_t GROUP = 4;                             // queries whose sums fit the sixteen registers
constexpr std::size_t BLOCK = 8;                             // panels that meet a group of split queries
constexpr std::size_t CHUNK = 1024;                          // codes split at a time
constexpr std::size_t VECTOR = sizeof(__m256i);              // half a step of a panel
constexpr std::size_t STEP_BYTES = PANEL_ROWS * PANEL_STEP;

// A group's codes as 16-bit pairs, a pair per step: codes 0 and 2, and codes 1 and 3.
struct Split {
    alignas(VECTOR) std::int32_t even[GROUP][CHUNK / PANEL_STEP];
    alignas(VECTOR) std::int32_t odd[GROUP][CHUNK / PANEL_STEP];
};

// A group's dot products with a block.
struct Sums {
    __m256i of[BLOCK][GROUP][2];
};

void split(const std::int8_t *codes, std::size_t count, std::int32_t *even, std::int32_t *odd) {
    for (std::size_t e = 0; e < count; e += 16) {
        const __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i *>(codes + e));
        _mm_store_si128(reinterpret_cast<__m128i *>(even + e / 4), _mm_srai_epi16(_mm_slli_epi16(four, 8), 8));
        _mm_store_si128(reinterpret_cast<__m128i *>(odd + e / 4), _mm_srai_epi16(four, 8));
    }
}

// Adds the products of `steps` steps of Q queries and a panel. `wanted` is memory that is needed soon,
// brought in along the way `pace` bytes per step.
template <int Q>
void accumulate(const Split &queries, const std::uint8_t *panel, std::size_t steps, const std::uint8_t *wanted,
                std::size_t pace, __m256i (*sums)[2]) {
    const __m256i low_byte = _mm256_set1_epi16(255);
    __m256i low[Q], high[Q];
#pragma GCC unroll 4
    for (int i = 0; i < Q; ++i) low[i] = sums[i][0], high[i] = sums[i][1];
    for (std::size_t s = 0; s < steps; ++s) {
        _mm_prefetch(reinterpret_cast<const char *>(wanted), _MM_HINT_T0);
        wanted += pace;
        const __m256i first = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(panel + s * STEP_BYTES));
        const __m256i second = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(panel + s * STEP_BYTES + VECTOR));
        const __m256i first_even = _mm256_and_si256(first, low_byte), first_odd = _mm256_srli_epi16(first, 8);
        const __m256i second_even = _mm256_and_si256(second, low_byte), second_odd = _mm256_srli_epi16(second, 8);
#pragma GCC unroll 4
        for (int i = 0; i < Q; ++i) {
            const __m256i even = _mm256_set1_epi32(queries.even[i][s]), odd = _mm256_set1_epi32(queries.odd[i][s]);
            low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(first_even, even));
            high[i] = _mm256_add_epi32(high[i], _mm256_madd_epi16(second_even, even));
            low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(first_odd, odd));
            high[i] = _mm256_add_epi32(high[i], _mm256_madd_epi16(second_odd, odd));
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < Q; ++i) sums[i][0] = low[i], sums[i][1] = high[i];
}

} // namespace

void screen_tile_avx2(const std::int8_t *const *queries, const ScreenQuery *constants, std::size_t n,
                      const std::uint8_t *const *panels, const PanelBounds *const *bounds, std::size_t count,
                      std::size_t depth, bool every, std::uint16_t *hits, float *uppers) {
    constexpr decltype(&accumulate<1>) kernels[] = {accumulate<1>, accumulate<2>, accumulate<3>, accumulate<4>};
    const std::size_t groups = (n + GROUP - 1) / GROUP;
    Split codes;
    Sums sums;
    for (std::size_t begin = 0; begin < count; begin += BLOCK) {
        const std::size_t end = begin + BLOCK < count ? begin + BLOCK : count;
        for (std::size_t group = 0, i = 0; group < groups; ++group) {
            const std::size_t q = (n - i + groups - group - 1) / (groups - group); // nearly equal sizes
            for (std::size_t j = begin; j < end; ++j)
                for (std::size_t g = 0; g < q; ++g)
                    sums.of[j - begin][g][0] = sums.of[j - begin][g][1] =
                        _mm256_set1_epi32(-constants[i + g].correction);
            for (std::size_t e = 0; e < depth; e += CHUNK) {
                const std::size_t length = e + CHUNK < depth ? CHUNK : depth - e;
                for (std::size_t g = 0; g < q; ++g) split(queries[i + g] + e, length, codes.even[g], codes.odd[g]);
                for (std::size_t j = begin; j < end; ++j) {
                    // The groups share the fetching of the panel that is one block on.
                    const std::size_t next = j + BLOCK, pace = next < count ? STEP_BYTES / groups : 0;
                    const std::uint8_t *wanted =
                        next < count ? panels[next] + e * PANEL_ROWS + group * (length / PANEL_STEP) * pace : panels[j];
                    kernels[q - 1](codes, panels[j] + e * PANEL_ROWS, length / PANEL_STEP, wanted, pace,
                                   sums.of[j - begin]);
                }
            }
            for (std::size_t j = begin; j < end; ++j)
                for (std::size_t g = 0; g < q; ++g) {
                    const std::size_t pair = (i + g) * count + j;
                    store_bounds(sums.of[j - begin][g][0], sums.of[j - begin][g][1], constants[i + g], *bounds[j],
                                 every, hits + pair, uppers + pair * PANEL_ROWS);
                }
            i += q;
        }
    }
}

} // namespace labrador
