// Half precision to single: the conversion is part of every AArch64 processor.
#include "kernels.h"

#include <arm_neon.h>

namespace labrador {

void widen_half_neon(const std::uint16_t *from, std::size_t count, float *to) {
    std::size_t i = 0;
    for (; i + 4 <= count; i += 4) vst1q_f32(to + i, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from + i))));
    for (; i < count; ++i) to[i] = vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(from[i]))), 0);
}

} // namespace labrador
