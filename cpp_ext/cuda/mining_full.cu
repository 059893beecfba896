// The exact search for rows of which the screen kept too many: against everyone, in float32.
//
// It matters where bounds can't tell rows apart: batches of copies, or semi-hard negatives of positives that
// lie amidst the others. A block scores 32 rows with 64 others at a time. The 16 threads of a half-warp are
// the lanes of the project's sum and score 8 by 16 pairs, so that 24 reads of shared memory serve 128
// multiply-adds; their sums are added over the lanes while they are dealt out to them.
#include "mining_rows.cuh"

#include <cfloat>

namespace labrador {
namespace {

constexpr int DOWN = 32, ACROSS = 64;  // rows and others of a block
constexpr int MINE = 8, THEIRS = 16;   // of a half-warp
constexpr int CHUNK = 32, STRIDE = 48; // elements in shared memory at a time; two rows' lanes share no bank
constexpr int SLICE = 256;             // others that a block takes before it tells its best
constexpr int MOST_BLOCKS = 528;       // four on each of an H200's 132 SMs
constexpr int READS = (DOWN + ACROSS) * CHUNK / THREADS;

using Sums = float[MINE * THEIRS];

// What is known of the block's rows; a row past the last is the first again, and is never told.
template <class E> struct Known {
    const E *rows[DOWN + ACROSS];
    std::int64_t place[DOWN]; // -1: past the last
    unsigned person[DOWN];
    float limit[DOWN]; // negatives score below it
};

// Adds up each pair's sixteen lanes in the halving order. Of two pairs, the lower lanes go on with the first and
// the upper lanes with the second; in the end lane l has pair 16 a + l, its bits reversed, for every a.
__device__ inline void deal_out(Sums &sums, int lane, unsigned team, float (&mine)[MINE]) {
#pragma unroll
    for (int half = LANES / 2, count = MINE * THEIRS / 2; half > 0; half /= 2, count /= 2)
#pragma unroll
        for (int pair = 0; pair < MINE * THEIRS / 2; ++pair)
            if (pair < count) {
                const bool upper = lane & half;
                const float keep = upper ? sums[2 * pair + 1] : sums[2 * pair];
                const float give = upper ? sums[2 * pair] : sums[2 * pair + 1];
                sums[pair] = __fadd_rn(keep, __shfl_xor_sync(team, give, half));
            }
#pragma unroll
    for (int a = 0; a < MINE; ++a) mine[a] = __fadd_rn(sums[a], 0.0f);
}

template <class E>
__device__ inline void read_chunk(const Known<E> &known, std::int64_t first, std::int64_t d, float (&values)[READS]) {
    const std::int64_t e = first + threadIdx.x % CHUNK;
#pragma unroll
    for (int i = 0; i < READS; ++i)
        values[i] = e < d ? widened(known.rows[threadIdx.x / CHUNK + i * (THREADS / CHUNK)] + e) : 0.0f;
}

__device__ inline void write_chunk(float *chunk, const float (&values)[READS]) {
#pragma unroll
    for (int i = 0; i < READS; ++i)
        chunk[(threadIdx.x / CHUNK + i * (THREADS / CHUNK)) * STRIDE + threadIdx.x % CHUNK] = values[i];
}

// This half-warp's rows are MINE * (team / 4) .. and its others team % 4, 4 further each.
__device__ inline void multiply_chunk(const float *chunk, int team, int lane, Sums &sums) {
#pragma unroll
    for (int step = 0; step < CHUNK; step += LANES) {
        float theirs[THEIRS];
#pragma unroll
        for (int b = 0; b < THEIRS; ++b) theirs[b] = chunk[(DOWN + b * 4 + team % 4) * STRIDE + step + lane];
#pragma unroll
        for (int a = 0; a < MINE; ++a) {
            const float value = chunk[(team / 4 * MINE + a) * STRIDE + step + lane];
#pragma unroll
            for (int b = 0; b < THEIRS; ++b) sums[a * THEIRS + b] = __fmaf_rn(value, theirs[b], sums[a * THEIRS + b]);
        }
    }
}

template <class E>
__device__ inline void search_slice(const CudaMining &p, const MiningSpace &space, int side, std::int64_t group,
                                    std::int64_t begin, float *chunks, Known<E> &known) {
    const CudaBatch &across = side_of(p, 1 - side);
    const std::int64_t count = space.full_count[side];
    const int team = threadIdx.x / LANES, lane = threadIdx.x % LANES;
    const int column = (lane & 1) << 3 | (lane & 2) << 1 | (lane & 4) >> 1 | (lane & 8) >> 3;
    if (threadIdx.x < DOWN) {
        const std::int64_t at = group + threadIdx.x;
        const std::int64_t number = space.full[space.first[side] + (at < count ? at : group)];
        const std::int64_t place = space.first[side] + number;
        const Key positive = p.semi_hard ? space.best_positive[place] : 0;
        known.rows[threadIdx.x] = row_of<E>(side_of(p, side), number);
        known.place[threadIdx.x] = at < count ? place : -1;
        known.person[threadIdx.x] = space.places[place].person;
        known.limit[threadIdx.x] = positive ? -key_score(positive) : __int_as_float(0x7f800000);
    }
    Key best[MINE] = {};
    for (std::int64_t first = begin; first < begin + SLICE && first < across.n; first += ACROSS) {
        if (threadIdx.x < ACROSS)
            known.rows[DOWN + threadIdx.x] =
                row_of<E>(across, first + threadIdx.x < across.n ? first + threadIdx.x : first);
        __syncthreads();
        Sums sums = {};
        float values[READS], *now = chunks, *next = chunks + (DOWN + ACROSS) * STRIDE;
        read_chunk(known, 0, p.d, values);
        write_chunk(now, values);
        __syncthreads();
        for (std::int64_t e = CHUNK; e < p.d; e += CHUNK) {
            read_chunk(known, e, p.d, values);
            multiply_chunk(now, team, lane, sums);
            write_chunk(next, values);
            __syncthreads();
            float *const done = now;
            now = next;
            next = done;
        }
        multiply_chunk(now, team, lane, sums);
        __syncthreads();

        float scores[MINE];
        deal_out(sums, lane, half_warp(), scores);
        const std::int64_t number = first + column * 4 + team % 4;
        if (number >= across.n) continue;
        const unsigned person = space.places[space.first[1 - side] + number].person;
#pragma unroll
        for (int a = 0; a < MINE; ++a) {
            const int row = team / 4 * MINE + a;
            if (fabsf(scores[a]) <= FLT_MAX && scores[a] < known.limit[row] && known.person[row] != person)
                best[a] = max(best[a], make_key(scores[a], number));
        }
    }
#pragma unroll
    for (int a = 0; a < MINE; ++a) {
        const std::int64_t place = known.place[team / 4 * MINE + a];
        if (best[a] && place >= 0) atomicMax(space.best_negative + place, best[a]);
    }
    __syncthreads();
}

template <class E> __global__ void __launch_bounds__(THREADS) search(CudaMining p, MiningSpace space) {
    __shared__ float chunks[2 * (DOWN + ACROSS) * STRIDE];
    __shared__ Known<E> known;
    for (int side = 0; side < 2; ++side) {
        const std::int64_t slices = (side_of(p, 1 - side).n + SLICE - 1) / SLICE;
        const std::int64_t groups = (space.full_count[side] + DOWN - 1) / DOWN;
        for (std::int64_t part = blockIdx.x; part < groups * slices; part += gridDim.x)
            search_slice<E>(p, space, side, part / slices * DOWN, part % slices * SLICE, chunks, known);
    }
}

} // namespace

cudaError_t mining_full(const CudaMining &p, const MiningSpace &space, cudaStream_t stream) {
    return with_row_element(p.element, [&](auto *type) {
        using E = std::remove_pointer_t<decltype(type)>;
        return launch(search<E>, MOST_BLOCKS, THREADS, 0, stream, p, space);
    });
}

} // namespace labrador
