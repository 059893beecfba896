// The mining's arguments to pointers, GIL released, call. Checks are cpp_ext._mining's.
#include "bindings.h"
#include "mining.h"

namespace {

using Indices = py::array_t<std::int64_t>;

labrador::Batch batch_of(const Floats &rows, const std::int64_t *ids) {
    return {rows.data(), static_cast<std::size_t>(rows.shape(0)),
            rows.strides(0) / static_cast<py::ssize_t>(sizeof(float)), ids};
}

// Both sides one after another: the n rows of the anchors, then the m of the others.
void hard_triplets(const Floats &anchors, const Floats &others, const Indices &anchor_ids, const Indices &other_ids,
                   bool paired, bool semi_hard, bool exclude_self, std::size_t threads, const std::string &level_name,
                   Indices &positive, Floats &positive_score, Indices &negative, Floats &negative_score) {
    const labrador::Level &with = level_of(level_name);
    const labrador::Batch a = batch_of(anchors, anchor_ids.data()), o = batch_of(others, other_ids.data());
    const labrador::Hardest first{positive.mutable_data(), positive_score.mutable_data(), negative.mutable_data(),
                                  negative_score.mutable_data()};
    const labrador::Hardest second{first.positive + a.n, first.positive_score + a.n, first.negative + a.n,
                                   first.negative_score + a.n};
    const auto d = static_cast<std::size_t>(anchors.shape(1));
    const py::gil_scoped_release released;
    labrador::hard_triplets(a, o, d, {paired, semi_hard, exclude_self}, threads, with, first, second);
}

void hard_triplets_gradient(const Floats &anchors, const Floats &others, std::size_t threads, const Indices &positive,
                            const Floats &positive_score, const Indices &negative, const Floats &negative_score,
                            Floats &d_anchors, Floats &d_others) {
    const labrador::Batch a = batch_of(anchors, nullptr), o = batch_of(others, nullptr);
    const labrador::ScoreGradients first{positive.data(), positive_score.data(), negative.data(),
                                         negative_score.data()};
    const labrador::ScoreGradients second{first.positive + a.n, first.positive_score + a.n, first.negative + a.n,
                                          first.negative_score + a.n};
    const auto d = static_cast<std::size_t>(anchors.shape(1));
    float *to_anchors = d_anchors.mutable_data(), *to_others = d_others.mutable_data();
    const py::gil_scoped_release released;
    labrador::hard_triplets_gradient(a, o, d, threads, first, second, to_anchors, to_others);
}

} // namespace

void define_mining(py::module_ &module) {
    module.def("hard_triplets", hard_triplets, py::arg("anchors").noconvert(), py::arg("others").noconvert(),
               py::arg("anchor_ids").noconvert(), py::arg("other_ids").noconvert(), py::arg("paired"),
               py::arg("semi_hard"), py::arg("exclude_self"), py::arg("threads"), py::arg("level"),
               py::arg("positive").noconvert(), py::arg("positive_score").noconvert(), py::arg("negative").noconvert(),
               py::arg("negative_score").noconvert());
    module.def("hard_triplets_gradient", hard_triplets_gradient, py::arg("anchors").noconvert(),
               py::arg("others").noconvert(), py::arg("threads"), py::arg("positive").noconvert(),
               py::arg("positive_score").noconvert(), py::arg("negative").noconvert(),
               py::arg("negative_score").noconvert(), py::arg("d_anchors").noconvert(),
               py::arg("d_others").noconvert());
}
