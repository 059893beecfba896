// What came out against what had to.
#include "operations.h"

#include <cmath>
#include <cstdio>

void expect_floats(const char *what, const std::vector<std::uint8_t> &expected, const float *found) {
    for (std::size_t i = 0; i < expected.size() / sizeof(float); ++i) {
        float wanted;
        std::memcpy(&wanted, expected.data() + i * sizeof wanted, sizeof wanted);
        if (std::memcmp(&wanted, found + i, sizeof wanted) == 0 || (std::isnan(wanted) && std::isnan(found[i])))
            continue;
        char text[128];
        std::snprintf(text, sizeof text, "%s[%zu] is %a, not %a", what, i, static_cast<double>(found[i]),
                      static_cast<double>(wanted));
        throw Difference(text);
    }
}

void expect_bytes(const char *what, const std::vector<std::uint8_t> &expected, const void *found) {
    const auto *bytes = static_cast<const std::uint8_t *>(found);
    for (std::size_t i = 0; i < expected.size(); ++i)
        if (bytes[i] != expected[i])
            throw Difference(std::string(what) + " differ at byte " + std::to_string(i) + ": " +
                             std::to_string(bytes[i]) + ", not " + std::to_string(expected[i]));
}

std::size_t number(const Case &c, std::size_t which) {
    if (which >= c.numbers.size()) throw std::runtime_error(c.operation + " lacks number " + std::to_string(which));
    if (c.numbers[which] < 0) throw std::runtime_error(c.operation + " has a negative number " + std::to_string(which));
    return static_cast<std::size_t>(c.numbers[which]);
}

const std::vector<std::uint8_t> &array(const Case &c, std::size_t which, std::size_t bytes) {
    if (which >= c.arrays.size()) throw std::runtime_error(c.operation + " lacks array " + std::to_string(which));
    if (c.arrays[which].size() != bytes)
        throw std::runtime_error(c.operation + "'s array " + std::to_string(which) + " has " +
                                 std::to_string(c.arrays[which].size()) + " bytes, not " + std::to_string(bytes));
    return c.arrays[which];
}
