// What the screen and the search for positives need to know of each row: its person, its codes, its bounds.
//
// With mu the mean of a row's side and x' = x - mu, codes c and scale s: x' = s c + r. For an anchor a and
// an other b, <a, b> = <a', b'> + <a, mu_b> + <mu_a, b'>, and <a', b'> differs from s_a s_b <c_a, c_b> by at
// most |s_a c_a| |r_b| + |r_a| |b'|. Means keep the bound small where all rows point one way, as embeddings
// do; any vector would be a right one, so a sample of the rows is enough. Norms are taken in double and
// rounded up; the constants below cover what double and float then round (mining_bounds.cuh).
#include "mining_rows.cuh"

#include <cfloat>

namespace labrador {
namespace {

constexpr int SAMPLE = 512, DIMENSIONS = 32; // rows that a mean is taken of; dimensions that a block takes
constexpr float LARGEST = 1.0e12f;           // in a mean: far above any embedding
constexpr double WILDEST = 0x1p124;          // squared norm; above it floats of the screen could overflow

template <class E> __global__ void __launch_bounds__(THREADS) average(CudaMining p, float *means) {
    __shared__ double sums[THREADS];
    const int side = blockIdx.x % 2;
    const CudaBatch &batch = side_of(p, side);
    const std::int64_t e = static_cast<std::int64_t>(blockIdx.x / 2) * DIMENSIONS + threadIdx.x % DIMENSIONS;
    const std::int64_t step = (batch.n + SAMPLE - 1) / SAMPLE, count = step ? (batch.n + step - 1) / step : 0;
    double sum = 0;
    for (std::int64_t i = threadIdx.x / DIMENSIONS; i < count && e < p.d; i += THREADS / DIMENSIONS) {
        const float value = widened(row_of<E>(batch, i * step) + e);
        if (fabsf(value) <= LARGEST) sum += value;
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x >= DIMENSIONS || e >= p.d) return;
    for (int group = 1; group < THREADS / DIMENSIONS; ++group) sum += sums[group * DIMENSIONS + threadIdx.x];
    means[side * p.d + e] = count ? static_cast<float>(sum / static_cast<double>(count)) : 0.0f;
}

__device__ std::int64_t id_of(const CudaMining &p, const MiningSpace &space, std::int64_t row) {
    const bool other = row >= space.first[1];
    const void *ids = other ? p.others.ids : p.anchors.ids;
    const std::int64_t number = row - space.first[other];
    return p.wide_ids ? static_cast<const std::int64_t *>(ids)[number] : static_cast<const int *>(ids)[number];
}

// The place in the table where the id of a row stands, put there by whoever came first, is the person.
// Every row is linked into the list of its person's rows of its side.
__global__ void __launch_bounds__(THREADS) name(CudaMining p, MiningSpace space) {
    const std::int64_t index = grid_thread();
    if (index >= space.rows[0] + space.rows[1]) return;
    const int side = index >= space.rows[0];
    const std::int64_t number = side ? index - space.rows[0] : index, row = space.first[side] + number;
    const std::int64_t id = id_of(p, space, row);
    unsigned long long mixed = static_cast<unsigned long long>(id) * 0x9e3779b97f4a7c15ull;
    unsigned place = static_cast<unsigned>(mixed >> 32) & space.table_mask;
    for (;; place = (place + 1) & space.table_mask) {
        const unsigned first = atomicCAS(space.table + place, 0u, static_cast<unsigned>(row) + 1);
        if (first == 0 || id_of(p, space, first - 1) == id) break;
    }
    space.places[row].person = place;
    unsigned *const head = space.heads + (side ? static_cast<std::size_t>(space.table_mask) + 1 : 0) + place;
    space.next[row] = atomicExch(head, static_cast<unsigned>(number) + 1);
}

__device__ double sum_warp(double value) {
#pragma unroll
    for (int half = 16; half > 0; half /= 2) value += __shfl_xor_sync(0xffffffffu, value, half);
    return value;
}

__device__ double max_warp(double value) {
#pragma unroll
    for (int half = 16; half > 0; half /= 2) value = fmax(value, __shfl_xor_sync(0xffffffffu, value, half));
    return value;
}

// One warp per row, padding too.
template <class E> __global__ void __launch_bounds__(THREADS) encode(CudaMining p, MiningSpace space) {
    const std::int64_t row = grid_thread() / 32;
    const int lane = threadIdx.x % 32, side = row >= space.first[1];
    const std::int64_t number = row - space.first[side];
    const bool padding = number >= space.rows[side];
    const E *const x = row_of<E>(side_of(p, side), padding ? 0 : number);
    const float *const mean = space.means + side * p.d, *const other_mean = space.means + (1 - side) * p.d;

    double peak = 0, squares = 0, offset = 0, other_squares = 0, broken = padding;
    for (std::int64_t e = lane; e < p.d && !padding; e += 32) {
        const double value = widened(x + e), centred = value - mean[e], other = other_mean[e];
        if (!(fabs(value) <= FLT_MAX)) broken = 1;
        peak = fmax(peak, fabs(centred));
        squares += value * value;
        other_squares += other * other;
        offset += (side ? centred : value) * other;
    }
    broken = max_warp(broken);
    peak = max_warp(peak);
    squares = sum_warp(squares);
    offset = sum_warp(offset);
    other_squares = sum_warp(other_squares);

    const bool wild = !(squares <= WILDEST), coded = broken == 0 && !wild;
    const float scale = coded ? __double2float_ru(peak / 127) : 0.0f;
    const double inverse = scale > 0 ? 1 / static_cast<double>(scale) : 0;
    double coded_squares = 0, left_squares = 0;
    for (int e = 4 * lane; e < space.depth; e += 128) {
        char4 codes = make_char4(0, 0, 0, 0);
        signed char *const four = reinterpret_cast<signed char *>(&codes);
#pragma unroll
        for (int k = 0; k < 4; ++k)
            if (coded && e + k < p.d) {
                const double centred = static_cast<double>(widened(x + e + k)) - mean[e + k];
                const double code = fmin(fmax(rint(centred * inverse), -127.0), 127.0);
                const double stands_for = code * scale, left = centred - stands_for;
                four[k] = static_cast<signed char>(code);
                coded_squares += stands_for * stands_for;
                left_squares += left * left;
            }
        *reinterpret_cast<char4 *>(space.codes + row * space.depth + e) = codes;
    }
    coded_squares = sum_warp(coded_squares);
    left_squares = sum_warp(left_squares);
    if (lane) return;

    constexpr double up = 1 + 0x1p-20; // covers the rounding of 65,536 terms added in double, and of the root
    const double norm = sqrt(coded_squares) * up, left = sqrt(left_squares) * up + 0x1p-40 * norm + FLT_MIN;
    const double full = sqrt(squares) * up, summing = (static_cast<double>(p.d) / 16 + 8) * 0x1p-24;
    const double rest = 0x1p-22 * fabs(offset) + 0x1p-36 * (full + norm + left) * sqrt(other_squares) + 0x1p-120;
    Place &place = space.places[row];
    place.scale = scale;
    place.offset = broken != 0 ? -__int_as_float(0x7f800000) : wild ? 0.0f : static_cast<float>(offset);
    Reach reach{};
    if (wild && broken == 0)
        for (float &part : reach.part) part = __int_as_float(0x7f800000);
    else if (broken == 0 && side == 0)
        reach = {{__double2float_ru(norm), __double2float_ru(left), __double2float_ru(summing * full),
                  __double2float_ru(rest)}};
    else if (broken == 0)
        reach = {{__double2float_ru(left + 0x1p-22 * norm), __double2float_ru(norm + left), __double2float_ru(full),
                  __double2float_ru(rest)}};
    space.reaches[row] = reach;
}

} // namespace

cudaError_t mining_describe(const CudaMining &p, const MiningSpace &space, cudaStream_t stream) {
    return with_row_element(p.element, [&](auto *type) {
        using E = std::remove_pointer_t<decltype(type)>;
        const std::int64_t parts = (p.d + DIMENSIONS - 1) / DIMENSIONS;
        cudaError_t error = launch(average<E>, 2 * parts, THREADS, 0, stream, p, space.means);
        if (error == cudaSuccess) error = launch(encode<E>, blocks_of(space.padded * 32), THREADS, 0, stream, p, space);
        if (error == cudaSuccess)
            error = launch(name, blocks_of(p.anchors.n + p.others.n), THREADS, 0, stream, p, space);
        return error;
    });
}

} // namespace labrador
