// A rotation that evens out what vectors are made of, so that one large element doesn't coarsen the codes of
// all others: each element gets a fixed sign, then blocks of a power of two are Hadamard-transformed. Inner
// products stay what they are. For baseline units only.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

namespace labrador {

// Of Knuth's multiplicative hash, the highest bit.
inline bool flips(std::size_t element) { return static_cast<std::uint32_t>(element) * 2654435761u >> 31; }

// d elements, rotated in place. In float the result is off by at most (log2(d) + 2) 2^-24 of its length.
template <class Real> void rotate(Real *x, std::size_t d) {
    for (std::size_t e = 0; e < d; ++e) x[e] = flips(e) ? -x[e] : x[e];
    for (std::size_t begin = 0; begin < d;) {
        std::size_t size = 1;
        while (2 * size <= d - begin) size *= 2;
        Real *const block = x + begin;
        for (std::size_t half = 1; half < size; half *= 2)
            for (std::size_t pair = 0; pair < size; pair += 2 * half)
                for (std::size_t e = pair; e < pair + half; ++e) {
                    const Real a = block[e], b = block[e + half];
                    block[e] = a + b;
                    block[e + half] = a - b;
                }
        const Real scale = static_cast<Real>(1 / std::sqrt(static_cast<double>(size)));
        for (std::size_t e = 0; e < size; ++e) block[e] *= scale;
        begin += size;
    }
}

} // namespace labrador
