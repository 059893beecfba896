// Batch-hard mining: device addresses to pointers, GIL released, call.
#include "bindings.h"
#include "mining_cuda.h"

namespace {

using labrador::pointer;
using Address = std::uintptr_t;

// The places of both sides follow each other: first the anchors', then the others'.
labrador::CudaHardest hardest(Address positive, Address positive_score, Address negative, Address negative_score,
                              std::int64_t first) {
    return {pointer<std::int64_t>(positive) + first, pointer<float>(positive_score) + first,
            pointer<std::int64_t>(negative) + first, pointer<float>(negative_score) + first};
}

labrador::CudaScoreGradients gradients(const labrador::CudaHardest &of) {
    return {of.positive, of.positive_score, of.negative, of.negative_score};
}

void hard_triplets(Address anchors, std::int64_t n, std::int64_t stride, Address others, std::int64_t m,
                   std::int64_t other_stride, std::int64_t d, int element, Address anchor_ids, Address other_ids,
                   bool wide_ids, bool paired, bool semi_hard, bool exclude_self, Address positive,
                   Address positive_score, Address negative, Address negative_score, Address workspace, int device,
                   Address stream) {
    const labrador::CudaMining problem{{pointer<void>(anchors), n, stride, pointer<void>(anchor_ids)},
                                       {pointer<void>(others), m, other_stride, pointer<void>(other_ids)},
                                       d,
                                       static_cast<labrador::Element>(element),
                                       wide_ids,
                                       paired,
                                       semi_hard,
                                       exclude_self,
                                       hardest(positive, positive_score, negative, negative_score, 0),
                                       hardest(positive, positive_score, negative, negative_score, n),
                                       pointer<void>(workspace)};
    const pybind11::gil_scoped_release released;
    const labrador::OnDevice current(device);
    labrador::check(labrador::cuda_hard_triplets(problem, reinterpret_cast<cudaStream_t>(stream)),
                    "hard_triplets on CUDA");
}

void hard_triplets_gradient(Address anchors, std::int64_t n, std::int64_t stride, Address others, std::int64_t m,
                            std::int64_t other_stride, std::int64_t d, int element, Address positive,
                            Address positive_score, Address negative, Address negative_score, Address d_anchors,
                            Address d_others, Address workspace, int device, Address stream) {
    const labrador::CudaMiningGradient problem{
        {pointer<void>(anchors), n, stride, nullptr},
        {pointer<void>(others), m, other_stride, nullptr},
        d,
        static_cast<labrador::Element>(element),
        gradients(hardest(positive, positive_score, negative, negative_score, 0)),
        gradients(hardest(positive, positive_score, negative, negative_score, n)),
        pointer<float>(d_anchors),
        pointer<float>(d_others),
        pointer<void>(workspace)};
    const pybind11::gil_scoped_release released;
    const labrador::OnDevice current(device);
    labrador::check(labrador::cuda_hard_triplets_gradient(problem, reinterpret_cast<cudaStream_t>(stream)),
                    "hard_triplets_gradient on CUDA");
}

} // namespace

void labrador::define_mining(pybind11::module_ &module) {
    module.attr("MINING_ROWS") = CUDA_MINING_ROWS;
    module.attr("MINING_DEPTH") = CUDA_MINING_DEPTH;
    module.def("hard_triplets_workspace", cuda_mining_workspace);
    module.def("hard_triplets", hard_triplets);
    module.def("hard_triplets_gradient_workspace", cuda_mining_gradient_workspace);
    module.def("hard_triplets_gradient", hard_triplets_gradient);
}
