// Every kernel, declared once. Plain pointers only: no header of the standard library's classes may
// reach a per-ISA unit, or the linker could pick its copy of an inline function for every machine.
//
// Letters: n queries, m gallery items, t tokens per item, d dimension, k hits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace labrador {

// ---- what a level brings ------------------------------------------------------------------------

// dots[i * rows + j] = queries[i] . gallery[j], where queries and gallery are arrays of row pointers,
// each row d contiguous floats. The one summation order of the project: element e is fused-multiply-
// added into lane e mod 16, lanes are added as a halving tree ((0+8), (1+9), ...; then 4, 2, 1), and
// a zero result is +0. Every level returns the same bits; the serial level is the oracle.
using DotTile = void (*)(const float *const *queries, std::size_t n, const float *const *gallery, std::size_t rows,
                         std::size_t d, float *dots);

// The codes' panels: 16 rows, and step s of a panel holds the 4 codes 4s .. 4s + 3 of each row in turn,
// so 64 bytes. A code c in -127 .. 127 is stored as the byte c + 128. depth is d rounded up to whole
// sixteens; the codes past d are 0.
constexpr std::size_t PANEL_ROWS = 16;
constexpr std::size_t PANEL_STEP = 4;

constexpr std::size_t code_depth(std::size_t d) { return (d + 15) / 16 * 16; }

// Of a panel's 16 rows: the scale of their codes, the norm of what the codes stand for, and the norm of
// what they leave out; the norms rounded up. A row whose leftover is infinite is never screened out.
struct PanelBounds {
    float scale[PANEL_ROWS], norm[PANEL_ROWS], residual[PANEL_ROWS];
};

// What the screen needs to know of a query besides its codes (codes.h says where these come from).
struct ScreenQuery {
    float scale;             // of its codes
    float residual, norm;    // factors of a row's norm and of a row's residual
    float threshold;         // a row whose upper bound is below it isn't wanted
    std::int32_t correction; // 128 times the sum of its codes: the stored bytes are codes + 128
};

// An upper bound on the score of each pair, from codes. queries[i]: depth signed codes; panels[j]: depth *
// 16 bytes; bounds[j] belongs to panels[j]. With dot the exact integer dot product of the codes,
//     upper = fma(float(dot) * query.scale, scale, fma(norm, query.residual, residual * query.norm))
// to the bit at every level. hits[i * count + j] has bit r set unless upper of row r of panel j is below
// query i's threshold (a NaN is a hit). Where hits isn't 0, or everywhere with `every`, the 16 uppers are
// stored at uppers[(i * count + j) * 16]; elsewhere nothing is. The order of the loops is the level's own.
using ScreenTile = void (*)(const std::int8_t *const *queries, const ScreenQuery *constants, std::size_t n,
                            const std::uint8_t *const *panels, const PanelBounds *const *bounds, std::size_t count,
                            std::size_t depth, bool every, std::uint16_t *hits, float *uppers);

// count IEEE half-precision numbers as floats, exactly.
using WidenHalf = void (*)(const std::uint16_t *from, std::size_t count, float *to);

struct Level {
    const char *name;
    DotTile dot_tile;
    ScreenTile screen_tile;
    WidenHalf widen_half;
    int query_limit; // query codes lie in -query_limit .. query_limit, at most 127
    bool supported;  // by this processor and operating system
};

// All compiled levels, slowest first.
const Level *levels(std::size_t *count);

#define LABRADOR_DECLARE_DOT(level)                                                                                    \
    void dot_tile_##level(const float *const *, std::size_t, const float *const *, std::size_t, std::size_t, float *)
#define LABRADOR_DECLARE_SCREEN(level)                                                                                 \
    void screen_tile_##level(const std::int8_t *const *, const ScreenQuery *, std::size_t,                             \
                             const std::uint8_t *const *, const PanelBounds *const *, std::size_t, std::size_t, bool,  \
                             std::uint16_t *, float *)
