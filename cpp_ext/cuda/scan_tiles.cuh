// Which rows of the gallery a tile of 128 holds, and where a query tile lies in shared memory.
#pragma once

#include "ptx.cuh"
#include "screening.cuh"

#include <type_traits>

namespace labrador {

constexpr int SCAN_THREADS = 256, STAGES = 4, STAGE_BYTES = BLOCK_ROWS * CHUNK_BYTES;

// What a scan is told.
struct Scan {
    const std::uint8_t *codes;
    const RowBound *bounds;
    int chunks, t, top_tokens;
    std::int64_t n, m;
    const std::uint8_t *mask; // of each query its own; null: the list of eligible items says it all
    std::int64_t mask_stride;
    Chosen chosen;
    Share share;
    Screening state;
};

namespace {

// Tiles come in groups: of one where an item has at most 128 tokens, and then a group holds as many whole
// items as fit; of ceil(t / 128) for one item otherwise. Places and items are below 2^32 (CUDA_MAX_ITEMS).
template <bool LATE> struct Groups {
    using Row = std::conditional_t<LATE, std::int64_t, unsigned>;
    static constexpr Row NONE = static_cast<Row>(-1);

    const unsigned *eligible;
    unsigned items, stride; // of the places 0 .. items, each is every stride-th eligible item
    unsigned count, period; // groups of this share
    bool rest;
    int late_t, late_items, late_tiles;

    __device__ explicit Groups(const Scan &scan)
        : eligible(scan.state.eligible), stride(1), period(scan.share.period), rest(scan.share.rest) {
        items = eligible ? *scan.state.eligible_count : static_cast<unsigned>(scan.m);
        if (scan.share.sample && items > scan.share.sample) {
            stride = items / scan.share.sample;
            items = scan.share.sample;
        }
        late_t = scan.t;
        late_items = scan.t > BLOCK_ROWS ? 1 : BLOCK_ROWS / scan.t;
        late_tiles = (scan.t + BLOCK_ROWS - 1) / BLOCK_ROWS;
        const unsigned all = items / group_items() + (items % group_items() != 0);
        const unsigned first = all / period + (all % period != 0);
        count = rest ? all - first : first;
    }

    __device__ int group_items() const { return LATE ? late_items : BLOCK_ROWS; }
    __device__ int tiles() const { return LATE ? late_tiles : 1; }

    // The place of the first item of this share's i-th group.
    __device__ unsigned begin(unsigned i) const {
        return (rest ? i + i / (period - 1) + 1 : i * period) * static_cast<unsigned>(group_items());
    }

    __device__ unsigned item(unsigned place) const { return eligible ? eligible[place * stride] : place * stride; }

    // The gallery's row in a slot of a tile.
    __device__ Row row(unsigned i, int tile, int slot) const {
        unsigned place = begin(i);
        if constexpr (LATE) {
            int token = slot;
            if (late_tiles > 1) {
                token += tile * BLOCK_ROWS;
                if (token >= late_t) return NONE;
            } else {
                const int which = slot / late_t;
                if (which >= late_items) return NONE;
                token -= which * late_t;
                place += which;
            }
            return place < items ? static_cast<Row>(item(place)) * late_t + token : NONE;
        } else {
            place += slot;
            return place < items ? item(place) : NONE;
        }
    }
};

// Rows of 64 bytes, four pieces of 16: the pieces of a row change places with its number, so that a
// matrix of 8 rows by 16 bytes touches every bank of shared memory once.
__device__ inline unsigned piece_offset(int row, int piece) {
    return static_cast<unsigned>(row * CHUNK_BYTES + ((piece ^ (row >> 1 & 3)) << 4));
}

// How 8 warps share the 128 x TN products of a tile, in fragments of 16 rows by 8 queries.
template <int TN> struct Tiling {
    static constexpr int ACROSS = TN >= 32 ? 2 : 1, DOWN = 8 / ACROSS;
    static constexpr int M = BLOCK_ROWS / 16 / DOWN, N = TN / 8 / ACROSS; // fragments of a warp
    // Floats from one row of upper bounds to the next: stores of a fragment then meet every bank once.
    static constexpr int STRIDE = TN == 8 ? TN : TN + 8;
};

// The block's shared memory.
template <int TN> struct Room {
    unsigned char *stages, *queries;
    RowBound *rows;       // of STAGES tiles
    QueryBound *bounds;   // of TN queries
    float4 *limits;       // QueryBound's threshold, R and N over its scale
    int *ids;             // -1: none
    float *uppers;        // late similarity: of a group's rows

    __device__ Room(unsigned char *shared, int chunks) : stages(shared), queries(shared + STAGES * STAGE_BYTES) {
        rows = reinterpret_cast<RowBound *>(queries + chunks * TN * CHUNK_BYTES);
        bounds = reinterpret_cast<QueryBound *>(rows + STAGES * BLOCK_ROWS);
        limits = reinterpret_cast<float4 *>(bounds + TN);
        ids = reinterpret_cast<int *>(limits + TN);
        uppers = reinterpret_cast<float *>(ids + TN);
    }

    static std::size_t bytes(int chunks, int late_tiles) {
        return STAGES * STAGE_BYTES + static_cast<std::size_t>(chunks) * TN * CHUNK_BYTES +
               STAGES * BLOCK_ROWS * sizeof(RowBound) + TN * (sizeof(QueryBound) + sizeof(float4) + sizeof(int)) +
               static_cast<std::size_t>(late_tiles) * BLOCK_ROWS * Tiling<TN>::STRIDE * sizeof(float);
    }
};

} // namespace
} // namespace labrador
