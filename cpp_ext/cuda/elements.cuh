// A gallery's elements as floats, exactly.
#pragma once

#include "kernels.h"

#include <cuda_fp16.h>

#include <utility>

namespace labrador {
namespace {

struct Bfloat16 {
    unsigned short bits;
};

__device__ inline float widened(const float *from) { return __ldg(from); }
__device__ inline float widened(const __half *from) { return __half2float(__ldg(from)); }
__device__ inline float widened(const Bfloat16 *from) {
    return __uint_as_float(static_cast<unsigned>(__ldg(&from->bits)) << 16);
}
__device__ inline float widened(const std::int8_t *from) {
    return static_cast<float>(__ldg(reinterpret_cast<const signed char *>(from)));
}

// run(a null pointer to the element's type): a kernel is compiled once for each.
template <class Run> auto with_element(Element element, Run &&run) {
    switch (element) {
    case Element::float16:
        return run(static_cast<__half *>(nullptr));
    case Element::bfloat16:
        return run(static_cast<Bfloat16 *>(nullptr));
    case Element::int8:
        return run(static_cast<std::int8_t *>(nullptr));
    default:
        return run(static_cast<float *>(nullptr));
    }
}

} // namespace
} // namespace labrador
