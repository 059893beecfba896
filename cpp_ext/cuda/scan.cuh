// The scan of the codes: queries stay in shared memory, the gallery streams through it once per tile of
// queries, dot products come from tensor cores (mma.sync: one source from sm_80 on), and nothing but
// survivors is written. Gallery rows lie on M and queries on N, so that 8 queries fill the instruction.
#pragma once

#include "launch.cuh"
#include "scan_survivors.cuh"

namespace labrador {
namespace {

// Brings one block's tiles into shared memory, chunk after chunk, ahead of their use.
template <int TN, bool LATE> struct Loader {
    using Row = typename Groups<LATE>::Row;

    const Scan &scan;
    const Groups<LATE> &groups;
    const Room<TN> &room;
    const unsigned step; // of the share's groups every step-th is this block's
    unsigned group;      // with `tile`, the tile to begin next
    unsigned begun = 0; int tile = 0, chunk = 0; // chunks that the present tile lacks; tiles begun
    Row next[2];                    // this thread's two rows of that tile
    const std::uint8_t *from[2];    // and where the present tile's go on
    bool there[2];                  // late: slots without a row stay empty

    __device__ Loader(const Scan &s, const Groups<LATE> &g, const Room<TN> &r, unsigned first, unsigned every)
        : scan(s), groups(g), room(r), step(every), group(first) {
        find_next();
    }

    __device__ static int slot(int h) { return static_cast<int>(threadIdx.x) / 4 + h * (BLOCK_ROWS / 2); }

    // A tile ahead, because with a list of items this is a load to wait for.
    __device__ void find_next() {
#pragma unroll
        for (int h = 0; h < 2; ++h)
            next[h] = group < groups.count ? groups.row(group, tile, slot(h)) : Groups<LATE>::NONE;
    }

    // Queues one chunk, and with a tile's first its rows' bounds; always closes a group of copies. Slots past
    // the last item get row 0: their survivors are dropped.
    __device__ void fetch(int stage) {
        const int piece = threadIdx.x % 4;
        if (chunk == 0 && group < groups.count) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                there[h] = !LATE || next[h] != Groups<LATE>::NONE;
                const Row row = next[h] != Groups<LATE>::NONE ? next[h] : 0;
                from[h] = scan.codes + row_offset(row, scan.chunks) + 16 * piece;
                if (piece == h)
                    copy_async(shared_address(room.rows + begun % STAGES * BLOCK_ROWS + slot(h)), scan.bounds + row,
                               there[h]);
            }
            ++begun;
            if (++tile == groups.tiles()) {
                tile = 0;
                group += step;
            }
            find_next();
            chunk = scan.chunks;
        }
        if (chunk > 0) {
            --chunk;
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                copy_async(shared_address(room.stages + stage * STAGE_BYTES) + piece_offset(slot(h), piece), from[h],
                           there[h]);
                from[h] += STAGE_BYTES;
            }
        }
        commit_copies();
    }
};

// A tile of queries: their codes on the way, their constants in place.
template <int TN>
__device__ inline void load_queries(const Scan &scan, const Room<TN> &room, std::int64_t first, std::int64_t wanted) {
    if (threadIdx.x < TN) {
        const std::int64_t place = first + threadIdx.x;
        const int query = place < wanted ? static_cast<int>(chosen_query(scan.chosen, place)) : -1;
        QueryBound bound{__int_as_float(0x7f800000), 0, 0, 0};
        if (query >= 0) bound = scan.state.bounds[query];
        room.ids[threadIdx.x] = query;
        room.bounds[threadIdx.x] = bound;
        const float inverse = bound.scale > 0 ? __frcp_rn(bound.scale) : 0.0f; // 0: nothing to scan, +inf above
        room.limits[threadIdx.x] = bound.scale > 0 ? make_float4(bound.threshold * inverse, bound.residual * inverse,
                                                                 bound.norm * inverse, 0)
                                                   : make_float4(bound.threshold, 0, 0, 0);
    }
    const std::int64_t depth = static_cast<std::int64_t>(scan.chunks) * CHUNK_BYTES;
    for (int i = threadIdx.x; i < TN * scan.chunks * 4; i += SCAN_THREADS) {
        const int piece = i % 4, chunk = i / 4 % scan.chunks, row = i / 4 / scan.chunks;
        const std::int64_t place = first + row;
        const std::int64_t query = place < wanted ? chosen_query(scan.chosen, place) : 0;
        copy_async(shared_address(room.queries + chunk * TN * CHUNK_BYTES) + piece_offset(row, piece),
                   scan.state.query_codes + query * depth + chunk * CHUNK_BYTES + 16 * piece, place < wanted);
    }
}

