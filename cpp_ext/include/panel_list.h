// Which panels of a part a screen reads, and what in them counts. For baseline units only.
#pragma once

#include "eligible.h"

#include <vector>

namespace labrador {

class PanelList {
  public:
    std::vector<const std::uint8_t *> panels;
    std::vector<const PanelBounds *> bounds;
    std::vector<std::uint16_t> eligible;  // rows that hold an item some query may see, or one of its tokens
    std::vector<std::size_t> first_items; // the item of the first row

    // Those of items [begin, end) of a coded part; begin is a multiple of WORD.
    void list(const Part &part, std::size_t begin, std::size_t end, std::size_t t, std::size_t depth,
              const std::vector<std::size_t> &queries) {
        panels.clear();
        bounds.clear();
        eligible.clear();
        first_items.clear();
        for (std::size_t word = begin / WORD; word * WORD < end; ++word) {
            std::uint64_t bits = full_word(word, end);
            if (own_masks(part)) {
                std::uint64_t any = 0;
                for (const std::size_t query : queries) any |= mask_word(mask_of(part, query), word, part.m);
                bits &= any;
            } else if (part.mask) {
                bits &= mask_word(part.mask, word, part.m);
            }
            if (t == 1)
                add_rows(part, word * WORD, bits, depth);
            else
                for (; bits; bits &= bits - 1)
                    add_item(part, word * WORD + static_cast<std::size_t>(__builtin_ctzll(bits)), t, depth);
        }
    }

  private:
    void add(const Part &part, std::size_t panel, std::uint16_t rows, std::size_t item, std::size_t depth) {
        panels.push_back(part.codes->panels + panel * depth * PANEL_ROWS);
        bounds.push_back(part.codes->bounds + panel);
        eligible.push_back(rows);
        first_items.push_back(item);
    }

    void add_rows(const Part &part, std::size_t item, std::uint64_t bits, std::size_t depth) {
        for (; bits; bits >>= PANEL_ROWS, item += PANEL_ROWS)
            if (const auto rows = static_cast<std::uint16_t>(bits)) add(part, item / PANEL_ROWS, rows, item, depth);
    }

    void add_item(const Part &part, std::size_t item, std::size_t t, std::size_t depth) {
        const std::size_t count = (t + PANEL_ROWS - 1) / PANEL_ROWS;
        for (std::size_t panel = 0; panel < count; ++panel) {
            const std::size_t left = t - panel * PANEL_ROWS;
            const std::uint32_t rows = left >= PANEL_ROWS ? 0xffffu : (1u << left) - 1;
            add(part, item * count + panel, static_cast<std::uint16_t>(rows), item, depth);
        }
    }
};

} // namespace labrador
