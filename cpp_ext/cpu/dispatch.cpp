// Which levels are compiled in, and which of them this machine can run.
#include "kernels.h"

#ifdef LABRADOR_AVX2
#include <cpuid.h>
#endif
#if defined(LABRADOR_NEONDOT) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(LABRADOR_NEONDOT)
#include <sys/auxv.h>
#endif

namespace labrador {
namespace {

#ifdef LABRADOR_AVX2
struct Registers {
    unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf) {
    Registers r;
    __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d); // leaves the zeros if there is no such leaf
    return r;
}

// The registers the operating system saves, XCR0: bits 1 and 2 are the xmm and ymm halves, bits 5 to 7 the
// masks, the zmm halves and the sixteen more zmm (Intel SDM vol. 1, 13.3). Without its leave (OSXSAVE) none.
unsigned saved_registers() {
    if (!(cpuid(1, 0).c & 1u << 27)) return 0;
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

bool has(unsigned features, unsigned needed) { return (features & needed) == needed; }

constexpr unsigned YMM = 0x06, ZMM = 0xe6; // of XCR0

bool has_avx2() {
    const unsigned fma = 1u << 12, avx = 1u << 28, f16c = 1u << 29, avx2 = 1u << 5;
    return has(saved_registers(), YMM) && has(cpuid(1, 0).c, fma | avx | f16c) && has(cpuid(7, 0).b, avx2);
}

[[maybe_unused]] bool has_avxvnni() {
    const unsigned avxvnni = 1u << 4;
    return has_avx2() && has(cpuid(7, 0).a >= 1 ? cpuid(7, 1).a : 0, avxvnni);
}

[[maybe_unused]] bool has_avx512() {
    const unsigned f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31;
    return has_avx2() && has(saved_registers(), ZMM) && has(cpuid(7, 0).b, f | dq | bw | vl);
}

[[maybe_unused]] bool has_avx512vnni() {
    const unsigned vnni = 1u << 11;
    return has_avx512() && has(cpuid(7, 0).c, vnni);
}
#endif

#ifdef LABRADOR_NEONDOT
bool has_dot_products() {
#ifdef __APPLE__
    int found = 0;
    std::size_t size = sizeof found;
    return sysctlbyname("hw.optional.arm.FEAT_DotProd", &found, &size, nullptr, 0) == 0 && found;
#else
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
#endif
}
#endif

} // namespace

const Level *levels(std::size_t *count) {
    static const Level table[] = {
        {"serial", dot_tile_serial, screen_tile_serial, widen_half_serial, 127, true},
#ifdef LABRADOR_AVX2
        {"avx2", dot_tile_avx2, screen_tile_avx2, widen_half_avx2, 63, has_avx2()},
#endif
#ifdef LABRADOR_AVXVNNI
        {"avxvnni", dot_tile_avx2, screen_tile_avxvnni, widen_half_avx2, 127, has_avxvnni()},
#endif
#ifdef LABRADOR_AVX512
        {"avx512", dot_tile_avx512, screen_tile_avx512, widen_half_avx2, 63, has_avx512()},
#endif
#ifdef LABRADOR_AVX512VNNI
        {"avx512vnni", dot_tile_avx512, screen_tile_avx512vnni, widen_half_avx2, 127, has_avx512vnni()},
#endif
#ifdef LABRADOR_NEON
        {"neon", dot_tile_neon, screen_tile_neon, widen_half_neon, 127, true},
#endif
#ifdef LABRADOR_NEONDOT
        {"neondot", dot_tile_neon, screen_tile_neondot, widen_half_neon, 127, has_dot_products()},
#endif
    };
    *count = sizeof(table) / sizeof(table[0]);
    return table;
}

} // namespace labrador
