// The screen's bounds of all pairs, as the search uses them: what tests hold against exact scores.
#include "coded_queries.h"

namespace labrador {

void upper_bounds(const Queries &queries, const Part &part, std::size_t d, const Level &level, float *uppers) {
    CodedQueries coded;
    coded.start(queries, level.query_limit);
    double mean_norm = 0;
    for (std::size_t e = 0; e < d; ++e) mean_norm += static_cast<double>(part.codes->mean[e]) * part.codes->mean[e];
    mean_norm = std::sqrt(mean_norm) * (1 + 1e-12);
    for (std::size_t q = 0; q < queries.n; ++q) {
        const double offset =
            coded.offset(queries.data + static_cast<std::ptrdiff_t>(q) * queries.stride, part.codes->mean);
        const double slack = coded.slack(q, mean_norm);
        const std::int8_t *codes = coded.codes(q);
        for (std::size_t item = 0; item < part.m; item += PANEL_ROWS) {
            const std::uint8_t *panel = part.codes->panels + item * coded.depth;
            const PanelBounds *bounds = part.codes->bounds + item / PANEL_ROWS;
            float found[PANEL_ROWS];
            std::uint16_t hits;
            level.screen_tile(&codes, &coded.constants[q], 1, &panel, &bounds, 1, coded.depth, true, &hits, found);
            for (std::size_t r = 0; r < PANEL_ROWS && item + r < part.m; ++r)
                uppers[q * part.m + item + r] = float_above(found[r] + offset + slack);
        }
    }
}

} // namespace labrador
