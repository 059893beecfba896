// Keeping the k best of a stream of scored rows. For baseline units only.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace labrador {

struct Hit {
    float score;
    std::int64_t row;
};

inline bool better(const Hit &a, const Hit &b) { return a.score > b.score || (a.score == b.score && a.row < b.row); }

// Leaves the k best hits, best first.
inline void keep_best(std::vector<Hit> &hits, std::size_t k) {
    if (hits.size() > k) {
        std::nth_element(hits.begin(), hits.begin() + static_cast<std::ptrdiff_t>(k), hits.end(), better);
        hits.resize(k);
    }
    std::sort(hits.begin(), hits.end(), better);
}

// A buffer rather than a heap: rows that beat the threshold are appended, and when the buffer holds
// twice what is wanted its lower half is dropped and the threshold rises. A push costs O(1) amortised
// at any k, so k = m is a sort and not m heap repairs.
class Selection {
  public:
    Selection(std::size_t k, float above) : k_(k), capacity_(k + (k > SPARE ? k : SPARE)), threshold_(above) {}

    // Rows arrive in ascending order, so a row that only equals the k-th best score is behind it.
    bool admits(float score) const { return score > threshold_ && score <= FLT_MAX; }

    void push(float score, std::size_t row) {
        hits.push_back({score, static_cast<std::int64_t>(row)});
        if (hits.size() < capacity_) return;
        const auto last = hits.begin() + static_cast<std::ptrdiff_t>(k_ - 1);
        std::nth_element(hits.begin(), last, hits.end(), better);
        threshold_ = last->score;
        hits.resize(k_);
    }

    std::vector<Hit> hits; // at most 2k of them, in no order

  private:
    static constexpr std::size_t SPARE = 64;
    std::size_t k_, capacity_;
    float threshold_;
};

} // namespace labrador
