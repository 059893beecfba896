// The machine's own limits, for cpp_ext.bench. Checks are its caller's; this module is private.
#include "bindings.h"
#include "floors.h"

#include <stdexcept>
#include <string>
#include <utility>

namespace {

labrador::FloorLoop loop_of(const std::string &name) {
    if (name == "read") return labrador::FloorLoop::read;
    if (name == "fma") return labrador::FloorLoop::fma;
    if (name == "mac") return labrador::FloorLoop::mac;
    throw std::invalid_argument("no loop " + name + "; there are read, fma, mac");
}

// (operations, seconds); no operations where the level, or this machine, has no such loop
std::pair<std::uint64_t, double> run_floor(const std::string &level, const std::string &loop,
                                           const py::array_t<std::uint8_t> &data, std::size_t ahead, std::size_t rounds,
                                           std::size_t threads) {
    const labrador::FloorWork work{data.data(), static_cast<std::size_t>(data.size()), ahead, rounds};
    const labrador::FloorLoop chosen = loop_of(loop);
    const py::gil_scoped_release released;
    const labrador::FloorRun run = labrador::run_floor(level.c_str(), chosen, work, threads);
    return {run.operations, run.seconds};
}

} // namespace

void define_floors(py::module_ &module) {
    module.def("run_floor", run_floor, py::arg("level"), py::arg("loop"), py::arg("data").noconvert(), py::arg("ahead"),
               py::arg("rounds"), py::arg("threads"));
}
