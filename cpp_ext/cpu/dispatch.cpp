// Which levels are compiled in, and which of them this machine can run.
#include "kernels.h"

#ifdef LABRADOR_AVX2
#include <cpuid.h>
#endif

namespace labrador {
namespace {

#ifdef LABRADOR_AVX2
// The processor must have the instructions, and the operating system must save the registers: bits 1
// and 2 of XCR0 are the xmm and ymm halves (Intel SDM vol. 1, 14.3 and 14.7.1).
bool has_avx2() {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
    const unsigned fma = 1u << 12, osxsave = 1u << 27, avx = 1u << 28;
    if ((c & (fma | osxsave | avx)) != (fma | osxsave | avx)) return false;
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 6u) != 6u) return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 5));
}
#endif

} // namespace

const Level *levels(std::size_t *count) {
    static const Level table[] = {
        {"serial", dot_tile_serial, screen_tile_serial, widen_half_serial, 127, true},
#ifdef LABRADOR_AVX2
        {"avx2", dot_tile_avx2, screen_tile_serial, widen_half_serial, 127, has_avx2()},
#endif
    };
    *count = sizeof(table) / sizeof(table[0]);
    return table;
}

} // namespace labrador
