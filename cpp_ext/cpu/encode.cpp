// Codes of a part's rows: 8 bits per element in panels, and how much they leave out.
#include "coded_queries.h"
#include "rotation.h"
#include "rows.h"
#include "workers.h"

#include <atomic>

namespace labrador {
namespace {

constexpr std::size_t SAMPLE_ROWS = 16384; // a mean of so many is as good to centre by as that of all
constexpr std::size_t LANES = 8;           // sums in this many lanes, which compilers keep in vectors
constexpr double LARGEST_NORM = 0x1p60;    // beyond it products with a query could overflow

struct Coded {
    float scale, norm, residual;
};

// Of d elements, in lanes: what `of` makes of each, added up.
template <class Of> double sum_over(std::size_t d, const Of &of) {
    double lanes[LANES] = {}, sum = 0;
    const std::size_t whole = d / LANES * LANES;
    for (std::size_t e = 0; e < whole; e += LANES)
        for (std::size_t lane = 0; lane < LANES; ++lane) lanes[lane] += of(e + lane);
    for (std::size_t e = whole; e < d; ++e) lanes[0] += of(e);
    for (const double lane : lanes) sum += lane;
    return sum;
}

float largest_of(const float *x, std::size_t d) {
    float lanes[LANES] = {};
    const std::size_t whole = d / LANES * LANES;
    for (std::size_t e = 0; e < whole; e += LANES)
        for (std::size_t lane = 0; lane < LANES; ++lane) {
            const float size = std::fabs(x[e + lane]);
            lanes[lane] = size > lanes[lane] ? size : lanes[lane];
        }
    for (std::size_t e = whole; e < d; ++e) lanes[0] = std::max(lanes[0], std::fabs(x[e]));
    return *std::max_element(lanes, lanes + LANES);
}

// One row, less the mean, rotated. codes: depth of them, unset past d. x: d floats of scratch.
Coded code_row(const float *row, const float *mean, std::size_t d, float *x, std::int8_t *codes) {
    for (std::size_t e = 0; e < d; ++e) x[e] = static_cast<float>(static_cast<double>(row[e]) - mean[e]);
    const double square = sum_over(d, [x](std::size_t e) { return static_cast<double>(x[e]) * x[e]; });
    if (!(square < LARGEST_NORM * LARGEST_NORM)) { // NaN, infinite or huge: never screened out
        std::memset(codes, 0, d);
        return {0, 0, std::numeric_limits<float>::infinity()};
    }
    rotate(x, d);
    const float scale = largest_of(x, d) / 127;
    // Adding and taking away 1.5 * 2^23 rounds to whole numbers, in vectors on every processor.
    const float inverse = scale > FLT_MIN ? 1.0f / scale : 0.0f, round = 0x1.8p23f;
    for (std::size_t e = 0; e < d; ++e) {
        float c = x[e] * inverse;
        c = c > 127.0f ? 127.0f : c < -127.0f ? -127.0f : c;
        codes[e] = static_cast<std::int8_t>(static_cast<std::int32_t>((c + round) - round));
    }
    const double wide = scale;
    const double missing = sum_over(d, [=](std::size_t e) {
        const double rest = static_cast<double>(x[e]) - wide * codes[e];
        return rest * rest;
    });
    std::int32_t squares = 0;
    for (std::size_t e = 0; e < d; ++e) squares += codes[e] * codes[e];
    return {scale, float_above(wide * std::sqrt(static_cast<double>(squares)) * (1 + 1e-12)),
            float_above(std::sqrt(missing) * (1 + 1e-12))};
}

} // namespace

void mean_of(const Part &part, std::size_t t, std::size_t d, const Level &level, float *mean) {
    std::vector<double> sums(d, 0.0);
    std::vector<float> row(d);
    const std::size_t rows = part.m * t, step = std::max<std::size_t>(1, rows / SAMPLE_ROWS);
    std::size_t counted = 0;
    for (std::size_t i = 0; i < rows; i += step) {
        widen(row_at(part, i / t, i % t), part.element, d, level, row.data());
        bool sound = true;
        for (std::size_t e = 0; e < d; ++e) sound = sound && std::fabs(row[e]) < 0x1p60f;
        if (!sound) continue;
        for (std::size_t e = 0; e < d; ++e) sums[e] += row[e];
        ++counted;
    }
    for (std::size_t e = 0; e < d; ++e)
        mean[e] = counted ? static_cast<float>(sums[e] / static_cast<double>(counted)) : 0;
}

void encode(const Part &part, std::size_t t, std::size_t d, const float *mean, std::size_t threads, const Level &level,
            std::uint8_t *panels, PanelBounds *bounds) {
    const std::size_t depth = code_depth(d), item_panels = (t + PANEL_ROWS - 1) / PANEL_ROWS;
    const std::size_t count = t == 1 ? (part.m + PANEL_ROWS - 1) / PANEL_ROWS : part.m * item_panels;
    std::atomic<std::size_t> next{0};
    constexpr std::size_t SLICE = 64; // panels
    run_workers(std::min(threads, count / SLICE + 1), [&](std::size_t) {
        std::vector<float> row(d);
        std::vector<float> scratch(d);
        std::vector<std::int8_t> codes(PANEL_ROWS * depth);
        for (std::size_t first; (first = next.fetch_add(SLICE)) < count;)
            for (std::size_t panel = first; panel < std::min(count, first + SLICE); ++panel) {
                std::memset(codes.data(), 0, codes.size());
                for (std::size_t r = 0; r < PANEL_ROWS; ++r) {
                    const std::size_t item = t == 1 ? panel * PANEL_ROWS + r : panel / item_panels;
                    const std::size_t token = t == 1 ? 0 : panel % item_panels * PANEL_ROWS + r;
                    Coded coded{0, 0, 0};
                    if (item < part.m && token < t) {
                        widen(row_at(part, item, token), part.element, d, level, row.data());
                        coded = code_row(row.data(), mean, d, scratch.data(), codes.data() + r * depth);
                    }
                    bounds[panel].scale[r] = coded.scale;
                    bounds[panel].norm[r] = coded.norm;
                    bounds[panel].residual[r] = coded.residual;
                }
                std::uint8_t *const out = panels + panel * depth * PANEL_ROWS;
                for (std::size_t step = 0; step < depth / PANEL_STEP; ++step)
                    for (std::size_t r = 0; r < PANEL_ROWS; ++r) {
                        std::uint32_t four;
                        std::memcpy(&four, codes.data() + r * depth + step * PANEL_STEP, 4);
                        four ^= 0x80808080u; // c + 128
                        std::memcpy(out + (step * PANEL_ROWS + r) * PANEL_STEP, &four, 4);
                    }
            }
    });
}

} // namespace labrador
