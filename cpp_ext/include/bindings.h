// The parts of the module that have a file of their own.
#pragma once

#include <pybind11/pybind11.h>

void define_floors(pybind11::module_ &module);
