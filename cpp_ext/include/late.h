// Late similarity: from the t dot products of one item to its score. For baseline units only.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>

namespace labrador {

// Mean of the `top` largest of dots[0..t), added in descending order, then divided. Reorders dots.
// NaN when any of the t isn't finite, so that a damaged item never outranks a sound one.
inline float late_score(float *dots, std::size_t t, std::size_t top) {
    for (std::size_t i = 0; i < t; ++i)
        if (!(std::fabs(dots[i]) <= FLT_MAX)) return std::numeric_limits<float>::quiet_NaN();
    if (top == 1) return *std::max_element(dots, dots + t);
    std::partial_sort(dots, dots + top, dots + t, std::greater<float>());
    float sum = dots[0];
    for (std::size_t i = 1; i < top; ++i) sum += dots[i];
    return sum / static_cast<float>(top) + 0.0f; // + 0: a sum that underflows to -0 is +0 too
}

} // namespace labrador
