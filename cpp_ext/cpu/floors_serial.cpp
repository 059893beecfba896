// Baseline loops: the compiler's own vectors, whatever every processor of the architecture has.
#include "floors.h"

#include <cstring>

namespace labrador {
namespace {

constexpr std::size_t BLOCK = 256; // instructions' worth of work per round, so that the loop costs nothing

std::uint64_t read(const FloorWork &work, std::uint32_t *sink) {
    std::uint64_t sums[8] = {};
    for (std::size_t round = 0; round < work.rounds; ++round)
        for (std::size_t at = 0; at < work.bytes; at += 64) {
            if (work.ahead != 0) __builtin_prefetch(work.data + at + work.ahead);
            std::uint64_t line[8];
            std::memcpy(line, work.data + at, 64);
            for (int i = 0; i < 8; ++i) sums[i] += line[i];
        }
    for (const std::uint64_t sum : sums) *sink ^= static_cast<std::uint32_t>(sum ^ (sum >> 32));
    return work.rounds * static_cast<std::uint64_t>(work.bytes);
}

// 32 independent sums hide the latency of a multiplication and an addition in vectors of four.
std::uint64_t multiply_floats(const FloorWork &work, std::uint32_t *sink) {
    constexpr int LANES = 32;
    float sums[LANES], factor = 1.0f - static_cast<float>(work.rounds % 2) * 0x1p-20f;
    for (int i = 0; i < LANES; ++i) sums[i] = static_cast<float>(i);
    for (std::size_t step = 0; step < work.rounds * BLOCK; ++step)
        for (int i = 0; i < LANES; ++i) sums[i] = sums[i] * factor + 0x1p-10f;
    float all = 0;
    for (const float sum : sums) all += sum;
    std::memcpy(sink, &all, sizeof(all));
    return static_cast<std::uint64_t>(work.rounds) * BLOCK * LANES;
}

} // namespace

std::uint64_t floor_serial(FloorLoop loop, const FloorWork &work, std::uint32_t *sink) {
    if (loop == FloorLoop::read) return read(work, sink);
    return loop == FloorLoop::fma ? multiply_floats(work, sink) : 0;
}

} // namespace labrador
