// Arguments to pointers, GIL released, call. Checks are cpp_ext's (Python); this module is private.
#include "bindings.h"
#include "kernels.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>
#include <string>

namespace py = pybind11;

namespace {

using Floats = py::array_t<float>;
using Indices = py::array_t<std::int64_t>;
using Bits = py::array_t<std::uint8_t>;

constexpr py::ssize_t FLOAT = sizeof(float);

const labrador::Level &level(const std::string &name) {
    std::size_t count;
    const labrador::Level *table = labrador::levels(&count);
    for (std::size_t i = 0; i < count; ++i)
        if (name == table[i].name && table[i].supported) return table[i];
    throw std::invalid_argument("level " + name + " isn't compiled here or this machine can't run it");
}

labrador::Queries queries_of(const Floats &queries) {
    return {queries.data(), static_cast<std::size_t>(queries.shape(0)), static_cast<std::size_t>(queries.shape(1)),
            queries.strides(0) / FLOAT};
}

// (m, t, d)
labrador::Gallery gallery_of(const Floats &gallery, std::size_t top_tokens) {
    return {gallery.data(),
            static_cast<std::size_t>(gallery.shape(0)),
            static_cast<std::size_t>(gallery.shape(1)),
            static_cast<std::size_t>(gallery.shape(2)),
            gallery.strides(0) / FLOAT,
            gallery.strides(1) / FLOAT,
            top_tokens};
}

void topk(const Floats &queries, const Floats &gallery, const std::optional<Bits> &mask,
          const std::optional<Indices> &excluded, const std::optional<Indices> &excluded_begin, float above,
          std::size_t top_tokens, std::size_t threads, const std::string &level_name, Indices &indices,
          Floats &scores) {
    const labrador::DotTile tile = level(level_name).dot_tile;
    const labrador::Filter filter{
        mask ? mask->data() : nullptr, mask && mask->ndim() == 2 ? static_cast<std::size_t>(mask->strides(0)) : 0,
        excluded ? excluded->data() : nullptr, excluded_begin ? excluded_begin->data() : nullptr, above};
    const labrador::Queries q = queries_of(queries);
    const labrador::Gallery g = gallery_of(gallery, top_tokens);
    const auto k = static_cast<std::size_t>(indices.shape(1));
    std::int64_t *out_indices = indices.mutable_data();
    float *out_scores = scores.mutable_data();
    const py::gil_scoped_release released;
    labrador::topk(q, g, filter, k, threads, tile, out_indices, out_scores);
}

void score_pairs(const Floats &queries, const Floats &gallery, const Indices &query_index, const Indices &gallery_index,
                 std::size_t top_tokens, const std::string &level_name, Floats &scores) {
    const labrador::DotTile tile = level(level_name).dot_tile;
    const labrador::Queries q = queries_of(queries);
    const labrador::Gallery g = gallery_of(gallery, top_tokens);
    const std::int64_t *which_query = query_index.data(), *which_item = gallery_index.data();
    float *out = scores.mutable_data();
    const auto pairs = static_cast<std::size_t>(scores.shape(0));
    const py::gil_scoped_release released;
    labrador::score_pairs(q, g, which_query, which_item, pairs, tile, out);
}

// {name: supported}, slowest first
py::dict levels() {
    std::size_t count;
    const labrador::Level *table = labrador::levels(&count);
    py::dict result;
    for (std::size_t i = 0; i < count; ++i) result[table[i].name] = table[i].supported;
    return result;
}

} // namespace

PYBIND11_MODULE(_core, module) {
    module.def("levels", levels);
    module.def("topk", topk, py::arg("queries").noconvert(), py::arg("gallery").noconvert(),
               py::arg("mask").noconvert(), py::arg("excluded").noconvert(), py::arg("excluded_begin").noconvert(),
               py::arg("above"), py::arg("top_tokens"), py::arg("threads"), py::arg("level"),
               py::arg("indices").noconvert(), py::arg("scores").noconvert());
    module.def("score_pairs", score_pairs, py::arg("queries").noconvert(), py::arg("gallery").noconvert(),
               py::arg("query_index").noconvert(), py::arg("gallery_index").noconvert(), py::arg("top_tokens"),
               py::arg("level"), py::arg("scores").noconvert());
    define_floors(module);
}
