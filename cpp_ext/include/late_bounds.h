// Which items of several tokens can't be hits, from bounds of their tokens. For baseline units only.
#pragma once

#include "late.h"

#include <vector>

namespace labrador {

constexpr std::size_t MAXIMUM_LANES = 8; // a maximum in so many lanes is one that compilers make vectors of

constexpr std::size_t whole_lanes(std::size_t t) { return (t + MAXIMUM_LANES - 1) / MAXIMUM_LANES * MAXIMUM_LANES; }

// Whether the late_score of these bounds, and so that of the scores below them, is sure to be under the
// threshold. Takes the largest out one by one: once the rest can't be larger than the last one taken, most
// items are seen to fall short after two or three. uppers: t of whole_lanes(t), spoiled; +inf for unknown.
inline bool falls_short(std::vector<float> &uppers, std::size_t t, std::size_t top_tokens, float threshold) {
    const auto top = static_cast<double>(top_tokens);
    std::fill(uppers.begin() + static_cast<std::ptrdiff_t>(t), uppers.end(), -FLT_MAX);
    double sum = 0;
    for (std::size_t taken = 1; taken <= top_tokens; ++taken) {
        float lanes[MAXIMUM_LANES], largest = -FLT_MAX;
        std::fill(lanes, lanes + MAXIMUM_LANES, -FLT_MAX);
        for (std::size_t i = 0; i < uppers.size(); i += MAXIMUM_LANES)
            for (std::size_t lane = 0; lane < MAXIMUM_LANES; ++lane)
                lanes[lane] = uppers[i + lane] > lanes[lane] ? uppers[i + lane] : lanes[lane];
        for (const float lane : lanes) largest = lane > largest ? lane : largest;
        if (!(std::fabs(largest) < FLT_MAX)) return false;
        *std::find(uppers.begin(), uppers.end(), largest) = -FLT_MAX;
        sum += largest;
        const double most = (sum + (top - static_cast<double>(taken)) * largest) / top;
        if (most + std::fabs(largest) * 1e-4 < threshold) return true; // more than the rounding of late_score
    }
    return false;
}

} // namespace labrador
