// Codes of a part's rows: 8 bits per element in panels, and how much they leave out.
#include "coded_queries.h"
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

// One row, widened to floats, less the mean. codes: depth of them, unset past d.
Coded code_row(const float *row, const float *mean, std::size_t d, bool unscaled, double *centred, std::int8_t *codes) {
    double largest[LANES] = {}, total[LANES] = {};
    for (std::size_t e = 0; e < d; ++e) centred[e] = static_cast<double>(row[e]) - mean[e];
    const std::size_t whole = d / LANES * LANES;
    for (std::size_t e = 0; e < whole; e += LANES)
        for (std::size_t lane = 0; lane < LANES; ++lane) {
            const double x = centred[e + lane], size = std::fabs(x);
            largest[lane] = size > largest[lane] ? size : largest[lane];
            total[lane] += x * x;
        }
    for (std::size_t e = whole; e < d; ++e) {
        largest[0] = std::max(largest[0], std::fabs(centred[e]));
        total[0] += centred[e] * centred[e];
    }
    const double most = *std::max_element(largest, largest + LANES);
    double square = 0;
    for (const double sum : total) square += sum;
    if (!(square < LARGEST_NORM * LARGEST_NORM)) { // NaN, infinite or huge: never screened out
        std::memset(codes, 0, d);
        return {0, 0, std::numeric_limits<float>::infinity()};
    }
    const float scale = unscaled ? 1.0f : static_cast<float>(most / 127);
    // Adding and taking away 1.5 * 2^23 rounds to whole numbers, in vectors on every processor.
    const float inverse = scale > FLT_MIN ? 1.0f / scale : 0.0f, round = 0x1.8p23f;
    for (std::size_t e = 0; e < d; ++e) {
        float c = static_cast<float>(centred[e]) * inverse;
        c = c > 127.0f ? 127.0f : c < -127.0f ? -127.0f : c;
        codes[e] = static_cast<std::int8_t>(static_cast<std::int32_t>((c + round) - round));
    }
    double lost[LANES] = {};
    std::int32_t squares = 0;
    for (std::size_t e = 0; e < whole; e += LANES)
        for (std::size_t lane = 0; lane < LANES; ++lane) {
            const double rest = centred[e + lane] - static_cast<double>(scale) * codes[e + lane];
            lost[lane] += rest * rest;
        }
    for (std::size_t e = whole; e < d; ++e) {
        const double rest = centred[e] - static_cast<double>(scale) * codes[e];
        lost[0] += rest * rest;
    }
    for (std::size_t e = 0; e < d; ++e) squares += codes[e] * codes[e];
    double missing = 0;
    for (const double sum : lost) missing += sum;
    return {scale, float_above(static_cast<double>(scale) * std::sqrt(static_cast<double>(squares)) * (1 + 1e-12)),
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
    const bool unscaled = part.element == Element::int8 && std::all_of(mean, mean + d, [](float x) { return x == 0; });
    std::atomic<std::size_t> next{0};
    constexpr std::size_t SLICE = 64; // panels
    run_workers(std::min(threads, count / SLICE + 1), [&](std::size_t) {
        std::vector<float> row(d);
        std::vector<double> centred(d);
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
                        coded = code_row(row.data(), mean, d, unscaled, centred.data(), codes.data() + r * depth);
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
