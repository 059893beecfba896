// The top-k and its codes for Python: device addresses to pointers, GIL released, call.
#include "bindings.h"
#include "topk_cuda.h"

#include <string>
#include <tuple>

namespace py = pybind11;

namespace labrador {
namespace {

using Address = std::uintptr_t;
using Number = std::int64_t;
// address, element, m, t, d, item stride, token stride
using GalleryArgument = std::tuple<Address, std::string, Number, Number, Number, Number, Number>;

CudaGallery gallery_of(const GalleryArgument &argument) {
    const auto &[address, element, m, t, d, item_stride, token_stride] = argument;
    return {pointer<const void>(address), element_of(element), m, t, d, item_stride, token_stride};
}

void run_pack(const GalleryArgument &gallery, Address mean, Address codes, int device, Address stream) {
    const CudaGallery rows = gallery_of(gallery);
    const py::gil_scoped_release released;
    const OnDevice current(device);
    check(cuda_pack(rows, pointer<const float>(mean), pointer<void>(codes), reinterpret_cast<cudaStream_t>(stream)),
          "pack on CUDA");
}

void run_topk(const std::tuple<Address, Number, Number> &queries, const GalleryArgument &gallery, Address codes,
              int top_tokens, const std::tuple<Address, Number> &mask, const std::tuple<Address, Address> &excluded,
              float above, Number k, Address indices, Address scores, Address workspace, int device, Address stream) {
    CudaTopk problem{};
    problem.queries = pointer<const float>(std::get<0>(queries));
    problem.n = std::get<1>(queries);
    problem.query_stride = std::get<2>(queries);
    problem.gallery = gallery_of(gallery);
    problem.codes = pointer<const void>(codes);
    problem.top_tokens = top_tokens;
    problem.mask = pointer<const std::uint8_t>(std::get<0>(mask));
    problem.mask_stride = std::get<1>(mask);
    problem.excluded = pointer<const std::int64_t>(std::get<0>(excluded));
    problem.excluded_begin = pointer<const std::int64_t>(std::get<1>(excluded));
    problem.above = above;
    problem.k = k;
    problem.indices = pointer<std::int64_t>(indices);
    problem.scores = pointer<float>(scores);
    problem.workspace = pointer<void>(workspace);
    const py::gil_scoped_release released;
    const OnDevice current(device);
    check(cuda_topk(problem, reinterpret_cast<cudaStream_t>(stream)), "topk on CUDA");
}

} // namespace

void define_topk(py::module_ &module) {
    module.attr("MAX_ITEMS") = CUDA_MAX_ITEMS;
    module.attr("MAX_TOKENS") = CUDA_MAX_TOKENS;
    module.attr("MAX_CODED") = CUDA_MAX_CODED;
    module.def("codes_bytes", cuda_codes_bytes);
    module.def("topk_workspace", cuda_topk_workspace);
    module.def("pack", run_pack);
    module.def("topk", run_topk);
}

} // namespace labrador
