// Reading a part's rows as float32. For baseline units only.
#pragma once

#include "kernels.h"

#include <cstring>
#include <vector>

namespace labrador {

constexpr std::size_t element_bytes(Element element) {
    return element == Element::float32 ? 4 : element == Element::int8 ? 1 : 2;
}

inline const void *row_at(const Part &part, std::size_t item, std::size_t token) {
    const std::ptrdiff_t at =
        static_cast<std::ptrdiff_t>(item) * part.item_stride + static_cast<std::ptrdiff_t>(token) * part.token_stride;
    return static_cast<const char *>(part.data) + at * static_cast<std::ptrdiff_t>(element_bytes(part.element));
}

// d elements to floats; every element type's values are floats too, so nothing is rounded.
inline void widen(const void *row, Element element, std::size_t d, const Level &level, float *to) {
    switch (element) {
    case Element::float32:
        std::memcpy(to, row, d * sizeof(float));
        break;
    case Element::float16:
        level.widen_half(static_cast<const std::uint16_t *>(row), d, to);
        break;
    case Element::bfloat16:
        for (std::size_t e = 0; e < d; ++e) {
            const std::uint32_t bits = std::uint32_t(static_cast<const std::uint16_t *>(row)[e]) << 16;
            std::memcpy(to + e, &bits, sizeof bits);
        }
        break;
    case Element::int8:
        for (std::size_t e = 0; e < d; ++e) to[e] = static_cast<const std::int8_t *>(row)[e];
        break;
    }
}

// Up to `capacity` rows side by side, as pointers that a dot tile takes: into the part itself where it
// holds floats, into copies where it doesn't.
class RowList {
  public:
    void start(std::size_t capacity, std::size_t d) {
        capacity_ = capacity;
        d_ = d;
        pointers.clear();
        pointers.reserve(capacity);
    }

    void add(const Part &part, std::size_t item, std::size_t token, const Level &level) {
        if (part.read && token == 0) note(part.read[item / 8], static_cast<std::uint8_t>(1 << item % 8));
        const void *row = row_at(part, item, token);
        if (part.element == Element::float32) {
            pointers.push_back(static_cast<const float *>(row));
            return;
        }
        copies_.resize(capacity_ * d_);
        float *copy = copies_.data() + pointers.size() * d_;
        widen(row, part.element, d_, level, copy);
        pointers.push_back(copy);
    }

    std::vector<const float *> pointers;

  private:
    // Threads may score items of the same byte. Most have been noted before, which a plain load tells.
    static void note(std::uint8_t &byte, std::uint8_t bit) {
        if (!(__atomic_load_n(&byte, __ATOMIC_RELAXED) & bit)) __atomic_fetch_or(&byte, bit, __ATOMIC_RELAXED);
    }

    std::size_t capacity_ = 0, d_ = 0;
    std::vector<float> copies_;
};

} // namespace labrador
