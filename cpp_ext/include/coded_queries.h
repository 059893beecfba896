// Queries as the screen reads them, and the bound that makes it safe. For baseline units only.
//
// A row x of a part with mean mu was coded, after the rotation of rotation.h, as x - mu = s c + r, |s c| <=
// norm, |r| <= residual; a query, rotated too, is q = S C + R with |R| <= lost. Then, by Cauchy-Schwarz,
//     |<q, x> - S s <C, c> - <q, mu>| <= lost norm + |q| residual,
// where <C, c> is an exact integer. What the float32 score of a pair loses against <q, x> is at most
// (d/16 + 5) 2^-24 |q| |x| (one rounding per step of a lane, four of the tree, one of the last addition),
// and |x| <= norm + residual + |mu|. The rotation of a row in float32 loses at most (log2(d) + 2) 2^-24 |x - mu|,
// or 2^-130 where numbers are too small for digits. guard() counts both that and the roundings of the screen's own float32
// arithmetic, with room to spare: it is spread over the factors of norm, residual and |mu|.
#pragma once

#include "kernels.h"
#include "rotation.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace labrador {

// The next float at or above (below) a finite double, with a few units to spare; infinities stay.
inline float float_above(double value) {
    const float near = static_cast<float>(value);
    return std::fabs(near) <= FLT_MAX ? near + (std::fabs(near) * 0x1p-22f + FLT_MIN) : near;
}
inline float float_below(double value) { return -float_above(-value); }

inline double guard(std::size_t d) { return 4.0 * (static_cast<double>(d) / 16 + 8) * 0x1p-24; }

class CodedQueries {
  public:
    void start(const Queries &queries, int limit) {
        n_ = queries.n;
        d_ = queries.d;
        depth = code_depth(d_);
        stride_ = depth + 64; // another line between queries keeps those of a power-of-two length apart in the cache
        codes_.assign(n_ * stride_ + 64, 0);
        first_ = codes_.data() + (64 - reinterpret_cast<std::uintptr_t>(codes_.data()) % 64) % 64;
        constants.resize(n_);
        norms_.resize(n_);
        rotated_.resize(d_);
        for (std::size_t i = 0; i < n_; ++i)
            code(i, queries.data + static_cast<std::ptrdiff_t>(i) * queries.stride, limit);
    }

    const std::int8_t *codes(std::size_t query) const { return first_ + query * stride_; }

    // Outside this range the screen's float32 products could overflow, or lose digits to underflow.
    bool can_be_screened(std::size_t query) const { return norms_[query] > 0x1p-60 && norms_[query] < 0x1p60; }

    // A score is at most upper + offset + slack, at least upper - 2 (norm residual' + residual norm') + offset - slack.
    double offset(const float *row, const float *mean) const {
        double sum[8] = {};
        std::size_t e = 0;
        for (; e + 8 <= d_; e += 8)
            for (std::size_t lane = 0; lane < 8; ++lane)
                sum[lane] += static_cast<double>(row[e + lane]) * mean[e + lane];
        for (; e < d_; ++e) sum[0] += static_cast<double>(row[e]) * mean[e];
        return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
    }
    double slack(std::size_t query, double mean_norm) const { return (guard(d_) * mean_norm + 0x1p-128) * norms_[query] + 0x1p-120; }

    std::vector<ScreenQuery> constants; // all but the thresholds
    std::size_t depth = 0;

  private:
    void code(std::size_t i, const float *given, int limit) {
        double *const row = rotated_.data();
        for (std::size_t e = 0; e < d_; ++e) row[e] = given[e];
        rotate(row, d_);
        const std::size_t whole = d_ / LANES * LANES;
        double largest[LANES] = {};
        for (std::size_t e = 0; e < whole; e += LANES)
            for (std::size_t lane = 0; lane < LANES; ++lane) {
                const double size = std::fabs(row[e + lane]);
                largest[lane] = size > largest[lane] ? size : largest[lane];
            }
        for (std::size_t e = whole; e < d_; ++e) largest[0] = std::max(largest[0], std::fabs(row[e]));
        const auto most = static_cast<float>(limit);
        const auto scale = static_cast<float>(*std::max_element(largest, largest + LANES) / limit);
        const float inverse = scale > FLT_MIN ? 1 / scale : 0; // any codes are right, these are near
        std::int8_t *const codes = first_ + i * stride_;
        double lost[LANES] = {}, norm[LANES] = {};
        std::int32_t sum[LANES] = {};
        const auto one = [&](std::size_t e, std::size_t lane) {
            constexpr float round = 0x1.8p23f; // adding and taking it away rounds to whole numbers
            float c = static_cast<float>(row[e]) * inverse;
            c = c > most ? most : c;
            c = c < -most ? -most : c;
            c = (c + round) - round;
            const auto code = static_cast<std::int32_t>(c);
            codes[e] = static_cast<std::int8_t>(code);
            sum[lane] += code;
            const double rest = row[e] - static_cast<double>(scale) * static_cast<double>(c);
            lost[lane] += rest * rest;
            norm[lane] += row[e] * row[e];
        };
        for (std::size_t e = 0; e < whole; e += LANES)
            for (std::size_t lane = 0; lane < LANES; ++lane) one(e + lane, lane);
        for (std::size_t e = whole; e < d_; ++e) one(e, e - whole);
        double all_lost = 0, all_norm = 0;
        std::int32_t all = 0;
        for (std::size_t lane = 0; lane < LANES; ++lane) {
            all_lost += lost[lane];
            all_norm += norm[lane];
            all += sum[lane];
        }
        norms_[i] = std::sqrt(all_norm) * (1 + 1e-12);
        const double spare = guard(d_) * norms_[i];
        constants[i] = {scale, float_above(std::sqrt(all_lost) * (1 + 0x1p-18) + spare),
                        float_above(norms_[i] * (1 + 0x1p-18) + spare), 0, 128 * all};
    }

    static constexpr std::size_t LANES = 8; // sums in lanes, which compilers make vectors of
    std::size_t n_ = 0, d_ = 0, stride_ = 0;
    std::vector<std::int8_t> codes_;
    std::int8_t *first_ = nullptr;
    std::vector<double> norms_, rotated_;
};

} // namespace labrador
