// From candidates to hits: the exact scores of those that may still be among the k best. For baseline units only.
#pragma once

#include "contest.h"
#include "eligible.h"
#include "late.h"
#include "rows.h"

namespace labrador {

class Rescorer {
  public:
    void start(const Queries &queries, const Gallery &gallery, const Level &level, std::size_t k) {
        queries_ = &queries;
        gallery_ = &gallery;
        level_ = &level;
        k_ = k;
        items_ = std::max<std::size_t>(1, ROWS / gallery.t);
        rows_.start(items_ * gallery.t, gallery.d);
        dots_.resize(items_ * gallery.t);
    }

    // Empties the candidates. Those with the highest bounds are scored first: they raise the least score
    // that the others must be able to reach.
    void settle(std::size_t query, Contest &contest, SharedLeast &least) {
        contest.prune(k_, least, scratch_);
        std::vector<Candidate> &candidates = contest.candidates;
        const std::size_t first = k_ + k_ / 4 + 4;
        if (candidates.size() > 2 * first) {
            const auto middle = candidates.begin() + static_cast<std::ptrdiff_t>(first);
            std::nth_element(candidates.begin(), middle, candidates.end(),
                             [](const Candidate &a, const Candidate &b) { return a.upper > b.upper; });
            score(query, contest, candidates.data(), first);
            candidates.erase(candidates.begin(), middle);
            contest.selection.tighten();
            least.raise(contest.selection.least());
            contest.drop_below(least.value());
        }
        score(query, contest, candidates.data(), candidates.size());
        candidates.clear();
        contest.selection.tighten();
        least.raise(contest.selection.least());
    }

  private:
    static constexpr std::size_t ROWS = 64;

    void score(std::size_t query, Contest &contest, Candidate *candidates, std::size_t count) {
        std::sort(candidates, candidates + count, [](const Candidate &a, const Candidate &b) { // as they lie in memory
            return a.part < b.part || (a.part == b.part && a.item < b.item);
        });
        const float *const row = queries_->data + static_cast<std::ptrdiff_t>(query) * queries_->stride;
        for (std::size_t begin = 0; begin < count; begin += items_) {
            const std::size_t end = std::min(count, begin + items_);
            rows_.pointers.clear();
            for (std::size_t c = begin; c < end; ++c)
                for (std::size_t token = 0; token < gallery_->t; ++token)
                    rows_.add(gallery_->parts[candidates[c].part], candidates[c].item, token, *level_);
            level_->dot_tile(&row, 1, rows_.pointers.data(), rows_.pointers.size(), gallery_->d, dots_.data());
            for (std::size_t c = begin; c < end; ++c) {
                float *const dots = dots_.data() + (c - begin) * gallery_->t;
                const float score = gallery_->t == 1 ? dots[0] : late_score(dots, gallery_->t, gallery_->top_tokens);
                const std::int64_t label = label_of(gallery_->parts[candidates[c].part], candidates[c].item);
                if (contest.selection.admits(score, label)) contest.selection.push(score, label);
            }
        }
    }

    const Queries *queries_ = nullptr;
    const Gallery *gallery_ = nullptr;
    const Level *level_ = nullptr;
    std::size_t k_ = 0, items_ = 1;
    RowList rows_;
    std::vector<float> dots_, scratch_;
};

} // namespace labrador
