// AVX-512 VNNI: int8 multiply-adds in 512-bit registers. What else it can do is AVX-512's.
#include "floors.h"

#include <immintrin.h>

namespace labrador {
namespace {

constexpr std::size_t BLOCK = 64;
constexpr int CHAINS = 16;

} // namespace

// The instruction is written out: gcc 12 copies an accumulator that an intrinsic updates in place.
std::uint64_t floor_avx512vnni(FloorLoop loop, const FloorWork &work, std::uint32_t *sink) {
    if (loop != FloorLoop::mac) return 0;
    __m512i sums[CHAINS];
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; ++i) sums[i] = _mm512_set1_epi32(i);
    const __m512i a = _mm512_set1_epi8(static_cast<char>(work.rounds)), b = _mm512_set1_epi8(3);
    for (std::size_t step = 0; step < work.rounds * BLOCK; ++step)
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; ++i) __asm__("vpdpbusd %2, %1, %0" : "+v"(sums[i]) : "v"(a), "v"(b));
    __m512i all = sums[0];
#pragma GCC unroll 16 // one that isn't unrolled keeps the sums in memory instead of registers
    for (int i = 1; i < CHAINS; ++i) all = _mm512_xor_si512(all, sums[i]);
    alignas(64) std::uint32_t lanes[16];
    _mm512_store_si512(lanes, all);
    for (const std::uint32_t lane : lanes) *sink ^= lane;
    return static_cast<std::uint64_t>(work.rounds) * BLOCK * CHAINS * 64;
}

} // namespace labrador
