// The three functions that a level brings.
#include "guarded.h"
#include "operations.h"

using namespace labrador;

bool run_dot(const Case &c, const Level &level, std::size_t shift) {
    const std::size_t n = number(c, 0), rows = number(c, 1), d = number(c, 2), row = d * sizeof(float);
    const Guarded queries(n, row, shift * sizeof(float), array(c, 0, n * row).data());
    const Guarded gallery(rows, row, shift * sizeof(float), array(c, 1, rows * row).data());
    const std::vector<std::uint8_t> &expected = array(c, 2, n * rows * sizeof(float));
    const Guarded dots(1, expected.size(), shift * sizeof(float));
    level.dot_tile(queries.pointers<float>().data(), n, gallery.pointers<float>().data(), rows, d, dots.as<float>());
    expect_floats("dots", expected, dots.as<float>());
    return true;
}

bool run_screen(const Case &c, const Level &level, std::size_t shift) {
    const std::size_t n = number(c, 0), count = number(c, 1), depth = number(c, 2);
    const std::size_t panel = depth * PANEL_ROWS;
    const std::vector<std::uint8_t> &codes = array(c, 0, n * depth);
    for (const std::uint8_t code : codes) {
        const int value = static_cast<std::int8_t>(code);
        if (value > level.query_limit || value < -level.query_limit) return false;
    }
    const Guarded queries(n, depth, shift, codes.data());
    const Guarded constants(1, n * sizeof(ScreenQuery), shift * sizeof(float),
                            array(c, 1, n * sizeof(ScreenQuery)).data());
    const Guarded panels(count, panel, shift, array(c, 2, count * panel).data());
    const Guarded bounds(count, sizeof(PanelBounds), shift * sizeof(float),
                         array(c, 3, count * sizeof(PanelBounds)).data());
    const std::vector<std::uint8_t> &hits = array(c, 4, n * count * sizeof(std::uint16_t));
    const std::vector<std::uint8_t> &uppers = array(c, 5, n * count * PANEL_ROWS * sizeof(float));
    const Guarded found(1, hits.size(), shift * sizeof(std::uint16_t));
    const Guarded stored(1, uppers.size(), shift * sizeof(float));
    level.screen_tile(queries.pointers<std::int8_t>().data(), constants.as<ScreenQuery>(), n,
                      panels.pointers<std::uint8_t>().data(), bounds.pointers<PanelBounds>().data(), count, depth,
                      number(c, 3) != 0, found.as<std::uint16_t>(), stored.as<float>());
    expect_bytes("hits", hits, found.as<std::uint8_t>());
    expect_floats("uppers", uppers, stored.as<float>());
    return true;
}

bool run_widen(const Case &c, const Level &level, std::size_t shift) {
    const std::size_t count = number(c, 0);
    const Guarded from(1, count * sizeof(std::uint16_t), shift * sizeof(std::uint16_t),
                       array(c, 0, count * sizeof(std::uint16_t)).data());
    const std::vector<std::uint8_t> &expected = array(c, 1, count * sizeof(float));
    const Guarded to(1, expected.size(), shift * sizeof(float));
    level.widen_half(from.as<std::uint16_t>(), count, to.as<float>());
    expect_floats("floats", expected, to.as<float>());
    return true;
}
