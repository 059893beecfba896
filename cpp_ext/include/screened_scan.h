// Screening a range of coded items: who can still be a hit, from a quarter of the bytes. For baseline units only.
#pragma once

#include "coded_queries.h"
#include "contest.h"
#include "late_bounds.h"
#include "panel_list.h"

namespace labrador {

class ScreenedScan {
  public:
    void start(const Queries &queries, const CodedQueries &coded, const Gallery &gallery, const Filter &filter,
               const Level &level, std::size_t first_query, std::size_t end_query, Contest *contests,
               SharedLeast *least) {
        queries_ = &queries;
        coded_ = &coded;
        gallery_ = &gallery;
        filter_ = &filter;
        level_ = &level;
        first_query_ = first_query;
        end_query_ = end_query;
        contests_ = contests;
        least_ = least;
        part_ = nullptr;
        item_panels_ = gallery.t == 1 ? 1 : (gallery.t + PANEL_ROWS - 1) / PANEL_ROWS;
        every_ = gallery.top_tokens > 1;
        token_uppers_.resize(whole_lanes(gallery.t));
        token_lowers_.resize(gallery.t);
    }

    // Items [begin, end) of a coded part for these queries; begin is a multiple of WORD. settle(query) is
    // called when a query has `capacity` candidates, and must leave it with fewer.
    template <class Settle>
    void range(std::size_t part, std::size_t begin, std::size_t end, const std::vector<std::size_t> &queries,
               std::size_t capacity, const Settle &settle) {
        enter(part, queries);
        list_.list(*part_, begin, end, gallery_->t, coded_->depth, queries);
        const std::size_t block =
            queries.size() > STREAMED ? std::max(BLOCK_PANELS, item_panels_) : std::max(4 * BLOCK_PANELS, item_panels_);
        const std::size_t step = block / item_panels_ * item_panels_;
        const std::size_t tile = std::max<std::size_t>(4, std::min<std::size_t>(TILE_QUERIES, 1024 / step));
        hits_.resize(tile * step);
        uppers_.resize(tile * step * PANEL_ROWS);
        for (std::size_t p = 0; p < list_.panels.size(); p += step) {
            const std::size_t count = std::min(step, list_.panels.size() - p);
            for (std::size_t first = 0; first < queries.size(); first += tile) {
                const std::size_t n = std::min(tile, queries.size() - first);
                level_->screen_tile(codes_.data() + first, constants_.data() + first, n, list_.panels.data() + p,
                                    list_.bounds.data() + p, count, coded_->depth, every_, hits_.data(),
                                    uppers_.data());
                for (std::size_t i = 0; i < n; ++i)
                    collect(first + i, queries[first + i], i * count, p, count, capacity, settle);
            }
        }
    }

  private:
    static constexpr std::size_t BLOCK_PANELS = 4; // 32 KiB at d = 512: stays in the first-level cache for all queries
    static constexpr std::size_t STREAMED = 4;     // so few queries that a block is read once, from memory
    static constexpr std::size_t TILE_QUERIES = 48;

    // What depends on the part: each query's score of the mean, and its threshold.
    void enter(std::size_t part, const std::vector<std::size_t> &queries) {
        if (part_ != &gallery_->parts[part]) {
            number_ = part;
            part_ = &gallery_->parts[part];
            const float *mean = part_->codes->mean;
            mean_norm_ = 0;
            for (std::size_t e = 0; e < gallery_->d; ++e) mean_norm_ += static_cast<double>(mean[e]) * mean[e];
            mean_norm_ = std::sqrt(mean_norm_) * (1 + 1e-12);
            mean_scores_.assign(end_query_ - first_query_, std::numeric_limits<double>::quiet_NaN()); // unknown yet
        }
        codes_.clear();
        constants_.clear();
        offsets_.clear();
        slacks_.clear();
        for (const std::size_t query : queries) {
            double &mean_score = mean_scores_[query - first_query_];
            if (std::isnan(mean_score))
                mean_score = coded_->offset(queries_->data + static_cast<std::ptrdiff_t>(query) * queries_->stride,
                                            part_->codes->mean);
            offsets_.push_back(mean_score);
            slacks_.push_back(coded_->slack(query, mean_norm_));
            codes_.push_back(coded_->codes(query));
            constants_.push_back(coded_->constants[query]);
            set_threshold(constants_.size() - 1, query);
        }
    }

    void set_threshold(std::size_t place, std::size_t query) {
        constants_[place].threshold =
            float_below(static_cast<double>(least_[query - first_query_].value()) - offsets_[place] - slacks_[place]);
    }

