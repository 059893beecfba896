// Whole batches mined, and the gradient of what was found.
#include "mining.h"

#include "guarded.h"
#include "operations.h"

using namespace labrador;

namespace {

// (n, d) of a case in guarded memory, dense, and ids if they are wanted.
Batch side(const Guarded &rows, std::size_t n, std::size_t d, const std::int64_t *ids) {
    return {rows.as<float>(), n, static_cast<std::ptrdiff_t>(d), ids};
}

Guarded floats(const Case &c, std::size_t which, std::size_t count, std::size_t shift) {
    return {1, count * sizeof(float), shift * sizeof(float), array(c, which, count * sizeof(float)).data()};
}

Guarded whole(const Case &c, std::size_t which, std::size_t count, std::size_t shift) {
    return {1, count * sizeof(std::int64_t), shift * sizeof(std::int64_t),
            array(c, which, count * sizeof(std::int64_t)).data()};
}

} // namespace

bool run_mining(const Case &c, const Level &level, std::size_t shift) {
    enum { N, M, D, PAIRED, SEMI_HARD, EXCLUDE_SELF, THREADS };
    enum { ANCHORS, OTHERS, ANCHOR_IDS, OTHER_IDS, POSITIVE, POSITIVE_SCORE, NEGATIVE, NEGATIVE_SCORE };
    const std::size_t n = number(c, N), m = number(c, M), d = number(c, D), all = n + m;
    const Guarded anchors = floats(c, ANCHORS, n * d, shift), others = floats(c, OTHERS, m * d, shift);
    const Guarded anchor_ids = whole(c, ANCHOR_IDS, n, shift), other_ids = whole(c, OTHER_IDS, m, shift);
    const auto out = [&](std::size_t bytes) { return Guarded(1, all * bytes, shift * bytes); };
    const Guarded positive = out(sizeof(std::int64_t)), positive_score = out(sizeof(float));
    const Guarded negative = out(sizeof(std::int64_t)), negative_score = out(sizeof(float));
    const Hardest first{positive.as<std::int64_t>(), positive_score.as<float>(), negative.as<std::int64_t>(),
                        negative_score.as<float>()};
    const Hardest second{first.positive + n, first.positive_score + n, first.negative + n, first.negative_score + n};
    hard_triplets(side(anchors, n, d, anchor_ids.as<std::int64_t>()), side(others, m, d, other_ids.as<std::int64_t>()),
                  d, {number(c, PAIRED) != 0, number(c, SEMI_HARD) != 0, number(c, EXCLUDE_SELF) != 0},
                  number(c, THREADS), level, first, second);
    expect_floats("positives' scores", array(c, POSITIVE_SCORE, all * sizeof(float)), first.positive_score);
    expect_floats("negatives' scores", array(c, NEGATIVE_SCORE, all * sizeof(float)), first.negative_score);
    expect_bytes("positives", array(c, POSITIVE, all * sizeof(std::int64_t)), first.positive);
    expect_bytes("negatives", array(c, NEGATIVE, all * sizeof(std::int64_t)), first.negative);
    return true;
}

bool run_slopes(const Case &c, const Level &, std::size_t shift) {
    enum { N, M, D, THREADS };
    enum { ANCHORS, OTHERS, POSITIVE, POSITIVE_SCORE, NEGATIVE, NEGATIVE_SCORE, D_ANCHORS, D_OTHERS };
    const std::size_t n = number(c, N), m = number(c, M), d = number(c, D), all = n + m;
    const Guarded anchors = floats(c, ANCHORS, n * d, shift), others = floats(c, OTHERS, m * d, shift);
    const Guarded positive = whole(c, POSITIVE, all, shift), negative = whole(c, NEGATIVE, all, shift);
    const Guarded of_positive = floats(c, POSITIVE_SCORE, all, shift);
    const Guarded of_negative = floats(c, NEGATIVE_SCORE, all, shift);
    const ScoreGradients first{positive.as<std::int64_t>(), of_positive.as<float>(), negative.as<std::int64_t>(),
                               of_negative.as<float>()};
    const ScoreGradients second{first.positive + n, first.positive_score + n, first.negative + n,
                                first.negative_score + n};
    const Guarded d_anchors(1, n * d * sizeof(float), shift * sizeof(float));
    const Guarded d_others(1, m * d * sizeof(float), shift * sizeof(float));
    hard_triplets_gradient(side(anchors, n, d, nullptr), side(others, m, d, nullptr), d, number(c, THREADS), first,
                           second, d_anchors.as<float>(), d_others.as<float>());
    expect_floats("gradient of the anchors", array(c, D_ANCHORS, n * d * sizeof(float)), d_anchors.as<float>());
    expect_floats("gradient of the others", array(c, D_OTHERS, m * d * sizeof(float)), d_others.as<float>());
    return true;
}
