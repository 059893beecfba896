// Queries to codes and constants, masks to lists of items.
#include "launch.cuh"
#include "screening.cuh"

namespace labrador {
namespace {

constexpr int WARP = 32, QUERY_WARPS = 4, WORD = 32;

__device__ double sum_of_block(double value, double *of_warps) {
    value = sum_of_warp(value);
    __syncthreads();
    if (threadIdx.x % WARP == 0) of_warps[threadIdx.x / WARP] = value;
    __syncthreads();
    double sum = 0;
    for (int warp = 0; warp < QUERY_WARPS; ++warp) sum += of_warps[warp];
    return sum;
}

// One block per query.
__global__ void __launch_bounds__(QUERY_WARPS *WARP)
    code_queries(CudaTopk p, const float *mean, const CodesHead *head, std::int64_t depth, Screening s) {
    __shared__ double of_warps[QUERY_WARPS];
    const std::int64_t query = blockIdx.x, d = p.gallery.d;
    const float *const from = p.queries + query * p.query_stride;
    double most = 0, square = 0, centre = 0;
    for (std::int64_t e = threadIdx.x; e < d; e += blockDim.x) {
        const double x = from[e];
        most = fabs(x) > most ? fabs(x) : most;
        square += x * x;
        centre += x * mean[e];
    }
    square = sum_of_block(square, of_warps);
    centre = sum_of_block(centre, of_warps);
    most = largest_of_warp(most);
    __syncthreads();
    if (threadIdx.x % WARP == 0) of_warps[threadIdx.x / WARP] = most;
    __syncthreads();
    for (int warp = 0; warp < QUERY_WARPS; ++warp) most = of_warps[warp] > most ? of_warps[warp] : most;

    const double norm = sqrt(square) * (1 + 1e-12);
    const double rounding = 4 * ldexp(static_cast<double>(d) / 16 + 8 + p.top_tokens, -24); // 4 G of codes.cuh
    const double offset = centre + rounding * norm * head->mean_norm + FLT_MIN;
    const bool finite = square <= 1e300; // a float's square is below 1e78, so this is false for NaN and inf
    const bool screened = norm >= SMALLEST && norm <= LARGEST && fabs(offset) <= LARGEST * LARGEST;
    const float scale = screened ? static_cast<float>(most / 127) : 0.0f;
    double lost = 0;
    for (std::int64_t e = threadIdx.x; e < depth; e += blockDim.x) {
        const double x = e < d && screened ? from[e] : 0.0;
        double c = screened ? rint(x / scale) : 0.0;
        c = c > 127 ? 127 : c < -127 ? -127 : c;
        s.query_codes[query * depth + e] = static_cast<std::int8_t>(c);
        const double rest = x - static_cast<double>(scale) * c;
        lost += rest * rest;
    }
    lost = sqrt(sum_of_block(lost, of_warps)) * (1 + 1e-12);
    if (threadIdx.x) return;
    // A query that isn't finite has no hits: no score of it is a number.
    const float infinity = __int_as_float(0x7f800000), floor = finite ? p.above : infinity;
    const float least = float_above(norm * (1 + rounding + 0x1p-18));
    s.bounds[query] = {screened ? __double2float_rd(floor - offset) : infinity,
                       screened ? float_above(lost * (1 + 0x1p-18) + rounding * norm) : 0.0f,
                       screened && least > FLT_MIN ? least : FLT_MIN, scale};
    s.offsets[query] = screened ? offset : 0;
    s.floors[query] = floor;
    s.states[query] = screened || !finite ? SCANNED : EXACT;
    if (s.states[query] == EXACT) s.exact[atomicAdd(s.exact_count, 1)] = static_cast<int>(query);
}

// 32 items' bits, whoever of the queries they are for.
__device__ unsigned eligible_word(const CudaTopk &p, std::int64_t word) {
    const std::int64_t bytes = (p.gallery.m + 7) / 8, left = p.gallery.m - word * WORD;
    const std::int64_t masks = p.mask_stride ? p.n : 1;
    unsigned bits = 0;
    for (std::int64_t i = 0; i < masks; ++i) {
        const std::uint8_t *const from = p.mask + i * p.mask_stride + word * (WORD / 8);
#pragma unroll
        for (int byte = 0; byte < WORD / 8; ++byte)
            if (word * (WORD / 8) + byte < bytes) bits |= static_cast<unsigned>(__ldg(from + byte)) << (8 * byte);
    }
    return left >= WORD ? bits : bits & ((1u << left) - 1);
}

__global__ void __launch_bounds__(THREADS) gather_eligible(CudaTopk p, unsigned *items, unsigned *count) {
    __shared__ unsigned of_warps[THREADS / WARP], first;
    const std::int64_t words = (p.gallery.m + WORD - 1) / WORD;
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    for (std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * THREADS; begin < words;
         begin += static_cast<std::int64_t>(gridDim.x) * THREADS) {
        const std::int64_t word = begin + threadIdx.x;
        unsigned bits = word < words ? eligible_word(p, word) : 0;
        unsigned before = static_cast<unsigned>(__popc(bits)); // counts up to and with this thread, then those before it
#pragma unroll
        for (int gap = 1; gap < WARP; gap *= 2) {
            const unsigned other = __shfl_up_sync(0xffffffffu, before, gap);
            if (lane >= gap) before += other;
        }
        if (lane == WARP - 1) of_warps[warp] = before;
        __syncthreads();
        if (threadIdx.x == 0) {
            unsigned total = 0;
            for (int i = 0; i < THREADS / WARP; ++i) {
                const unsigned mine = of_warps[i];
                of_warps[i] = total;
                total += mine;
            }
            first = atomicAdd(count, total);
        }
        __syncthreads();
        unsigned *to = items + first + of_warps[warp] + before - static_cast<unsigned>(__popc(bits));
        for (; bits; bits &= bits - 1) *to++ = static_cast<unsigned>(word * WORD + __ffs(bits) - 1);
        __syncthreads();
    }
}

} // namespace

cudaError_t prepare_queries(const CudaTopk &p, const CudaCodes &codes, const Screening &s, cudaStream_t stream) {
    return launch(code_queries, p.n, QUERY_WARPS * WARP, 0, stream, p, codes.mean, codes.head, codes.depth, s);
}

cudaError_t list_eligible(const CudaTopk &p, const Screening &s, cudaStream_t stream) {
    const std::int64_t wanted = (p.gallery.m + WORD * THREADS - 1) / (WORD * THREADS), most = 4096;
    return launch(gather_eligible, wanted < most ? wanted : most, THREADS, 0, stream, p, s.eligible, s.eligible_count);
}

} // namespace labrador
