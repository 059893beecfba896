// Keeping the k best of a stream of scored items. For baseline units only.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace labrador {

struct Hit {
    float score;
    std::int64_t label;
};

inline bool better(const Hit &a, const Hit &b) {
    return a.score > b.score || (a.score == b.score && a.label < b.label);
}

// A buffer rather than a heap: hits that beat the worst kept are appended, and when the buffer holds
// twice what is wanted its lower half is dropped. A push costs O(1) amortised at any k, so k = m is a
// sort and not m heap repairs. The order of hits is total, so what is kept doesn't depend on theirs.
class Selection {
  public:
    void start(std::size_t k, float above) {
        k_ = k;
        capacity_ = k + std::max(k, SPARE);
        worst_ = {above, std::numeric_limits<std::int64_t>::min()}; // a hit scores more than `above`
        hits.clear();
    }

    bool admits(float score, std::int64_t label) const { return score <= FLT_MAX && better({score, label}, worst_); }

    void push(float score, std::int64_t label) {
        hits.push_back({score, label});
        if (hits.size() == capacity_) tighten();
    }

    // Drops all but the k best.
    void tighten() {
        if (hits.size() < k_) return;
        const auto last = hits.begin() + static_cast<std::ptrdiff_t>(k_ - 1);
        std::nth_element(hits.begin(), last, hits.end(), better);
        worst_ = *last;
        hits.resize(k_);
    }

    // No item below this score can still be a hit.
    float least() const { return worst_.score; }

    void merge(const Selection &other) {
        for (const Hit &hit : other.hits)
            if (admits(hit.score, hit.label)) push(hit.score, hit.label);
    }

    // Leaves the k best hits, best first.
    void finish() {
        tighten();
        std::sort(hits.begin(), hits.end(), better);
    }

    std::vector<Hit> hits; // at most 2k of them (or k + SPARE), in no order

  private:
    static constexpr std::size_t SPARE = 64;
    std::size_t k_ = 0, capacity_ = 0;
    Hit worst_{};
};

} // namespace labrador
