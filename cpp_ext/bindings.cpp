// Arguments to pointers, GIL released, call. Checks are cpp_ext's (Python); this module is private.
#include "bindings.h"

#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>
#include <vector>

namespace {

using Labels = py::array_t<std::int64_t>;
using Bits = py::array_t<std::uint8_t>;

constexpr py::ssize_t FLOAT = sizeof(float);

labrador::Queries queries_of(const Floats &queries) {
    return {queries.data(), static_cast<std::size_t>(queries.shape(0)), static_cast<std::size_t>(queries.shape(1)),
            queries.strides(0) / FLOAT};
}

labrador::Element element_of(const std::string &name) {
    if (name == "float32") return labrador::Element::float32;
    if (name == "float16") return labrador::Element::float16;
    if (name == "bfloat16") return labrador::Element::bfloat16;
    if (name == "int8") return labrador::Element::int8;
    throw std::invalid_argument("no kernel takes elements of type " + name);
}

// One part as Python gives it: (vectors (m, t, d) of the element's size, element, mask or None, labels or
// None, panels or None, bounds or None, mean or None, read or None). Keeps the arrays alive.
struct GivenParts {
    std::vector<py::tuple> held;
    std::vector<labrador::Codes> codes;
    std::vector<labrador::Part> parts;
    std::size_t t = 1, d = 1;

    explicit GivenParts(const py::list &given) : codes(given.size()), parts(given.size()) {
        std::int64_t first = 0;
        for (std::size_t p = 0; p < given.size(); ++p) {
            held.push_back(given[p].cast<py::tuple>());
            const py::tuple &tuple = held.back();
            const auto vectors = tuple[0].cast<py::array>();
            labrador::Part &part = parts[p];
            part.data = vectors.data();
            part.element = element_of(tuple[1].cast<std::string>());
            part.m = static_cast<std::size_t>(vectors.shape(0));
            t = static_cast<std::size_t>(vectors.shape(1));
            d = static_cast<std::size_t>(vectors.shape(2));
            part.item_stride = vectors.strides(0) / vectors.itemsize();
            part.token_stride = vectors.strides(1) / vectors.itemsize();
            if (!tuple[2].is_none()) {
                const auto mask = tuple[2].cast<Bits>();
                part.mask = mask.data();
                part.mask_stride = mask.ndim() == 2 ? static_cast<std::size_t>(mask.strides(0)) : 0;
            }
            if (!tuple[3].is_none()) part.labels = tuple[3].cast<Labels>().data();
            if (!tuple[4].is_none()) {
                codes[p] = {tuple[4].cast<py::array_t<std::uint8_t>>().data(),
                            reinterpret_cast<const labrador::PanelBounds *>(tuple[5].cast<Floats>().data()),
                            tuple[6].cast<Floats>().data()};
                part.codes = &codes[p];
            }
            if (!tuple[7].is_none()) part.read = tuple[7].cast<Bits>().mutable_data();
            part.first = first;
            first += static_cast<std::int64_t>(part.m);
        }
    }

    labrador::Gallery gallery(std::size_t top_tokens) const { return {parts.data(), parts.size(), t, d, top_tokens}; }
};

void topk(const Floats &queries, const py::list &parts, const std::optional<Labels> &excluded,
          const std::optional<Labels> &excluded_begin, float above, std::size_t top_tokens, std::size_t threads,
          const std::string &level_name, Labels &labels, Floats &scores) {
    const labrador::Level &level = level_of(level_name);
    const labrador::Filter filter{excluded ? excluded->data() : nullptr,
                                  excluded_begin ? excluded_begin->data() : nullptr, above};
    const labrador::Queries q = queries_of(queries);
    const GivenParts given(parts);
    const labrador::Gallery gallery = given.gallery(top_tokens);
    const auto k = static_cast<std::size_t>(labels.shape(1));
    std::int64_t *out_labels = labels.mutable_data();
    float *out_scores = scores.mutable_data();
    const py::gil_scoped_release released;
    labrador::topk(q, gallery, filter, k, threads, level, out_labels, out_scores);
}

void score_pairs(const Floats &queries, const py::list &parts, const Labels &query_index, const Labels &gallery_index,
                 std::size_t top_tokens, const std::string &level_name, Floats &scores) {
    const labrador::Level &level = level_of(level_name);
    const labrador::Queries q = queries_of(queries);
    const GivenParts given(parts);
    const labrador::Gallery gallery = given.gallery(top_tokens);
    const std::int64_t *which_query = query_index.data(), *which_item = gallery_index.data();
    float *out = scores.mutable_data();
    const auto pairs = static_cast<std::size_t>(scores.shape(0));
    const py::gil_scoped_release released;
    labrador::score_pairs(q, gallery, which_query, which_item, pairs, level, out);
}

void mean_of(const py::list &parts, const std::string &level_name, Floats &mean) {
    const labrador::Level &level = level_of(level_name);
    const GivenParts given(parts);
    float *out = mean.mutable_data();
    const py::gil_scoped_release released;
    labrador::mean_of(given.parts[0], given.t, given.d, level, out);
}

void encode(const py::list &parts, const Floats &mean, std::size_t threads, const std::string &level_name, Bits &panels,
            Floats &bounds) {
    const labrador::Level &level = level_of(level_name);
    const GivenParts given(parts);
    const float *centre = mean.data();
    std::uint8_t *out = panels.mutable_data();
    auto *out_bounds = reinterpret_cast<labrador::PanelBounds *>(bounds.mutable_data());
    const py::gil_scoped_release released;
    labrador::encode(given.parts[0], given.t, given.d, centre, threads, level, out, out_bounds);
}

void upper_bounds(const Floats &queries, const py::list &parts, const std::string &level_name, Floats &uppers) {
    const labrador::Level &level = level_of(level_name);
    const labrador::Queries q = queries_of(queries);
    const GivenParts given(parts);
    float *out = uppers.mutable_data();
    const py::gil_scoped_release released;
    labrador::upper_bounds(q, given.parts[0], given.d, level, out);
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

const labrador::Level &level_of(const std::string &name) {
    std::size_t count;
    const labrador::Level *table = labrador::levels(&count);
    for (std::size_t i = 0; i < count; ++i)
        if (name == table[i].name && table[i].supported) return table[i];
    throw std::invalid_argument("level " + name + " isn't compiled here or this machine can't run it");
}

PYBIND11_MODULE(_core, module) {
    define_mining(module);
    define_floors(module);
    module.def("levels", levels);
    module.def("topk", topk, py::arg("queries").noconvert(), py::arg("parts"), py::arg("excluded").noconvert(),
               py::arg("excluded_begin").noconvert(), py::arg("above"), py::arg("top_tokens"), py::arg("threads"),
               py::arg("level"), py::arg("labels").noconvert(), py::arg("scores").noconvert());
    module.def("score_pairs", score_pairs, py::arg("queries").noconvert(), py::arg("parts"),
               py::arg("query_index").noconvert(), py::arg("gallery_index").noconvert(), py::arg("top_tokens"),
               py::arg("level"), py::arg("scores").noconvert());
    module.def("mean_of", mean_of, py::arg("parts"), py::arg("level"), py::arg("mean").noconvert());
    module.def("encode", encode, py::arg("parts"), py::arg("mean").noconvert(), py::arg("threads"), py::arg("level"),
               py::arg("panels").noconvert(), py::arg("bounds").noconvert());
    module.def("upper_bounds", upper_bounds, py::arg("queries").noconvert(), py::arg("parts"), py::arg("level"),
               py::arg("uppers").noconvert());
}
