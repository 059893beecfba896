// Which items a query may see: masks and exclusion lists. For baseline units only.
#pragma once

#include "kernels.h"

#include <algorithm>
#include <cstring>

namespace labrador {

constexpr std::size_t WORD = 64; // items per mask word

// The eligible ones of items 64 * word and up; bits past item m are clear.
inline std::uint64_t mask_word(const std::uint8_t *bits, std::size_t word, std::size_t m) {
    const std::size_t first = word * 8, bytes = (m + 7) / 8;
    std::uint64_t value = 0;
    if (first + 8 <= bytes) {
        std::memcpy(&value, bits + first, 8); // x86-64 and aarch64 are little-endian, as the bits are
    } else {
        for (std::size_t byte = first; byte < bytes; ++byte) value |= std::uint64_t(bits[byte]) << (8 * (byte - first));
    }
    const std::size_t left = m - word * WORD;
    return left >= WORD ? value : value & ((std::uint64_t(1) << left) - 1);
}

// Every item of the word that exists.
inline std::uint64_t full_word(std::size_t word, std::size_t m) {
    const std::size_t left = m - word * WORD;
    return left >= WORD ? ~std::uint64_t(0) : (std::uint64_t(1) << left) - 1;
}

inline bool own_masks(const Part &part) { return part.mask && part.mask_stride; }

inline const std::uint8_t *mask_of(const Part &part, std::size_t query) { return part.mask + query * part.mask_stride; }

inline std::int64_t label_of(const Part &part, std::size_t item) {
    return part.labels ? part.labels[item] : part.first + static_cast<std::int64_t>(item);
}

// Asked only of items that would become hits, so an exclusion list costs nothing per item.
inline bool excluded(const Filter &filter, std::size_t query, std::int64_t label) {
    return filter.excluded && std::binary_search(filter.excluded + filter.excluded_begin[query],
                                                 filter.excluded + filter.excluded_begin[query + 1], label);
}

} // namespace labrador
