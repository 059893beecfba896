// Fused batch-hard mining on the GPU, exact: the indices and bits of the CPU's levels, and no (n, m) scores.
//
// v1 (this one): all pairs in int8 on the tensor cores (mma.sync), one and a half times; some dozen pairs per
//    row survive their bounds and are scored in float32 in the project's order. Eight launches and a memset.
#include "mining_space.cuh"

namespace labrador {

std::size_t cuda_mining_workspace(std::int64_t n, std::int64_t m, std::int64_t d) {
    return mining_space(nullptr, n, m, d).bytes;
}

cudaError_t cuda_hard_triplets(const CudaMining &p, cudaStream_t stream) {
    if (p.anchors.n + p.others.n == 0) return cudaSuccess;
    const MiningSpace space = mining_space(p.workspace, p.anchors.n, p.others.n, p.d);
    cudaError_t error = cudaMemsetAsync(space.zeroed, 0, space.zeroed_bytes, stream);
    if (error == cudaSuccess) error = mining_describe(p, space, stream);
    if (error == cudaSuccess) error = mining_positives(p, space, stream); // semi-hard negatives need their scores
    if (error == cudaSuccess) error = mining_screen(p, space, stream);
    if (error == cudaSuccess) error = mining_decide(p, space, stream);
    return error;
}

} // namespace labrador
