// How the exact scan is cut into blocks: a block takes a tile of queries and a slice of the gallery. How
// many queries there are is known on the device only; the host launches blocks enough for all of them.
#pragma once

#include "exact.cuh"

namespace labrador {
namespace {

constexpr int ROUND_HITS = 2048; // 32 KiB of keys for one query
constexpr int WIDE_SLOTS = 256;  // up to here, and up to WIDE_TOKENS, eight queries share a reading of the gallery
constexpr int WIDE_TOKENS = 32;
constexpr int WIDE_TILE = 8;
constexpr std::int64_t MOST_SLICES = 256, WANTED_BLOCKS = 1056; // eight blocks on each of an H200's 132 SMs

struct ExactPlan {
    int tile, slots, kept, room;
    std::int64_t blocks, steps; // steps of the whole gallery; a slice is a share of them

    std::int64_t tiles(std::int64_t n) const { return (n + tile - 1) / tile; }
};

constexpr int STEP_ROWS = TEAMS * ROWS; // a step of a block; an item of more than one token counts as ROWS of them

inline ExactPlan exact_plan(std::int64_t n, std::int64_t m, std::int64_t t, std::int64_t k) {
    ExactPlan p{};
    p.kept = static_cast<int>(k < ROUND_HITS ? k : ROUND_HITS);
    for (p.slots = 2 * STEP_ROWS; p.slots < p.kept;) p.slots *= 2;
    p.room = late_room(t);
    p.tile = p.slots <= WIDE_SLOTS && t <= WIDE_TOKENS ? WIDE_TILE : 1;
    p.steps = (m + STEP_ROWS - 1) / STEP_ROWS;
    const std::int64_t tiles = p.tiles(n);
    p.blocks = tiles > WANTED_BLOCKS ? tiles : WANTED_BLOCKS;
    return p;
}

// As many slices as the blocks allow for `tiles` tiles of queries.
__host__ __device__ inline std::int64_t slices_for(const ExactPlan &p, std::int64_t tiles) {
    std::int64_t slices = tiles ? p.blocks / tiles : 1;
    if (slices > MOST_SLICES) slices = MOST_SLICES;
    if (slices > p.steps) slices = p.steps;
    return slices < 1 ? 1 : slices;
}

} // namespace
} // namespace labrador
