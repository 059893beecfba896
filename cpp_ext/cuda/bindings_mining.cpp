// Batch-hard mining for Python: device addresses to pointers, GIL released, call.
#include "bindings.h"
#include "mining_cuda.h"

#include <tuple>

namespace py = pybind11;

namespace labrador {
namespace {

using Address = std::uintptr_t;
using Number = std::int64_t;
using Side = std::tuple<Address, Number, Number, Address>; // vectors, rows, stride, ids
// Positives, their scores (or the gradients of these), negatives, theirs: the anchors' places, then the others'.
using Places = std::tuple<Address, Address, Address, Address>;

CudaBatch batch_of(const Side &side) {
    const auto &[data, n, stride, ids] = side;
    return {pointer<const void>(data), n, stride, pointer<const void>(ids)};
}

CudaHardest places_from(const Places &places, Number first) {
    const auto &[positive, positive_score, negative, negative_score] = places;
    return {pointer<Number>(positive) + first, pointer<float>(positive_score) + first,
            pointer<Number>(negative) + first, pointer<float>(negative_score) + first};
}

CudaScoreGradients gradients_from(const Places &places, Number first) {
    const CudaHardest of = places_from(places, first);
    return {of.positive, of.positive_score, of.negative, of.negative_score};
}

void run_mining(const Side &anchors, const Side &others, Number d, const std::string &element, bool wide_ids,
                const std::tuple<bool, bool, bool> &rules, const Places &found, Address workspace, int device,
                Address stream) {
    const Number n = std::get<1>(anchors);
    const auto &[paired, semi_hard, exclude_self] = rules;
    const CudaMining problem{batch_of(anchors),
                             batch_of(others),
                             d,
                             element_of(element),
                             wide_ids,
                             paired,
                             semi_hard,
                             exclude_self,
                             places_from(found, 0),
                             places_from(found, n),
                             pointer<void>(workspace)};
    const py::gil_scoped_release released;
    const OnDevice current(device);
    check(cuda_hard_triplets(problem, reinterpret_cast<cudaStream_t>(stream)), "hard_triplets on CUDA");
}

void run_gradient(const Side &anchors, const Side &others, Number d, const std::string &element, const Places &slopes,
                  Address d_anchors, Address d_others, Address workspace, int device, Address stream) {
    const Number n = std::get<1>(anchors);
    const CudaMiningGradient problem{batch_of(anchors),
                                     batch_of(others),
                                     d,
                                     element_of(element),
                                     gradients_from(slopes, 0),
                                     gradients_from(slopes, n),
                                     pointer<float>(d_anchors),
                                     pointer<float>(d_others),
                                     pointer<void>(workspace)};
    const py::gil_scoped_release released;
    const OnDevice current(device);
    check(cuda_hard_triplets_gradient(problem, reinterpret_cast<cudaStream_t>(stream)),
          "hard_triplets_gradient on CUDA");
}

} // namespace

void define_mining(py::module_ &module) {
    module.attr("MINING_ROWS") = CUDA_MINING_ROWS;
    module.attr("MINING_DEPTH") = CUDA_MINING_DEPTH;
    module.def("mining_workspace", cuda_mining_workspace);
    module.def("hard_triplets", run_mining);
    module.def("mining_gradient_workspace", cuda_mining_gradient_workspace);
    module.def("hard_triplets_gradient", run_gradient);
}

} // namespace labrador
