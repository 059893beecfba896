// What a machine can do at most: loops that only read, or only multiply and add. A kernel's time is
// compared with theirs. Plain pointers only, as in kernels.h: per-ISA units include this.
#pragma once

#include <cstddef>
#include <cstdint>

namespace labrador {

enum class FloorLoop {
    read, // data, from end to end
    fma,  // float multiply-adds in registers
    mac,  // int8 multiply-adds in registers: into 32 bits, or into 16 where a level has no such instruction
};

struct FloorWork {
    const std::uint8_t *data; // aligned to 64 bytes; read only by `read`
    std::size_t bytes;        // whole multiples of 4096
    std::size_t ahead;        // bytes from a load to the line fetched along with it; 0 fetches none
    std::size_t rounds;       // of the loop: readings of the data, or blocks of instructions
};

// What one call did: bytes read, or multiply-adds; 0 where the level brings no such loop. Something that
// depends on every result goes to *sink, so that no loop can be optimised away.
using Floor = std::uint64_t (*)(FloorLoop, const FloorWork &, std::uint32_t *sink);

#define LABRADOR_DECLARE_FLOOR(level) std::uint64_t floor_##level(FloorLoop, const FloorWork &, std::uint32_t *)

LABRADOR_DECLARE_FLOOR(serial);
LABRADOR_DECLARE_FLOOR(avx2);
LABRADOR_DECLARE_FLOOR(avxvnni);
LABRADOR_DECLARE_FLOOR(avx512);
LABRADOR_DECLARE_FLOOR(avx512vnni);
LABRADOR_DECLARE_FLOOR(neon);
LABRADOR_DECLARE_FLOOR(neondot);

struct FloorRun {
    std::uint64_t operations; // 0: the level, or this machine, has no such loop
    double seconds;
};

// The loop of the level of that name on `threads` threads at once, each with its own part of the data.
FloorRun run_floor(const char *level, FloorLoop loop, const FloorWork &work, std::size_t threads);

} // namespace labrador
