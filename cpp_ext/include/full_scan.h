// Scoring every eligible item of a range in full. For baseline units only.
#pragma once

#include "contest.h"
#include "eligible.h"
#include "late.h"
#include "rows.h"

namespace labrador {

class FullScan {
  public:
    void start(const Queries &queries, const Gallery &gallery, const Filter &filter, const Level &level,
               std::size_t first_query, Contest *contests, SharedLeast *least) {
        queries_ = &queries;
        gallery_ = &gallery;
        filter_ = &filter;
        level_ = &level;
        first_query_ = first_query;
        contests_ = contests;
        least_ = least;
        block_items_ = std::max<std::size_t>(1, BLOCK_ROWS / gallery.t);
        rows_.start(block_items_ * gallery.t, gallery.d);
        dots_.resize(TILE_QUERIES * block_items_ * gallery.t);
        items_.clear();
    }

    // Items [begin, end) of a part, begin a multiple of WORD, for these queries.
    void range(const Part &part, std::size_t begin, std::size_t end, const std::vector<std::size_t> &queries) {
        part_ = &part;
        active_ = queries;
        for (std::size_t word = begin / WORD; word * WORD < end; ++word) {
            std::uint64_t bits = own_masks(part) ? gather_active(word, queries)
                                 : part.mask     ? mask_word(part.mask, word, part.m)
                                                 : full_word(word, part.m);
            for (; bits; bits &= bits - 1) {
                const std::size_t item = word * WORD + static_cast<std::size_t>(__builtin_ctzll(bits));
                if (item >= end) break;
                items_.push_back(item);
                for (std::size_t token = 0; token < gallery_->t; ++token) rows_.add(part, item, token, *level_);
                if (items_.size() == block_items_) flush();
            }
            if (own_masks(part)) flush();
        }
        flush();
    }

  private:
    static constexpr std::size_t BLOCK_ROWS = 64;   // rows scored together: 128 KiB at d = 512, within L2
    static constexpr std::size_t TILE_QUERIES = 48; // queries scored together: 96 KiB at d = 512, within L2

    // Queries whose own mask has an item in this word become the active ones; returns the union of items.
    std::uint64_t gather_active(std::size_t word, const std::vector<std::size_t> &queries) {
        std::uint64_t any = 0;
        active_.clear();
        for (const std::size_t query : queries) {
            const std::uint64_t bits = mask_word(mask_of(*part_, query), word, part_->m);
            if (bits) active_.push_back(query);
            any |= bits;
        }
        return any;
    }

    void flush() {
        if (items_.empty()) return;
        const std::size_t rows = rows_.pointers.size();
        const float *tile[TILE_QUERIES];
        for (std::size_t first = 0; first < active_.size(); first += TILE_QUERIES) {
            const std::size_t n = std::min(TILE_QUERIES, active_.size() - first);
            for (std::size_t i = 0; i < n; ++i)
                tile[i] = queries_->data + static_cast<std::ptrdiff_t>(active_[first + i]) * queries_->stride;
            level_->dot_tile(tile, n, rows_.pointers.data(), rows, gallery_->d, dots_.data());
            for (std::size_t i = 0; i < n; ++i) select(active_[first + i], dots_.data() + i * rows);
        }
        items_.clear();
        rows_.pointers.clear();
    }

    void select(std::size_t query, float *dots) {
        Selection &selection = contests_[query - first_query_].selection;
        SharedLeast &shared = least_[query - first_query_];
        float least = std::max(selection.least(), shared.value());
        for (std::size_t j = 0; j < items_.size(); ++j) {
            const float score =
                gallery_->t == 1 ? dots[j] : late_score(dots + j * gallery_->t, gallery_->t, gallery_->top_tokens);
            if (!(score >= least)) continue;
            const std::int64_t label = label_of(*part_, items_[j]);
            if (!selection.admits(score, label) || !may_see(query, items_[j]) || excluded(*filter_, query, label))
                continue;
            selection.push(score, label);
            if (selection.least() > least) shared.raise(least = selection.least());
        }
    }

    bool may_see(std::size_t query, std::size_t item) const {
        return !own_masks(*part_) || mask_of(*part_, query)[item / 8] >> (item % 8) & 1;
    }

    const Queries *queries_ = nullptr;
    const Gallery *gallery_ = nullptr;
    const Filter *filter_ = nullptr;
    const Level *level_ = nullptr;
    const Part *part_ = nullptr;
    Contest *contests_ = nullptr;
    SharedLeast *least_ = nullptr;
    std::size_t first_query_ = 0, block_items_ = 1;
    std::vector<std::size_t> items_, active_;
    RowList rows_;
    std::vector<float> dots_;
};

} // namespace labrador
