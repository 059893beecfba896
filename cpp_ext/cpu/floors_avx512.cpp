// AVX-512: reading and float FMA in 512-bit registers, and int8 products summed in pairs.
#include "floors.h"

#include <immintrin.h>

namespace labrador {
namespace {

constexpr std::size_t BLOCK = 64;
constexpr int CHAINS = 16;

template <bool AHEAD> void read_lines(const FloorWork &work, __m512i *sums) {
    for (std::size_t at = 0; at < work.bytes; at += 512) {
        const std::uint8_t *from = work.data + at;
#pragma GCC unroll 8
        for (int i = 0; i < 8; ++i) {
            if (AHEAD) _mm_prefetch(reinterpret_cast<const char *>(from + work.ahead + 64 * i), _MM_HINT_T0);
            sums[i] = _mm512_xor_si512(sums[i], _mm512_load_si512(from + 64 * i));
        }
    }
}

// Unrolled like every loop over the sums: one that isn't keeps them in memory instead of registers.
template <int N> std::uint32_t folded(const __m512i (&sums)[N]) {
    __m512i all = sums[0];
#pragma GCC unroll 16
    for (int i = 1; i < N; ++i) all = _mm512_xor_si512(all, sums[i]);
    alignas(64) std::uint32_t lanes[16];
    _mm512_store_si512(lanes, all);
    std::uint32_t result = 0;
    for (const std::uint32_t lane : lanes) result ^= lane;
    return result;
}

std::uint64_t read(const FloorWork &work, std::uint32_t *sink) {
    __m512i sums[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) sums[i] = _mm512_setzero_si512();
    for (std::size_t round = 0; round < work.rounds; ++round)
        work.ahead == 0 ? read_lines<false>(work, sums) : read_lines<true>(work, sums);
    *sink = folded(sums);
    return work.rounds * static_cast<std::uint64_t>(work.bytes);
}

std::uint64_t multiply_floats(const FloorWork &work, std::uint32_t *sink) {
    __m512 sums[CHAINS];
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i));
    const __m512 a = _mm512_set1_ps(static_cast<float>(work.rounds)), b = _mm512_set1_ps(0x1p-30f);
    for (std::size_t step = 0; step < work.rounds * BLOCK; ++step)
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; ++i) sums[i] = _mm512_fmadd_ps(a, b, sums[i]);
    __m512i bits[CHAINS];
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; ++i) bits[i] = _mm512_castps_si512(sums[i]);
    *sink = folded(bits);
    return static_cast<std::uint64_t>(work.rounds) * BLOCK * CHAINS * 16;
}

// Written out: gcc would compute a product that doesn't change once, and keep sums that do in memory.
std::uint64_t multiply_codes(const FloorWork &work, std::uint32_t *sink) {
    __m512i sums[CHAINS], product;
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; ++i) sums[i] = _mm512_set1_epi32(i);
    const __m512i a = _mm512_set1_epi8(static_cast<char>(work.rounds)), b = _mm512_set1_epi8(3);
    for (std::size_t step = 0; step < work.rounds * BLOCK; ++step)
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; ++i)
            __asm__("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0" : "+v"(sums[i]), "=&v"(product) : "v"(a), "v"(b));
    *sink = folded(sums);
    return static_cast<std::uint64_t>(work.rounds) * BLOCK * CHAINS * 64;
}

} // namespace

std::uint64_t floor_avx512(FloorLoop loop, const FloorWork &work, std::uint32_t *sink) {
    if (loop == FloorLoop::read) return read(work, sink);
    return loop == FloorLoop::fma ? multiply_floats(work, sink) : multiply_codes(work, sink);
}

} // namespace labrador
