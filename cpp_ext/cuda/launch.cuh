// Launching a kernel: through the runtime's function, which takes the stream and raises the limit of
// shared memory where a kernel wants more than every device gives unasked.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

namespace labrador {
namespace {

constexpr std::size_t UNASKED_SHARED = 48 << 10;

template <class... Parameters> cudaError_t allow_shared(void (*kernel)(Parameters...), std::size_t shared) {
    if (shared <= UNASKED_SHARED) return cudaSuccess;
    return cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                static_cast<int>(shared));
}

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), long long blocks, int threads, std::size_t shared,
                   cudaStream_t stream, Arguments &&...arguments) {
    const cudaError_t error = allow_shared(kernel, shared);
    if (error != cudaSuccess) return error;
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(static_cast<unsigned>(blocks));
    config.blockDim = dim3(static_cast<unsigned>(threads));
    config.dynamicSmemBytes = shared;
    config.stream = stream;
    return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

// A number about the current device, such as cudaDevAttrMultiProcessorCount.
inline int of_device(cudaDeviceAttr attribute) {
    int device = 0, value = 0;
    if (cudaGetDevice(&device) != cudaSuccess || cudaDeviceGetAttribute(&value, attribute, device) != cudaSuccess)
        return 0;
    return value;
}

// As many blocks as the device runs at once, in whole multiples of `parts` and at least that many.
template <class... Parameters, class... Arguments>
cudaError_t launch_filling(void (*kernel)(Parameters...), long long parts, int threads, std::size_t shared,
                           cudaStream_t stream, Arguments &&...arguments) {
    cudaError_t error = allow_shared(kernel, shared);
    int at_once = 0;
    if (error == cudaSuccess) error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&at_once, kernel, threads, shared);
    if (error != cudaSuccess) return error;
    const long long blocks = static_cast<long long>(at_once) * of_device(cudaDevAttrMultiProcessorCount);
    return launch(kernel, blocks > parts ? blocks / parts * parts : parts, threads, shared, stream,
                  static_cast<Arguments &&>(arguments)...);
}

} // namespace
} // namespace labrador
