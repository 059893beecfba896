// Half precision to single, by the bits.
#include "kernels.h"

#include <cstring>

namespace labrador {

void widen_half_serial(const std::uint16_t *from, std::size_t count, float *to) {
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint32_t sign = (from[i] & 0x8000u) << 16, exponent = from[i] >> 10 & 31u,
                            fraction = from[i] & 0x3ffu;
        if (exponent == 0) { // zero or subnormal: the fraction counts units of 2^-24
            const float value = static_cast<float>(fraction) * 0x1p-24f;
            to[i] = sign ? -value : value;
            continue;
        }
        const std::uint32_t bits = sign | (exponent == 31 ? 255u : exponent + 112u) << 23 | fraction << 13;
        std::memcpy(to + i, &bits, sizeof bits);
    }
}

} // namespace labrador
