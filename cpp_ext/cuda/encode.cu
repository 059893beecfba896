// Codes of a gallery's rows, made on the device from the originals: a warp per row, sums in double.
#include "codes.cuh"
#include "elements.cuh"
#include "launch.cuh"

namespace labrador {
namespace {

constexpr int WARP = 32, WARPS = 8, THREADS = WARP * WARPS;
constexpr std::int64_t SAMPLE_ROWS = 16384; // a mean of so many is as good to centre by as that of all
constexpr std::int64_t MOST_SLICES = 64;    // of the sample, each summed by its own block
constexpr std::int64_t MOST_BLOCKS = 1 << 16;

template <class E> __device__ const E *row_at(const CudaGallery &g, std::int64_t row) {
    return static_cast<const E *>(g.data) + row / g.t * g.item_stride + row % g.t * g.token_stride;
}

// Each block sums a slice of every step-th row; numbers that a mean can't use count as 0. Any mean will
// do: it only decides how tight the bound is.
template <class E>
__global__ void __launch_bounds__(THREADS) sum_rows(CudaGallery g, std::int64_t step, double *sums) {
    const std::int64_t rows = (g.m * g.t + step - 1) / step;
    const std::int64_t begin = rows * blockIdx.x / gridDim.x, end = rows * (blockIdx.x + 1) / gridDim.x;
    for (std::int64_t e = threadIdx.x; e < g.d; e += THREADS) {
        double sum = 0;
        for (std::int64_t i = begin; i < end; ++i) {
            const float x = widened(row_at<E>(g, i * step) + e);
            if (fabsf(x) < 0x1p60f) sum += x;
        }
        sums[blockIdx.x * g.d + e] = sum;
    }
}

// One block: the mean from the slices' sums or as given, or zeros for neither, and its norm.
__global__ void __launch_bounds__(THREADS)
    settle_mean(const double *sums, std::int64_t slices, double rows, const float *given, std::int64_t d,
                std::int64_t depth, float *mean, CodesHead *head) {
    __shared__ double squares[WARPS];
    double square = 0;
    for (std::int64_t e = threadIdx.x; e < depth; e += THREADS) {
        float value = 0;
        if (given && e < d) {
            value = given[e];
        } else if (sums && e < d) {
            double sum = 0;
            for (std::int64_t slice = 0; slice < slices; ++slice) sum += sums[slice * d + e];
            value = static_cast<float>(sum / rows);
        }
        mean[e] = value;
        square += static_cast<double>(value) * value;
    }
    square = sum_of_warp(square);
    if (threadIdx.x % WARP == 0) squares[threadIdx.x / WARP] = square;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int warp = 1; warp < WARPS; ++warp) square += squares[warp];
        *head = {sqrt(square) * (1 + 1e-12), 0};
    }
}

// Four neighbouring dimensions of a row less the mean; nothing past d.
template <class E> __device__ void centre(const E *row, const float *mean, std::int64_t first, std::int64_t d,
                                          double (&x)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
        x[i] = row && first + i < d ? static_cast<double>(widened(row + first + i)) - mean[first + i] : 0.0;
}

// unscaled: the rows are whole numbers and nothing is subtracted, so they are their own codes.
template <class E>
__global__ void __launch_bounds__(THREADS) encode_rows(CudaGallery g, CudaCodes codes, bool unscaled) {
    const int lane = threadIdx.x % WARP, chunks = static_cast<int>(codes.depth / CHUNK_BYTES);
    for (std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * WARPS + threadIdx.x / WARP;
         row < codes.blocks * BLOCK_ROWS; row += static_cast<std::int64_t>(gridDim.x) * WARPS) {
        const E *const from = row < g.m * g.t ? row_at<E>(g, row) : nullptr;
        double most = 0, square = 0;
        for (std::int64_t e = 4 * lane; e < codes.depth; e += 4 * WARP) {
            double x[4];
            centre(from, codes.mean, e, g.d, x);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                most = fabs(x[i]) > most ? fabs(x[i]) : most;
                square += x[i] * x[i];
            }
        }
        most = largest_of_warp(most);
        square = sum_of_warp(square);
        const bool sound = square < LARGEST * LARGEST; // false for NaN
        const bool coded = sound && most >= SMALLEST;
        const float scale = !coded ? 0.0f : unscaled ? 1.0f : static_cast<float>(most / 127);
        double lost = 0, kept = 0;
        for (std::int64_t e = 4 * lane; e < codes.depth; e += 4 * WARP) {
            double x[4];
            centre(from, codes.mean, e, g.d, x);
            unsigned four = 0;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                double c = coded ? rint(x[i] / scale) : 0.0;
                c = c > 127 ? 127 : c < -127 ? -127 : c;
                four |= (static_cast<unsigned>(static_cast<int>(c)) & 255u) << (8 * i);
                const double rest = x[i] - static_cast<double>(scale) * c;
                lost += rest * rest;
                kept += c * c;
            }
            *reinterpret_cast<unsigned *>(codes.codes + row_offset(row, chunks) +
                                          e / CHUNK_BYTES * (BLOCK_ROWS * CHUNK_BYTES) + e % CHUNK_BYTES) = four;
        }
        lost = sum_of_warp(lost);
        kept = sum_of_warp(kept);
        if (lane == 0) { // 2^-50 of the norm: what rounding x less the mean to double may have lost
            const double residual = (sqrt(lost) + sqrt(square) * 0x1p-50) * (1 + 1e-12);
            codes.bounds[row] = {scale, float_above(scale * sqrt(kept) * (1 + 1e-12)),
                                 sound ? float_above(residual) : __int_as_float(0x7f800000), 0};
        }
    }
}

template <class E> cudaError_t pack(const CudaGallery &g, const float *mean, const CudaCodes &codes, cudaStream_t stream) {
    const bool whole = sizeof(E) == 1 && !mean;
    const std::int64_t rows = g.m * g.t, step = rows > SAMPLE_ROWS ? rows / SAMPLE_ROWS : 1;
    const std::int64_t sampled = (rows + step - 1) / step;
    // The sums lie where the codes will be: 16 slices of d doubles are no more than a block of rows.
    double *const sums = mean || whole || rows == 0 ? nullptr : reinterpret_cast<double *>(codes.codes);
    const std::int64_t room = codes.blocks * 16, slices = room < MOST_SLICES ? room : MOST_SLICES;
    cudaError_t error = cudaSuccess;
    if (sums) error = launch(sum_rows<E>, slices, THREADS, 0, stream, g, step, sums);
    if (error == cudaSuccess)
        error = launch(settle_mean, 1, THREADS, 0, stream, sums, slices, static_cast<double>(sampled), mean, g.d,
                       codes.depth, codes.mean, codes.head);
    const std::int64_t wanted = codes.blocks * BLOCK_ROWS / WARPS, blocks = wanted < MOST_BLOCKS ? wanted : MOST_BLOCKS;
    if (error == cudaSuccess && rows > 0) error = launch(encode_rows<E>, blocks, THREADS, 0, stream, g, codes, whole);
    return error;
}

} // namespace

std::size_t cuda_codes_bytes(std::int64_t m, std::int64_t t, std::int64_t d) {
    return static_cast<std::size_t>(CudaCodes(nullptr, m, t, d).bytes);
}

cudaError_t cuda_pack(const CudaGallery &gallery, const float *mean, void *codes, cudaStream_t stream) {
    return with_element(gallery.element, [&](auto *element) {
        return pack<std::remove_pointer_t<decltype(element)>>(
            gallery, mean, CudaCodes(codes, gallery.m, gallery.t, gallery.d), stream);
    });
}

} // namespace labrador
