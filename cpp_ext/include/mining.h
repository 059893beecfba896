// Batch-hard mining: for each row of a batch, the positive and the negative that teach it most, in both
// directions, and the gradient of their scores. Plain pointers only, as in kernels.h.
//
// Letters: n anchors, m others, d dimension.
#pragma once

#include "kernels.h"

namespace labrador {

// One side of a batch: (n, d), a row contiguous, and what each row shows. The stride counts elements.
struct Batch {
    const float *data;
    std::size_t n;
    std::ptrdiff_t stride;
    const std::int64_t *ids;
};

// For each row of one side, two rows of the other side. Where there is none the index is -1, the score NaN.
struct Hardest {
    std::int64_t *positive;
    float *positive_score;
    std::int64_t *negative;
    float *negative_score;
};

struct MiningRules {
    bool paired;       // the positive of row i is row i of the other side, whose id is the same
    bool semi_hard;    // negatives score below their row's positive; where there is none, any may be
    bool exclude_self; // row i of both sides is one item, which isn't its own positive; ids are the same
};

// Positive: the least score among rows of the same id. Negative: the largest among rows of another id. Of
// equal scores the lowest row number wins. A pair whose score isn't finite doesn't count. threads >= 1; the
// result doesn't depend on it, nor on the level.
void hard_triplets(const Batch &anchors, const Batch &others, std::size_t d, const MiningRules &, std::size_t threads,
                   const Level &, const Hardest &of_anchors, const Hardest &of_others);

// The same places as Hardest, and the gradient of a loss with respect to their scores.
struct ScoreGradients {
    const std::int64_t *positive;
    const float *positive_score;
    const std::int64_t *negative;
    const float *negative_score;
};

// The gradient with respect to the vectors: d_anchors (n, d) and d_others (m, d), written. A row's sum runs
// over its own positive, its own negative, and then the rows that chose it, in ascending order; one without a
// gradient is left out. The same bits for every number of threads.
void hard_triplets_gradient(const Batch &anchors, const Batch &others, std::size_t d, std::size_t threads,
                            const ScoreGradients &of_anchors, const ScoreGradients &of_others, float *d_anchors,
                            float *d_others);

} // namespace labrador
