// The gradient of mined scores: every row of the result is a short sum of rows of the other side. The pairs
// are sorted by the row they add to, so no two threads add to one row and the order of a sum is fixed.
#include "mining.h"

#include "workers.h"

#include <algorithm>
#include <atomic>
#include <vector>

namespace labrador {
namespace {

constexpr std::size_t WORTH_A_THREAD = std::size_t(1) << 18; // multiply-adds, which wait for memory here
constexpr std::size_t ROWS_AT_ONCE = 64;

// d score / d target = the source row, so the target's gradient gains weight * source.
struct Term {
    std::size_t source;
    float weight;
};

// All terms, those of one target row together.
struct Terms {
    std::vector<std::size_t> begin; // (n + 1,)
    std::vector<Term> term;
};

// Calls visit(target, source, weight) for what adds to one side: its own choices, and then where it was chosen.
template <class Visit>
void each_term(const ScoreGradients &own, std::size_t n, const ScoreGradients &back, std::size_t m,
               const Visit &visit) {
    const auto one = [&](std::int64_t target, std::int64_t source, float weight) {
        if (target >= 0 && source >= 0 && weight != 0.0f)
            visit(static_cast<std::size_t>(target), static_cast<std::size_t>(source), weight);
    };
    for (std::size_t i = 0; i < n; ++i) {
        one(static_cast<std::int64_t>(i), own.positive[i], own.positive_score[i]);
        one(static_cast<std::int64_t>(i), own.negative[i], own.negative_score[i]);
    }
    for (std::size_t j = 0; j < m; ++j) {
        one(back.positive[j], static_cast<std::int64_t>(j), back.positive_score[j]);
        one(back.negative[j], static_cast<std::int64_t>(j), back.negative_score[j]);
    }
}

// A counting sort: within a target, terms stay in the order of each_term.
Terms sort_terms(const ScoreGradients &own, std::size_t n, const ScoreGradients &back, std::size_t m) {
    Terms terms{std::vector<std::size_t>(n + 2), {}};
    each_term(own, n, back, m, [&](std::size_t target, std::size_t, float) { ++terms.begin[target + 2]; });
    for (std::size_t i = 2; i < n + 2; ++i) terms.begin[i] += terms.begin[i - 1];
    terms.term.resize(terms.begin[n + 1]);
    each_term(own, n, back, m, [&](std::size_t target, std::size_t source, float weight) {
        terms.term[terms.begin[target + 1]++] = {source, weight};
    });
    return terms;
}

// sum += the K terms, one after another: several rows are under way from memory at once.
template <int K> void add_rows(const Term *term, const Batch &sources, std::size_t d, float *__restrict sum) {
    const float *row[K];
    for (int k = 0; k < K; ++k) row[k] = sources.data + static_cast<std::ptrdiff_t>(term[k].source) * sources.stride;
    for (std::size_t e = 0; e < d; ++e) {
        float total = sum[e];
        for (int k = 0; k < K; ++k) total += term[k].weight * row[k][e];
        sum[e] = total;
    }
}

void sum_row(const Term *first, const Term *last, const Batch &sources, std::size_t d, float *sum) {
    std::fill(sum, sum + d, 0.0f);
    for (; last - first >= 4; first += 4) add_rows<4>(first, sources, d, sum);
    if (last - first >= 2) {
        add_rows<2>(first, sources, d, sum);
        first += 2;
    }
    if (first != last) add_rows<1>(first, sources, d, sum);
}

void sum_terms(const Terms &terms, std::size_t n, const Batch &sources, std::size_t d, std::size_t threads,
               float *sums) {
    threads = std::min(threads, terms.term.size() * d / WORTH_A_THREAD + 1);
    std::atomic<std::size_t> next{0};
    run_workers(threads, [&](std::size_t) {
        for (std::size_t begin; (begin = next.fetch_add(ROWS_AT_ONCE)) < n;)
            for (std::size_t i = begin; i < std::min(n, begin + ROWS_AT_ONCE); ++i)
                sum_row(terms.term.data() + terms.begin[i], terms.term.data() + terms.begin[i + 1], sources, d,
                        sums + i * d);
    });
}

} // namespace

void hard_triplets_gradient(const Batch &anchors, const Batch &others, std::size_t d, std::size_t threads,
                            const ScoreGradients &of_anchors, const ScoreGradients &of_others, float *d_anchors,
                            float *d_others) {
    sum_terms(sort_terms(of_anchors, anchors.n, of_others, others.n), anchors.n, others, d, threads, d_anchors);
    sum_terms(sort_terms(of_others, others.n, of_anchors, anchors.n), others.n, anchors, d, threads, d_others);
}

} // namespace labrador
