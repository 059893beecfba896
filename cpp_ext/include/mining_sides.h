// The two sides of a batch in the order in which they are mined: sorted by id, so that a row's positives are
// one run of the other side and all the rest needs no comparison of ids. For baseline units only.
#pragma once

#include "mining.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

namespace labrador {

// Places, not row numbers: everything here is counted in the sorted order.
struct Run {
    std::size_t begin, end;
};

struct Side {
    Side(const Batch &batch, std::size_t d) : number(batch.n), row(batch.n), id(batch.n) {
        std::vector<std::pair<std::int64_t, std::size_t>> sorted(batch.n);
        for (std::size_t i = 0; i < batch.n; ++i) sorted[i] = {batch.ids[i], i};
        std::sort(sorted.begin(), sorted.end()); // equal ids by row number
        for (std::size_t place = 0; place < batch.n; ++place) {
            id[place] = sorted[place].first;
            number[place] = static_cast<std::int64_t>(sorted[place].second);
            row[place] = batch.data + number[place] * batch.stride;
        }
        if (!in_lines(batch)) align(d);
    }

    // Fills `same`: for each row the run of the other side with its id, empty where that side lacks it. The
    // runs' beginnings ascend, and so do their ends.
    void meet(const Side &other) {
        Run run{0, 0};
        same.resize(id.size());
        for (std::size_t place = 0; place < id.size(); ++place) {
            if (place == 0 || id[place] != id[place - 1]) {
                run.begin = run.end;
                while (run.begin < other.id.size() && other.id[run.begin] < id[place]) ++run.begin;
                run.end = run.begin;
                while (run.end < other.id.size() && other.id[run.end] == id[place]) ++run.end;
            }
            same[place] = run;
        }
    }

    std::size_t size() const { return id.size(); }

    std::vector<std::int64_t> number; // of the row in the batch
    std::vector<const float *> row;
    std::vector<std::int64_t> id;
    std::vector<Run> same;

  private:
    static constexpr std::size_t LINE = 64 / sizeof(float);

    static bool in_lines(const Batch &batch) {
        return reinterpret_cast<std::uintptr_t>(batch.data) % 64 == 0 && batch.stride % std::ptrdiff_t(LINE) == 0;
    }

    // A copy whose rows begin cache lines: vector loads that straddle two cost a quarter of the whole time.
    // One more line between rows keeps those of a power-of-two length out of each other's cache sets.
    void align(std::size_t d) {
        const std::size_t stride = (d + LINE - 1) / LINE * LINE + LINE;
        copy_.reset(new float[size() * stride + LINE]);
        const std::size_t past = reinterpret_cast<std::uintptr_t>(copy_.get()) % 64 / sizeof(float);
        float *to = copy_.get() + (LINE - past) % LINE;
        for (std::size_t place = 0; place < size(); ++place, to += stride) {
            std::memcpy(to, row[place], d * sizeof(float));
            row[place] = to;
        }
    }

    std::unique_ptr<float[]> copy_;
};

} // namespace labrador
