// Device addresses to pointers, GIL released, call. Checks are cpp_ext.cuda's (Python).
#include "topk_cuda.h"

#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

namespace py = pybind11;

namespace {

void check(cudaError_t error, const char *what) {
    if (error != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

// The device that holds the arrays, current for one call.
class OnDeviceOf {
  public:
    explicit OnDeviceOf(const void *pointer) {
        cudaPointerAttributes attributes{};
        check(cudaPointerGetAttributes(&attributes, pointer), "cudaPointerGetAttributes");
        if (attributes.type != cudaMemoryTypeDevice && attributes.type != cudaMemoryTypeManaged)
            throw std::invalid_argument("queries aren't in device memory");
        check(cudaGetDevice(&before_), "cudaGetDevice");
        check(cudaSetDevice(attributes.device), "cudaSetDevice");
    }
    ~OnDeviceOf() { cudaSetDevice(before_); }
    OnDeviceOf(const OnDeviceOf &) = delete;
    OnDeviceOf &operator=(const OnDeviceOf &) = delete;

  private:
    int before_ = 0;
};

// 0 where there is no driver or no GPU.
int device_count() {
    int count = 0;
    return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

template <class T> T *address(std::uintptr_t value) { return reinterpret_cast<T *>(value); }

void topk(std::uintptr_t queries, std::int64_t n, std::int64_t d, std::int64_t query_stride, std::uintptr_t gallery,
          std::int64_t m, std::int64_t t, std::int64_t item_stride, std::int64_t token_stride, int top_tokens,
          std::uintptr_t mask, std::int64_t mask_stride, std::uintptr_t excluded, std::uintptr_t excluded_begin,
          float above, std::int64_t k, std::uintptr_t indices, std::uintptr_t scores, std::uintptr_t workspace,
          std::uintptr_t stream) {
    const labrador::CudaTopk problem{address<const float>(queries),
                                     n,
                                     d,
                                     query_stride,
                                     address<const float>(gallery),
                                     m,
                                     t,
                                     item_stride,
                                     token_stride,
                                     top_tokens,
                                     address<const std::uint8_t>(mask),
                                     mask_stride,
                                     address<const std::int64_t>(excluded),
                                     address<const std::int64_t>(excluded_begin),
                                     above,
                                     k,
                                     address<std::int64_t>(indices),
                                     address<float>(scores),
                                     address<void>(workspace)};
    const py::gil_scoped_release released;
    const OnDeviceOf device(problem.queries);
    check(labrador::cuda_topk(problem, reinterpret_cast<cudaStream_t>(stream)), "topk on CUDA");
}

} // namespace

PYBIND11_MODULE(_cuda, module) {
    module.attr("MAX_ITEMS") = labrador::CUDA_MAX_ITEMS;
    module.attr("MAX_TOP_TOKENS") = labrador::CUDA_MAX_TOP_TOKENS;
    module.def("device_count", device_count);
    module.def("topk_workspace", labrador::cuda_topk_workspace);
    module.def("topk", topk);
}