#define LABRADOR_DECLARE_WIDEN(level) void widen_half_##level(const std::uint16_t *, std::size_t, float *)

LABRADOR_DECLARE_DOT(serial);
LABRADOR_DECLARE_DOT(avx2);
LABRADOR_DECLARE_DOT(avx512);
LABRADOR_DECLARE_DOT(neon);
LABRADOR_DECLARE_SCREEN(serial);
LABRADOR_DECLARE_SCREEN(avx2);
LABRADOR_DECLARE_SCREEN(avxvnni);
LABRADOR_DECLARE_SCREEN(avx512);
LABRADOR_DECLARE_SCREEN(avx512vnni);
LABRADOR_DECLARE_SCREEN(neon);
LABRADOR_DECLARE_SCREEN(neondot);
LABRADOR_DECLARE_WIDEN(serial);
LABRADOR_DECLARE_WIDEN(avx2);
LABRADOR_DECLARE_WIDEN(neon);

// ---- a gallery ----------------------------------------------------------------------------------

enum class Element { float32, float16, bfloat16, int8 };

// The codes of a part: ceil(m * t / 16) panels (an item of more than one token begins a panel: then
// m * ceil(t / 16)), one PanelBounds each, and what was subtracted from every row before it was coded.
struct Codes {
    const std::uint8_t *panels;
    const PanelBounds *bounds;
    const float *mean; // (d,)
};

// Consecutive items of a gallery: (m, t, d), a row contiguous. Strides count elements. Every element type
// is widened to float32, which is exact, and then falls under the one rule.
struct Part {
    const void *data;
    Element element;
    std::size_t m;
    std::ptrdiff_t item_stride, token_stride;
    const Codes *codes;         // null: scored in full
    const std::uint8_t *mask;   // null: every item; bits are little-endian within a byte
    std::size_t mask_stride;    // bytes from one query's bits to the next's; 0: one mask for all queries
    const std::int64_t *labels; // what an item is called in the result, unique; null: first + its number
    std::int64_t first;
    std::uint8_t *read; // null, or ceil(m / 8) bytes: the bits of items whose data is read are set
};

struct Gallery {
    const Part *parts;
    std::size_t count;
    std::size_t t, d;
    std::size_t top_tokens; // an item scores the mean of its top_tokens largest dot products
};

struct Queries {
    const float *data;
    std::size_t n, d;
    std::ptrdiff_t stride;
};

// Query i must not return the labels excluded[excluded_begin[i] .. excluded_begin[i + 1]), which are sorted.
struct Filter {
    const std::int64_t *excluded; // null: none
    const std::int64_t *excluded_begin;
    float above; // a hit scores more than this
};

// ---- the operations -----------------------------------------------------------------------------

// labels (n, k), scores (n, k): best first, equal scores by ascending label; missing places are -1 and
// -inf. An item with a dot product that isn't finite is never a hit. threads >= 1.
void topk(const Queries &, const Gallery &, const Filter &, std::size_t k, std::size_t threads, const Level &,
          std::int64_t *labels, float *scores);

// scores[p] = score of query query_index[p] and item gallery_index[p]; NaN where a dot product isn't finite.
void score_pairs(const Queries &, const Gallery &, const std::int64_t *query_index, const std::int64_t *gallery_index,
                 std::size_t pairs, const Level &, float *scores);

// The mean of a sample of a part's rows: mean (d,). Rows that aren't finite don't count.
void mean_of(const Part &, std::size_t t, std::size_t d, const Level &, float *mean);

// Codes of every row: panels and bounds as Codes describes them, padding rows included.
void encode(const Part &, std::size_t t, std::size_t d, const float *mean, std::size_t threads, const Level &,
            std::uint8_t *panels, PanelBounds *bounds);

// uppers[q * m + i]: the screen's bound of query q and item i of a coded part with t = 1.
void upper_bounds(const Queries &, const Part &, std::size_t d, const Level &, float *uppers);

} // namespace labrador
