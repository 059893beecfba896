// From a tile of scores to the best of each row and of each column. For baseline units only.
//
// A pair costs the dot tile some 20 cycles and must cost next to nothing here. So a tile is first read for
// its largest values alone, which compiles to vector maxima, and only a row or column whose largest value
// can enter is searched for where it stands.
#pragma once

#include "selection.h"

#include <limits>

namespace labrador {

constexpr float NOTHING = -std::numeric_limits<float>::infinity();
constexpr std::size_t TILE_ROWS = 48;    // 96 KiB at d = 512, within L2
constexpr std::size_t TILE_COLUMNS = 64; // 128 KiB

// The tile's buffer, and what is known of its rows and columns. A score takes part when it is below the limit
// of whoever chooses, which +inf grants to all but +inf itself; -inf and NaN never do.
struct Tile {
    const float *scores; // (n, width)
    std::size_t n, width;
    const std::int64_t *row_number, *column_number;
    const float *row_limit, *column_limit;
};

// Four floats, anywhere in memory: what the baseline of every processor can compare at once.
typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));

inline Four larger(Four a, Four b) { return a > b ? a : b; } // b where a is NaN

inline Four all(float value) { return Four{value, value, value, value}; }

// Largest of a row into its return value, and of each column into columns; NaN loses. LIMITED leaves out what
// isn't below the limits. Written by hand: gcc won't make a vector of a maximum that must not reorder NaN.
template <bool LIMITED>
float row_maximum(const float *scores, std::size_t width, float row_limit, const float *column_limit, float *columns) {
    const auto below = [](Four score, Four limit) { return LIMITED ? score < limit ? score : all(NOTHING) : score; };
    Four lanes[4] = {all(NOTHING), all(NOTHING), all(NOTHING), all(NOTHING)};
    std::size_t j = 0;
    for (; j + 16 <= width; j += 16)
        for (std::size_t l = 0; l < 4; ++l) {
            const Four four = *reinterpret_cast<const Four *>(scores + j + 4 * l);
            const Four limit = *reinterpret_cast<const Four *>(column_limit + j + 4 * l);
            Four &column = *reinterpret_cast<Four *>(columns + j + 4 * l);
            column = larger(below(four, limit), column);
            lanes[l] = larger(below(four, all(row_limit)), lanes[l]);
        }
    const Four lane = larger(larger(lanes[0], lanes[1]), larger(lanes[2], lanes[3]));
    float most = NOTHING;
    for (int l = 0; l < 4; ++l) most = lane[l] > most ? lane[l] : most;
    for (; j < width; ++j) {
        if ((!LIMITED || scores[j] < column_limit[j]) && scores[j] > columns[j]) columns[j] = scores[j];
        if ((!LIMITED || scores[j] < row_limit) && scores[j] > most) most = scores[j];
    }
    return most;
}

// Offers the `count` scores that begin at `scores`, `step` apart, and whose largest is `top`.
inline void offer(float top, const float *scores, std::size_t step, std::size_t count, const std::int64_t *number,
                  float limit, Hit &best) {
    if (!(top < limit)) { // seldom: some are out of bounds, so the largest of the rest isn't known yet
        top = NOTHING;
        for (std::size_t i = 0; i < count; ++i) {
            const float score = scores[i * step] < limit ? scores[i * step] : NOTHING;
            top = score > top ? score : top;
        }
    }
    if (!(top >= best.score) || top == NOTHING) return;
    Hit found{top, std::numeric_limits<std::int64_t>::max()};
    for (std::size_t i = 0; i < count; ++i) // sorted by id, so of equals the lowest number may stand anywhere
        if (scores[i * step] == top) found.label = std::min(found.label, number[i]);
    if (better(found, best)) best = found;
}

template <bool LIMITED> void choose(const Tile &tile, Hit *row_best, Hit *column_best) {
    float columns[TILE_COLUMNS];
    for (float &column : columns) column = NOTHING;
    for (std::size_t i = 0; i < tile.n; ++i) {
        const float *row = tile.scores + i * tile.width;
        const float top = row_maximum<LIMITED>(row, tile.width, tile.row_limit[i], tile.column_limit, columns);
        offer(top, row, 1, tile.width, tile.column_number, tile.row_limit[i], row_best[i]);
    }
    for (std::size_t j = 0; j < tile.width; ++j)
        offer(columns[j], tile.scores + j, tile.width, tile.n, tile.row_number, tile.column_limit[j], column_best[j]);
}

} // namespace labrador
