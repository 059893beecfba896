// AVX2: reading, float FMA, and int8 products summed in pairs, without the widening that a dot product adds.
#include "floors.h"

#include <immintrin.h>

namespace labrador {
namespace {

constexpr std::size_t BLOCK = 64; // times a round issues each of its instructions
constexpr int CHAINS = 12;        // independent sums: latency times the instructions begun per cycle

template <bool AHEAD> void read_lines(const FloorWork &work, __m256i *sums) {
    for (std::size_t at = 0; at < work.bytes; at += 256) {
        const std::uint8_t *from = work.data + at;
#pragma GCC unroll 8
        for (int i = 0; i < 8; ++i) {
            if (AHEAD && i % 2 == 0)
                _mm_prefetch(reinterpret_cast<const char *>(from + work.ahead + 32 * i), _MM_HINT_T0);
            sums[i] = _mm256_xor_si256(sums[i], _mm256_load_si256(reinterpret_cast<const __m256i *>(from + 32 * i)));
        }
    }
}

// Unrolled like every loop over the sums: one that isn't keeps them in memory instead of registers.
template <int N> std::uint32_t folded(const __m256i (&sums)[N]) {
    __m256i all = sums[0];
#pragma GCC unroll 12
    for (int i = 1; i < N; ++i) all = _mm256_xor_si256(all, sums[i]);
    alignas(32) std::uint32_t lanes[8];
    _mm256_store_si256(reinterpret_cast<__m256i *>(lanes), all);
    return lanes[0] ^ lanes[1] ^ lanes[2] ^ lanes[3] ^ lanes[4] ^ lanes[5] ^ lanes[6] ^ lanes[7];
}

std::uint64_t read(const FloorWork &work, std::uint32_t *sink) {
    __m256i sums[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) sums[i] = _mm256_setzero_si256();
    for (std::size_t round = 0; round < work.rounds; ++round)
        work.ahead == 0 ? read_lines<false>(work, sums) : read_lines<true>(work, sums);
    *sink = folded(sums);
    return work.rounds * static_cast<std::uint64_t>(work.bytes);
}

std::uint64_t multiply_floats(const FloorWork &work, std::uint32_t *sink) {
    __m256 sums[CHAINS];
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; ++i) sums[i] = _mm256_set1_ps(static_cast<float>(i));
    const __m256 a = _mm256_set1_ps(static_cast<float>(work.rounds)), b = _mm256_set1_ps(0x1p-30f);
    for (std::size_t step = 0; step < work.rounds * BLOCK; ++step)
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; ++i) sums[i] = _mm256_fmadd_ps(a, b, sums[i]);
    __m256i bits[CHAINS];
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; ++i) bits[i] = _mm256_castps_si256(sums[i]);
    *sink = folded(bits);
    return static_cast<std::uint64_t>(work.rounds) * BLOCK * CHAINS * 8;
}

// Written out: gcc would compute a product that doesn't change once, and keep sums that do in memory.
std::uint64_t multiply_codes(const FloorWork &work, std::uint32_t *sink) {
    __m256i sums[CHAINS], product;
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; ++i) sums[i] = _mm256_set1_epi32(i);
    const __m256i a = _mm256_set1_epi8(static_cast<char>(work.rounds)), b = _mm256_set1_epi8(3);
    for (std::size_t step = 0; step < work.rounds * BLOCK; ++step)
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; ++i)
            __asm__("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(sums[i]), "=&x"(product) : "x"(a), "x"(b));
    *sink = folded(sums);
    return static_cast<std::uint64_t>(work.rounds) * BLOCK * CHAINS * 32;
}

} // namespace

std::uint64_t floor_avx2(FloorLoop loop, const FloorWork &work, std::uint32_t *sink) {
    if (loop == FloorLoop::read) return read(work, sink);
    return loop == FloorLoop::fma ? multiply_floats(work, sink) : multiply_codes(work, sink);
}

} // namespace labrador
