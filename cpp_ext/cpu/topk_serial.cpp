// The bit oracle: the project's summation order written out, one pair at a time.
#include "kernels.h"

#include <cmath>

namespace labrador {
namespace {

float dot(const float *a, const float *b, std::size_t d) {
    float lanes[16] = {};
    for (std::size_t e = 0; e < d; ++e) lanes[e % 16] = std::fma(a[e], b[e], lanes[e % 16]);
    for (std::size_t half = 8; half > 0; half /= 2)
        for (std::size_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
    return lanes[0] + 0.0f; // -0 becomes +0: equal scores then have equal bits
}

} // namespace

void dot_tile_serial(const float *const *queries, std::size_t n, const float *const *gallery, std::size_t rows,
                     std::size_t d, float *dots) {
    for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < rows; ++j) dots[i * rows + j] = dot(queries[i], gallery[j], d);
}

} // namespace labrador
