// One thread's pass over the gallery: which rows to score, in tiles, and who is kept. For baseline units only.
#pragma once

#include "kernels.h"
#include "late.h"
#include "selection.h"

#include <cstring>

namespace labrador {

constexpr std::size_t WORD = 64;           // rows per mask word; ranges start at its multiples
constexpr std::size_t BLOCK_ROWS = 64;     // gallery rows scored together: 128 KiB at d = 512, within L2
constexpr std::size_t TILE_QUERIES = 48;   // queries scored together: 96 KiB at d = 512, within L2
constexpr std::size_t GROUP_QUERIES = 512; // queries whose selections are held at once, per thread

// The eligible ones of rows 64 * word and up; bits past row m mean nothing, and may be set.
inline std::uint64_t mask_word(const std::uint8_t *bits, std::size_t word, std::size_t m) {
    const std::size_t first = word * 8, bytes = (m + 7) / 8;
    std::uint64_t value = 0;
    if (first + 8 <= bytes) {
        std::memcpy(&value, bits + first, 8); // x86-64 and aarch64 are little-endian, as the bits are
    } else {
        for (std::size_t byte = first; byte < bytes; ++byte) value |= std::uint64_t(bits[byte]) << (8 * (byte - first));
    }
    return value;
}

// One thread's pass over ranges of the gallery for one group of queries.
class Scan {
  public:
    Scan(const Queries &queries, const Gallery &gallery, const Filter &filter, std::size_t k, DotTile tile)
        : queries_(queries), gallery_(gallery), filter_(filter), k_(k), tile_(tile),
          block_items_(std::max<std::size_t>(1, BLOCK_ROWS / gallery.t)),
          dots_(TILE_QUERIES * block_items_ * gallery.t) {}

    void start(std::size_t first_query, std::size_t end_query) {
        selections.assign(end_query - first_query, Selection(k_, filter_.above));
        first_query_ = first_query;
        active_.clear();
        for (std::size_t q = first_query; q < end_query; ++q) active_.push_back(q);
    }

    // Items [begin, end), begin a multiple of WORD. Ranges of one group come in ascending order.
    void range(std::size_t begin, std::size_t end) {
        const bool own_masks = filter_.mask && filter_.mask_stride;
        for (std::size_t word = begin / WORD; word * WORD < end; ++word) {
            std::uint64_t bits = own_masks ? gather_active(word) : shared_bits(word);
            for (; bits; bits &= bits - 1) {
                const std::size_t item = word * WORD + static_cast<std::size_t>(__builtin_ctzll(bits));
                if (item >= end) break;
                add_item(item);
            }
            if (own_masks) flush();
        }
        flush();
    }

    std::vector<Selection> selections;

  private:
    std::uint64_t shared_bits(std::size_t word) const {
        return filter_.mask ? mask_word(filter_.mask, word, gallery_.m) : ~std::uint64_t(0);
    }

    // Queries whose own mask has a row in this word become the active ones; returns the union of rows.
    std::uint64_t gather_active(std::size_t word) {
        std::uint64_t any = 0;
        active_.clear();
        for (std::size_t i = 0; i < selections.size(); ++i) {
            const std::size_t q = first_query_ + i;
            const std::uint64_t bits = mask_word(filter_.mask + q * filter_.mask_stride, word, gallery_.m);
            if (bits) active_.push_back(q);
            any |= bits;
        }
        return any;
    }

    void add_item(std::size_t item) {
        items_.push_back(item);
        const float *row = gallery_.data + static_cast<std::ptrdiff_t>(item) * gallery_.item_stride;
        for (std::size_t token = 0; token < gallery_.t; ++token)
            rows_.push_back(row + static_cast<std::ptrdiff_t>(token) * gallery_.token_stride);
        if (items_.size() == block_items_) flush();
    }

    void flush() {
        if (items_.empty()) return;
        const float *rows[TILE_QUERIES];
        for (std::size_t first = 0; first < active_.size(); first += TILE_QUERIES) {
            const std::size_t n = std::min(TILE_QUERIES, active_.size() - first);
            for (std::size_t i = 0; i < n; ++i)
                rows[i] = queries_.data + static_cast<std::ptrdiff_t>(active_[first + i]) * queries_.stride;
            tile_(rows, n, rows_.data(), rows_.size(), gallery_.d, dots_.data());
            for (std::size_t i = 0; i < n; ++i) select(active_[first + i], dots_.data() + i * rows_.size());
        }
        items_.clear();
        rows_.clear();
    }

    void select(std::size_t query, float *dots) {
        Selection &selection = selections[query - first_query_];
        for (std::size_t j = 0; j < items_.size(); ++j) {
            const float score =
                gallery_.t == 1 ? dots[j] : late_score(dots + j * gallery_.t, gallery_.t, gallery_.top_tokens);
            if (selection.admits(score) && allowed(query, items_[j])) selection.push(score, items_[j]);
        }
    }

    // Asked only for rows that would enter the selection, so neither test costs per row.
    bool allowed(std::size_t query, std::size_t item) const {
        if (filter_.mask && filter_.mask_stride &&
            !(filter_.mask[query * filter_.mask_stride + item / 8] >> (item % 8) & 1))
            return false;
        return !filter_.excluded || !std::binary_search(filter_.excluded + filter_.excluded_begin[query],
                                                        filter_.excluded + filter_.excluded_begin[query + 1],
                                                        static_cast<std::int64_t>(item));
    }

    const Queries &queries_;
    const Gallery &gallery_;
    const Filter &filter_;
    std::size_t k_;
    DotTile tile_;
    std::size_t block_items_, first_query_ = 0;
    std::vector<float> dots_;
    std::vector<std::size_t> items_, active_;
    std::vector<const float *> rows_;
};

} // namespace labrador