// sums += one chunk of the block's rows times one chunk of its queries, this warp's fragments of them.
template <int TN>
__device__ inline void multiply_chunk(unsigned rows, unsigned queries, int first_row, int first_query, int lane,
                                      int (&sums)[Tiling<TN>::M][Tiling<TN>::N][4]) {
    constexpr int M = Tiling<TN>::M, N = Tiling<TN>::N;
#pragma unroll
    for (int half = 0; half < 2; ++half) { // 32 dimensions
        unsigned a[M][4];
#pragma unroll
        for (int m = 0; m < M; ++m)
            load_matrices(rows + piece_offset(first_row + 16 * m + lane % 16, 2 * half + lane / 16), a[m]);
#pragma unroll
        for (int n = 0; n < N; n += 2) { // 16 queries at a time; a lone 8 are loaded twice
            const int query = first_query + 8 * n + (N == 1 ? 0 : lane / 16 * 8) + lane % 8;
            unsigned b[4];
            load_matrices(queries + piece_offset(query, 2 * half + lane / 8 % 2), b);
#pragma unroll
            for (int m = 0; m < M; ++m) {
                multiply_add(sums[m][n], a[m], b[0], b[1]);
                if constexpr (N > 1) multiply_add(sums[m][n + 1], a[m], b[2], b[3]);
            }
        }
    }
}

template <int TN, bool LATE> __global__ void __launch_bounds__(SCAN_THREADS, LATE ? 1 : 2) scan_codes_kernel(const __grid_constant__ Scan scan) {
    constexpr int M = Tiling<TN>::M, N = Tiling<TN>::N;
    const unsigned wanted = chosen_count(scan.chosen, scan.n), tiles = (wanted + TN - 1) / TN;
    if (tiles == 0) return;
    const unsigned worker = blockIdx.x / tiles, workers = gridDim.x / tiles; // neighbours share a tile of rows
    const Groups<LATE> groups(scan);
    if (worker >= workers || worker >= groups.count) return;
    const Room<TN> room(shared_memory(), scan.chunks);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int first_row = warp / Tiling<TN>::ACROSS * 16 * M, first_query = warp % Tiling<TN>::ACROSS * 8 * N;

    load_queries<TN>(scan, room, blockIdx.x % tiles * TN, wanted);
    Loader<TN, LATE> loader(scan, groups, room, worker, workers);
    for (int stage = 0; stage < STAGES - 1; ++stage) loader.fetch(stage); // the queries arrive with the first
    unsigned stage = 0, tile_number = 0;
    for (unsigned group = worker; group < groups.count; group += workers)
        for (int tile = 0; tile < groups.tiles(); ++tile, ++tile_number) {
            int sums[M][N][4] = {};
            for (int chunk = 0; chunk < scan.chunks; ++chunk) {
                wait_for_copies<STAGES - 2>();
                __syncthreads(); // this stage has arrived for everyone, and everyone is done with the one before
                loader.fetch((stage + STAGES - 1) % STAGES);
                multiply_chunk<TN>(shared_address(room.stages + stage * STAGE_BYTES),
                                   shared_address(room.queries + chunk * TN * CHUNK_BYTES), first_row, first_query,
                                   lane, sums);
                stage = (stage + 1) % STAGES;
            }
            const RowBound *const rows = room.rows + tile_number % STAGES * BLOCK_ROWS;
            const int row = first_row + lane / 4, column = first_query + lane % 4 * 2;
            if constexpr (LATE)
                keep_items<TN>(scan, groups, room, rows, groups.begin(group), tile, row, column, sums);
            else
                keep_rows<TN>(scan, groups, room, rows, groups.begin(group), row, column, sums);
        }
}

// Launches one kernel on as many blocks as the device holds at once, at least one per tile of queries.
template <int TN, bool LATE> cudaError_t launch_scan(const Scan &scan, cudaStream_t stream) {
    const std::size_t shared = Room<TN>::bytes(scan.chunks, LATE ? (scan.t + BLOCK_ROWS - 1) / BLOCK_ROWS : 0);
    const long long tiles = (scan.n + TN - 1) / TN;
    return launch_filling(scan_codes_kernel<TN, LATE>, tiles, SCAN_THREADS, shared, stream, scan);
}

} // namespace

// Of 8, 32, 64 or 128 queries; the first for late similarity as well.
cudaError_t scan_rows_8(const Scan &, cudaStream_t);
cudaError_t scan_rows_32(const Scan &, cudaStream_t);
cudaError_t scan_rows_64(const Scan &, cudaStream_t);
cudaError_t scan_rows_128(const Scan &, cudaStream_t);
cudaError_t scan_items_8(const Scan &, cudaStream_t);
cudaError_t scan_items_32(const Scan &, cudaStream_t);
cudaError_t scan_items_64(const Scan &, cudaStream_t);

} // namespace labrador
