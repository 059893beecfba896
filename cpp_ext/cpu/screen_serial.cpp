// The screen's oracle: the formula of kernels.h, one pair at a time.
#include "kernels.h"

#include <cmath>

namespace labrador {
namespace {

// Row r's code 4s + i is byte (16s + r) * 4 + i of the panel.
std::int32_t dot(const std::int8_t *query, const std::uint8_t *panel, std::size_t row, std::size_t depth) {
    std::int32_t sum = 0;
    for (std::size_t e = 0; e < depth; ++e)
        sum += query[e] * (panel[(e / PANEL_STEP * PANEL_ROWS + row) * PANEL_STEP + e % PANEL_STEP] - 128);
    return sum;
}

} // namespace

void screen_tile_serial(const std::int8_t *const *queries, const ScreenQuery *constants, std::size_t n,
                        const std::uint8_t *const *panels, const PanelBounds *const *bounds, std::size_t count,
                        std::size_t depth, bool every, std::uint16_t *hits, float *uppers) {
    for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < count; ++j) {
            const ScreenQuery &query = constants[i];
            const PanelBounds &panel = *bounds[j];
            float upper[PANEL_ROWS];
            std::uint16_t found = 0;
            for (std::size_t r = 0; r < PANEL_ROWS; ++r) {
                const float slack = std::fma(panel.norm[r], query.residual, panel.residual[r] * query.norm);
                const float centre = static_cast<float>(dot(queries[i], panels[j], r, depth)) * query.scale;
                upper[r] = std::fma(centre, panel.scale[r], slack);
                if (!(upper[r] < query.threshold)) found = static_cast<std::uint16_t>(found | 1u << r);
            }
            hits[i * count + j] = found;
            if (found || every)
                for (std::size_t r = 0; r < PANEL_ROWS; ++r) uppers[(i * count + j) * PANEL_ROWS + r] = upper[r];
        }
}

} // namespace labrador
