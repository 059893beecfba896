// How a call is cut into blocks: a block takes a tile of queries and a slice of the gallery.
#pragma once

#include "topk_dots.cuh"
#include "topk_keys.cuh"

namespace labrador {
namespace {

constexpr int TEAMS = THREADS / LANES;
constexpr int ROUND_HITS = 2048; // 32 KiB of keys for one query
constexpr int WIDE_SLOTS = 256;  // up to here, and up to WIDE_TOP tokens, eight queries share a reading of the gallery
constexpr int WIDE_TOP = 16;
constexpr int WIDE_TILE = 8;
constexpr std::int64_t MOST_SLICES = 256, WANTED_BLOCKS = 1056; // eight blocks on each of an H200's 132 SMs

struct Plan {
    int tile, slots, kept;
    std::int64_t tiles, slices, slice_items;
};

inline Plan plan(std::int64_t n, std::int64_t m, std::int64_t k, int top_tokens) {
    Plan p{};
    p.kept = static_cast<int>(k < ROUND_HITS ? k : ROUND_HITS);
    for (p.slots = 2 * TEAMS * ROWS; p.slots < p.kept;) p.slots *= 2;
    p.tile = p.slots <= WIDE_SLOTS && top_tokens <= WIDE_TOP ? WIDE_TILE : 1;
    p.tiles = (n + p.tile - 1) / p.tile;
    const std::int64_t step = TEAMS * ROWS, steps = (m + step - 1) / step;
    p.slices = (WANTED_BLOCKS + p.tiles - 1) / p.tiles;
    if (p.slices > MOST_SLICES) p.slices = MOST_SLICES;
    if (p.slices > steps) p.slices = steps;
    if (p.slices < 1) p.slices = 1;
    p.slice_items = (steps + p.slices - 1) / p.slices * step;
    return p;
}

} // namespace
} // namespace labrador