    // The hits of one query in panels [first_panel, first_panel + count), which lie at `at` of hits_.
    template <class Settle>
    void collect(std::size_t place, std::size_t query, std::size_t at, std::size_t first_panel, std::size_t count,
                 std::size_t capacity, const Settle &settle) {
        std::uint32_t found = 0;
        for (std::size_t j = 0; j < count; ++j) found |= hits_[at + j];
        if (!found) return;
        Contest &contest = contests_[query - first_query_];
        for (std::size_t j = 0; j < count; j += item_panels_) {
            std::uint32_t any = 0;
            for (std::size_t panel = j; panel < j + item_panels_; ++panel)
                any |= hits_[at + panel] &= list_.eligible[first_panel + panel];
            if (!any) continue;
            if (gallery_->t == 1) {
                for (std::uint32_t rows = any; rows; rows &= rows - 1) {
                    const auto row = static_cast<std::size_t>(__builtin_ctz(rows));
                    const float upper = uppers_[(at + j) * PANEL_ROWS + row];
                    add(contest, place, query, list_.first_items[first_panel + j] + row, upper,
                        lower(upper, place, *list_.bounds[first_panel + j], row));
                }
            } else {
                add_late(contest, place, query, at, first_panel, j);
            }
            // The first threshold is due as soon as there are some to choose it from.
            const bool none_yet = std::isinf(constants_[place].threshold);
            if (contest.candidates.size() >= (none_yet ? capacity / 4 : capacity)) {
                settle(query);
                set_threshold(place, query);
            }
        }
    }

    float lower(float upper, std::size_t place, const PanelBounds &bounds, std::size_t row) const {
        const ScreenQuery &query = constants_[place];
        const double width = static_cast<double>(bounds.norm[row]) * query.residual +
                             static_cast<double>(bounds.residual[row]) * query.norm;
        return float_below(upper - 2 * (1 + 0x1p-18) * width);
    }

    // Order and rounding of late_score are monotone, so it carries bounds of tokens to bounds of the item.
    void add_late(Contest &contest, std::size_t place, std::size_t query, std::size_t at, std::size_t first_panel,
                  std::size_t j) {
        std::size_t known = 0;
        for (std::size_t panel = 0; panel < item_panels_; ++panel)
            for (std::uint32_t left = token_rows(at, first_panel, j + panel); left; left &= left - 1)
                token_uppers_[known++] =
                    known_bound(uppers_[(at + j + panel) * PANEL_ROWS + static_cast<std::size_t>(__builtin_ctz(left))]);
        if (every_ && falls_short(token_uppers_, gallery_->t, gallery_->top_tokens, constants_[place].threshold))
            return;
        known = 0;
        for (std::size_t panel = 0; panel < item_panels_; ++panel)
            for (std::uint32_t left = token_rows(at, first_panel, j + panel); left; left &= left - 1) {
                const auto row = static_cast<std::size_t>(__builtin_ctz(left));
                const float upper = uppers_[(at + j + panel) * PANEL_ROWS + row];
                token_uppers_[known] = upper;
                token_lowers_[known++] = lower(upper, place, *list_.bounds[first_panel + j + panel], row);
            }
        const float upper = late_score(token_uppers_.data(), known, gallery_->top_tokens);
        if (upper < constants_[place].threshold) return;
        add(contest, place, query, list_.first_items[first_panel + j], upper,
            late_score(token_lowers_.data(), known, gallery_->top_tokens));
    }

    // A bound that isn't a number says nothing.
    static float known_bound(float upper) { return upper == upper ? upper : std::numeric_limits<float>::infinity(); }

    // Which tokens of a panel the screen gave bounds of.
    std::uint32_t token_rows(std::size_t at, std::size_t first_panel, std::size_t panel) const {
        return every_ ? list_.eligible[first_panel + panel] : hits_[at + panel];
    }

    // Bounds that aren't numbers say nothing.
    void add(Contest &contest, std::size_t place, std::size_t query, std::size_t item, float upper, float lower) {
        constexpr float infinity = std::numeric_limits<float>::infinity();
        if (own_masks(*part_) && !(mask_of(*part_, query)[item / 8] >> (item % 8) & 1)) return;
        const double offset = offsets_[place], slack = slacks_[place];
        upper = std::fabs(upper) <= FLT_MAX ? float_above(upper + offset + slack) : infinity;
        // The label is looked up for exclusions only: it lies in memory that the scan doesn't touch otherwise.
        if (filter_->excluded && excluded(*filter_, query, label_of(*part_, item))) return;
        lower = std::fabs(lower) <= FLT_MAX ? float_below(lower + offset - slack) : -infinity;
        ++contest.passed;
        contest.candidates.push_back(
            {upper, lower, static_cast<std::uint32_t>(number_), static_cast<std::uint32_t>(item)});
    }

    const Queries *queries_ = nullptr;
    const CodedQueries *coded_ = nullptr;
    const Gallery *gallery_ = nullptr;
    const Filter *filter_ = nullptr;
    const Level *level_ = nullptr;
    const Part *part_ = nullptr;
    Contest *contests_ = nullptr;
    SharedLeast *least_ = nullptr;
    std::size_t first_query_ = 0, end_query_ = 0, item_panels_ = 1, number_ = 0;
    bool every_ = false;
    PanelList list_;
    std::vector<std::uint16_t> hits_;
    std::vector<const std::int8_t *> codes_;
    std::vector<ScreenQuery> constants_;
    double mean_norm_ = 0;
    std::vector<double> mean_scores_; // of all queries of the group
    std::vector<double> offsets_, slacks_;
    std::vector<float> uppers_, token_uppers_, token_lowers_;
};

} // namespace labrador
