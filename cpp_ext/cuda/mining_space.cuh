// What mining keeps in the caller's workspace, and how rows are counted in it: the anchors, padded to whole
// tiles, then the others, padded likewise. "Row" below means a place in that order; side 0 is the anchors.
#pragma once

#include "mining_cuda.h"

namespace labrador {

constexpr int MINING_TILE = 128; // anchors and others that a block multiplies
constexpr int MINING_STEP = 64;  // code bytes of a row that are in shared memory at a time
constexpr int MINING_KEPT = 128; // rows that may win, kept per row; more, and the row is searched in full

// score >= scale * other's scale * codes' dot + offset + other's offset - bound, and <= the same + bound.
struct Place {
    float scale, offset;
    unsigned person; // equal for equal ids, and only for them
    unsigned unused;
};

// The bound of a pair: the four products of an anchor's and an other's parts, added. bound_of says how.
struct alignas(16) Reach {
    float part[4];
};

struct Candidate {
    unsigned row; // a number within the other side
    float upper;  // its score is no larger
};

struct MiningSpace {
    std::int64_t rows[2], first[2], padded; // of each side; where it begins; of both together
    int depth;                              // d rounded up to whole steps; codes past d are 0
    unsigned table_mask;                    // the table of persons has a power of two of places
    signed char *codes;                     // (padded, depth)
    float *means;                           // (2, d)
    Place *places;                          // (padded)
    Reach *reaches;                         // (padded)
    Candidate *kept;                        // (padded, MINING_KEPT)
    unsigned *next, *full;                  // (padded) links of a person's rows; rows that kept too many, by side
    // From here on zero when a call begins.
    unsigned *table, *heads;           // (places) 1 + a row; (2, places) the first link, 1 + a number
    unsigned *floors, *counts;         // (padded) the score that is reached at least; how many were kept
    unsigned long long *best_negative; // (padded)
    unsigned long long *best_positive; // (padded)
    unsigned *full_count;              // (2,)
    void *zeroed;
    std::size_t zeroed_bytes, bytes;
};

inline MiningSpace mining_space(void *workspace, std::int64_t n, std::int64_t m, std::int64_t d) {
    MiningSpace space{};
    const auto tiles = [](std::int64_t rows) { return (rows + MINING_TILE - 1) / MINING_TILE * MINING_TILE; };
    space.rows[0] = n;
    space.rows[1] = m;
    space.first[1] = tiles(n);
    space.padded = tiles(n) + tiles(m);
    space.depth = static_cast<int>((d + MINING_STEP - 1) / MINING_STEP * MINING_STEP);
    std::size_t places = 64;
    while (places < static_cast<std::size_t>(n + m) * 2) places *= 2;
    space.table_mask = static_cast<unsigned>(places - 1);

    const auto padded = static_cast<std::size_t>(space.padded);
    const auto base = reinterpret_cast<std::uintptr_t>(workspace);
    std::size_t at = 0;
    const auto take = [&](auto *&pointer, std::size_t count) {
        pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(base + at);
        at += (count * sizeof *pointer + 255) / 256 * 256;
    };
    take(space.codes, padded * static_cast<std::size_t>(space.depth));
    take(space.means, 2 * static_cast<std::size_t>(d));
    take(space.places, padded);
    take(space.reaches, padded);
    take(space.kept, padded * MINING_KEPT);
    take(space.next, padded);
    take(space.full, padded);
    const std::size_t zeroed = at;
    take(space.table, places);
    take(space.heads, 2 * places);
    take(space.floors, padded);
    take(space.counts, padded);
    take(space.best_negative, padded);
    take(space.best_positive, padded);
    take(space.full_count, 2);
    space.zeroed = reinterpret_cast<void *>(base + zeroed);
    space.zeroed_bytes = at - zeroed;
    space.bytes = at;
    return space;
}

// The steps, each queued on the stream. mining.cu says in which order, and why.
cudaError_t mining_describe(const CudaMining &, const MiningSpace &, cudaStream_t);
cudaError_t mining_positives(const CudaMining &, const MiningSpace &, cudaStream_t);
cudaError_t mining_screen(const CudaMining &, const MiningSpace &, cudaStream_t);
cudaError_t mining_full(const CudaMining &, const MiningSpace &, cudaStream_t);
cudaError_t mining_decide(const CudaMining &, const MiningSpace &, cudaStream_t);

} // namespace labrador
