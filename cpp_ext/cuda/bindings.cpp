// The module itself, and what it can say about devices; each operation defines its own functions.
#include "bindings.h"

namespace {

// 0 where there is no driver or no GPU.
int device_count() {
    int count = 0;
    return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

// Work queued on `later` from now on waits for what `earlier` holds now.
void wait_for(std::uintptr_t later, std::uintptr_t earlier, int device) {
    const labrador::OnDevice current(device);
    cudaEvent_t event;
    labrador::check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate");
    cudaError_t error = cudaEventRecord(event, reinterpret_cast<cudaStream_t>(earlier));
    if (error == cudaSuccess) error = cudaStreamWaitEvent(reinterpret_cast<cudaStream_t>(later), event, 0);
    cudaEventDestroy(event); // lives on until it has happened
    labrador::check(error, "waiting for the stream of an array");
}

} // namespace

PYBIND11_MODULE(_cuda, module) {
    module.def("device_count", device_count);
    module.def("device_of", labrador::device_of);
    module.def("wait_for", wait_for);
    labrador::define_mining(module);
    labrador::define_topk(module);
}
