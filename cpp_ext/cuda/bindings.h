// What the bindings of every operation share. Checks of arguments are cpp_ext.cuda's (Python).
#pragma once

#include "kernels.h"

#include <cuda_runtime_api.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace labrador {

inline void check(cudaError_t error, const char *what) {
    if (error != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

// The device that holds this address, or -1 for one that isn't in device memory.
inline int device_of(std::uintptr_t address) {
    cudaPointerAttributes attributes{};
    check(cudaPointerGetAttributes(&attributes, reinterpret_cast<const void *>(address)), "cudaPointerGetAttributes");
    return attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged ? attributes.device : -1;
}

// Makes a device current for one call.
class OnDevice {
  public:
    explicit OnDevice(int device) {
        check(cudaGetDevice(&before_), "cudaGetDevice");
        if (device != before_) check(cudaSetDevice(device), "cudaSetDevice");
    }
    ~OnDevice() { cudaSetDevice(before_); }
    OnDevice(const OnDevice &) = delete;
    OnDevice &operator=(const OnDevice &) = delete;

  private:
    int before_ = 0;
};

inline Element element_of(const std::string &name) {
    const Element elements[] = {Element::float32, Element::float16, Element::bfloat16, Element::int8};
    const char *const names[] = {"float32", "float16", "bfloat16", "int8"};
    for (int i = 0; i < 4; ++i)
        if (name == names[i]) return elements[i];
    throw std::invalid_argument("no kernel takes elements of type " + name);
}

template <class T> T *pointer(std::uintptr_t value) { return reinterpret_cast<T *>(value); }

// One per operation, in bindings_<operation>.cpp.
void define_mining(pybind11::module_ &);
void define_topk(pybind11::module_ &);

} // namespace labrador
