// What the files of bindings share.
#pragma once

#include "kernels.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>

namespace py = pybind11;

using Floats = py::array_t<float>;

// Raises ValueError for a level that isn't compiled in or that this machine can't run.
const labrador::Level &level_of(const std::string &name);

void define_mining(py::module_ &module); // bindings_mining.cpp
void define_floors(py::module_ &module); // bindings_floors.cpp
