// 64-bit keys that order hits as the project does, and a block-wide sort of them in shared memory.
#pragma once

#include <cstdint>

namespace labrador {
namespace {

using Key = unsigned long long;

constexpr int THREADS = 256;

// Larger key, better hit: the score's bits in the order of its value, then the smaller item. A score
// is finite and never -0, so equal scores have equal bits and no key is 0, which stands for "none".
__device__ inline Key make_key(float score, std::int64_t item) {
    const unsigned bits = __float_as_uint(score);
    const unsigned ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return static_cast<Key>(ordered) << 32 | (0xffffffffu - static_cast<unsigned>(item));
}

__device__ inline float key_score(Key key) {
    const unsigned ordered = static_cast<unsigned>(key >> 32);
    return __uint_as_float(ordered & 0x80000000u ? ordered & 0x7fffffffu : ~ordered);
}

__device__ inline std::int64_t key_item(Key key) { return 0xffffffffu - static_cast<unsigned>(key); }

// Bitonic sort of `size` keys (a power of two), largest first, by the whole block.
__device__ inline void sort_keys(Key *keys, int size) {
    for (int run = 2; run <= size; run *= 2)
        for (int gap = run / 2; gap > 0; gap /= 2) {
            __syncthreads();
            for (int i = threadIdx.x; i < size / 2; i += THREADS) {
                const int low = 2 * i - (i & (gap - 1)), high = low + gap;
                const bool descending = (low & run) == 0;
                const Key a = keys[low], b = keys[high];
                if ((a < b) == descending) {
                    keys[low] = b;
                    keys[high] = a;
                }
            }
        }
    __syncthreads();
}

// The best of sorted keys as results, by the whole block: min(kept, wanted) places.
__device__ inline void write_hits(const Key *keys, int kept, std::int64_t wanted, std::int64_t *indices, float *scores) {
    for (int i = threadIdx.x; i < kept && i < wanted; i += THREADS) {
        const Key key = keys[i];
        indices[i] = key ? key_item(key) : -1;
        scores[i] = key ? key_score(key) : -__int_as_float(0x7f800000);
    }
}

} // namespace
} // namespace labrador
