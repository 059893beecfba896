// What a case of each operation holds, and how it is run on a level. Arrays are C order; the ones after
// the arrow must come out, bit for bit, except that a NaN may be any NaN. Outputs begin as bytes of 0xa5,
// which stay where an operation has nothing to write.
//
//     dot      numbers n rows d                queries (n, d) f32, gallery (rows, d) f32 -> dots (n, rows) f32
//     screen   numbers n count depth every     queries (n, depth) i8, constants (n,) ScreenQuery, panels
//                                              (count, depth * 16) u8, bounds (count,) PanelBounds
//                                              -> hits (n, count) u16, uppers (n, count, 16) f32
//     widen    numbers count                   from (count,) u16 -> to (count,) f32
//     topk     numbers n d query_stride t top_tokens k threads coded above parts, where above is a float's
//              bits; and per part element m item_stride token_stride mask_stride first
//                                              queries f32, excluded i64, excluded_begin i64 (empty: none),
//                                              per part data, mask, labels (the last two empty: none)
//                                              -> labels (n, k) i64, scores (n, k) f32
//     pairs    numbers d m t top_tokens        queries (n, d) f32, gallery (m, t, d) f32, query_index i64,
//                                              gallery_index i64 -> scores f32
//     mining   numbers n m d paired semi_hard exclude_self threads
//                                              anchors (n, d) f32, others (m, d) f32, anchor_ids (n,) i64,
//                                              other_ids (m,) i64 -> positives (n + m,) i64, their scores f32,
//                                              negatives (n + m,) i64, their scores f32
//     slopes   numbers n m d threads           anchors (n, d) f32, others (m, d) f32, positives (n + m,) i64,
//                                              gradients of their scores f32, negatives i64, gradients f32
//                                              -> gradients (n, d) f32, (m, d) f32
#pragma once

#include "case_file.h"
#include "kernels.h"

// Whether the level is meant for the case. Throws Difference when the result isn't the expected one.
// `shift`: how many elements before the guard page arrays end.
using Operation = bool (*)(const Case &, const labrador::Level &, std::size_t shift);

bool run_dot(const Case &, const labrador::Level &, std::size_t shift);
bool run_screen(const Case &, const labrador::Level &, std::size_t shift);
bool run_widen(const Case &, const labrador::Level &, std::size_t shift);
bool run_topk(const Case &, const labrador::Level &, std::size_t shift);
bool run_pairs(const Case &, const labrador::Level &, std::size_t shift);
bool run_mining(const Case &, const labrador::Level &, std::size_t shift);
bool run_slopes(const Case &, const labrador::Level &, std::size_t shift);

struct Difference : std::runtime_error {
    using std::runtime_error::runtime_error;
};

void expect_floats(const char *what, const std::vector<std::uint8_t> &expected, const float *found);
void expect_bytes(const char *what, const std::vector<std::uint8_t> &expected, const void *found);

// The case's numbers and arrays, checked against each other.
std::size_t number(const Case &, std::size_t which);
const std::vector<std::uint8_t> &array(const Case &, std::size_t which, std::size_t bytes);
