// Runs a level's loops on several threads at once.
#include "floors.h"
#include "kernels.h"
#include "workers.h"

#include <atomic>
#include <chrono>
#include <cstring>

namespace labrador {
namespace {

struct Named {
    const char *level;
    Floor floor;
};

constexpr Named TABLE[] = {
    {"serial", floor_serial},
#ifdef LABRADOR_AVX2
    {"avx2", floor_avx2},
#endif
#ifdef LABRADOR_AVXVNNI
    {"avxvnni", floor_avxvnni},
#endif
#ifdef LABRADOR_AVX512
    {"avx512", floor_avx512},
#endif
#ifdef LABRADOR_AVX512VNNI
    {"avx512vnni", floor_avx512vnni},
#endif
#ifdef LABRADOR_NEON
    {"neon", floor_neon},
#endif
#ifdef LABRADOR_NEONDOT
    {"neondot", floor_neondot},
#endif
};

bool runs_here(const char *name) {
    std::size_t count;
    const Level *table = levels(&count);
    for (std::size_t i = 0; i < count; ++i)
        if (std::strcmp(table[i].name, name) == 0) return table[i].supported;
    return false;
}

} // namespace

FloorRun run_floor(const char *level, FloorLoop loop, const FloorWork &work, std::size_t threads) {
    Floor floor = nullptr;
    for (const Named &entry : TABLE)
        if (std::strcmp(entry.level, level) == 0) floor = entry.floor;
    if (floor == nullptr || !runs_here(level)) return {0, 0.0};

    constexpr std::size_t PAGE = 4096;
    const std::size_t share = work.bytes / threads / PAGE * PAGE;
    std::atomic<std::uint64_t> operations{0};
    std::atomic<std::uint32_t> sink{0};
    const auto began = std::chrono::steady_clock::now();
    run_workers(threads, [&](std::size_t worker) {
        std::uint32_t result = 0;
        const FloorWork own{work.data + worker * share, share, work.ahead, work.rounds};
        operations += floor(loop, own, &result);
        sink ^= result;
    });
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    return {operations, took.count()};
}

} // namespace labrador
