// AVX-VNNI: int8 multiply-adds in 256-bit registers. What else it can do is AVX2's.
#include "floors.h"

#include <immintrin.h>

namespace labrador {
namespace {

constexpr std::size_t BLOCK = 64;
constexpr int CHAINS = 12;

} // namespace

// The instruction is written out: gcc 12 copies an accumulator that an intrinsic updates in place.
std::uint64_t floor_avxvnni(FloorLoop loop, const FloorWork &work, std::uint32_t *sink) {
    if (loop != FloorLoop::mac) return 0;
    __m256i sums[CHAINS];
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; ++i) sums[i] = _mm256_set1_epi32(i);
    const __m256i a = _mm256_set1_epi8(static_cast<char>(work.rounds)), b = _mm256_set1_epi8(3);
    for (std::size_t step = 0; step < work.rounds * BLOCK; ++step)
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; ++i) __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sums[i]) : "x"(a), "x"(b));
    __m256i all = sums[0];
#pragma GCC unroll 12 // one that isn't unrolled keeps the sums in memory instead of registers
    for (int i = 1; i < CHAINS; ++i) all = _mm256_xor_si256(all, sums[i]);
    alignas(32) std::uint32_t lanes[8];
    _mm256_store_si256(reinterpret_cast<__m256i *>(lanes), all);
    for (const std::uint32_t lane : lanes) *sink ^= lane;
    return static_cast<std::uint64_t>(work.rounds) * BLOCK * CHAINS * 32;
}

} // namespace labrador
