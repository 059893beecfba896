// One query's candidates for the k best, in one thread. For baseline units only.
#pragma once

#include "selection.h"

#include <atomic>

namespace labrador {

// The k-th best score that any thread has proved for a query: whatever is below it is no hit.
class SharedLeast {
  public:
    SharedLeast(float value = 0) : value_(value) {}
    SharedLeast(const SharedLeast &other) : value_(other.value()) {}
    SharedLeast &operator=(const SharedLeast &other) {
        value_.store(other.value(), std::memory_order_relaxed);
        return *this;
    }
    float value() const { return value_.load(std::memory_order_relaxed); }
    void raise(float to) {
        float now = value();
        while (now < to && !value_.compare_exchange_weak(now, to, std::memory_order_relaxed)) {
        }
    }

  private:
    std::atomic<float> value_;
};

// An item that passed the screen: its exact score lies between the two.
struct Candidate {
    float upper, lower;
    std::uint32_t part, item;
};

struct Contest {
    Selection selection;               // exact scores
    std::vector<Candidate> candidates; // still to be scored
    std::size_t seen = 0, passed = 0;  // of the screen, since it was last judged
    bool judged = false;               // once; until then there was no threshold to begin with
    std::size_t items_in_full = 0;     // to come without a screen, since too many passed it

    static constexpr std::size_t WINDOW = 4096;

    void start(std::size_t k, float above, bool screen) {
        selection.start(k, above);
        candidates.clear();
        seen = passed = 0;
        judged = false;
        items_in_full = screen ? 0 : std::numeric_limits<std::size_t>::max();
    }

    // Whether screening pays is asked once per WINDOW items: of more survivors than one in eight, full
    // scores are cheaper. Later parts may be less crowded, so that isn't for good.
    void judge(std::size_t items) {
        if ((seen += items) < WINDOW) return;
        if (judged && passed * 8 > seen) items_in_full = 16 * WINDOW;
        judged = true;
        seen = passed = 0;
    }

    // Drops candidates that can't be hits: those above whose upper bound k others are proved to lie.
    void prune(std::size_t k, SharedLeast &least, std::vector<float> &scratch) {
        if (candidates.size() + selection.hits.size() >= k) {
            scratch.clear();
            for (const Candidate &candidate : candidates) scratch.push_back(candidate.lower);
            for (const Hit &hit : selection.hits) scratch.push_back(hit.score);
            const auto last = scratch.begin() + static_cast<std::ptrdiff_t>(k - 1);
            std::nth_element(scratch.begin(), last, scratch.end(), [](float a, float b) { return a > b; });
            least.raise(*last);
        }
        drop_below(least.value());
    }

    void drop_below(float least) {
        candidates.erase(std::remove_if(candidates.begin(), candidates.end(),
                                        [least](const Candidate &c) { return c.upper < least; }),
                         candidates.end());
    }
};

} // namespace labrador
