// Batch-hard mining: each tile of scores serves its rows and its columns and is gone before the next.
// Positives come first, from the runs of equal ids alone: they are few, and semi-hard negatives need them.
#include "mining.h"

#include "extremes.h"
#include "mining_sides.h"
#include "workers.h"

#include <atomic>
#include <cmath>

namespace labrador {
namespace {

constexpr std::size_t STRIP_ROWS = 4 * TILE_ROWS;            // 384 KiB at d = 512: stay in L2 while the others pass by
constexpr std::size_t WORTH_A_THREAD = std::size_t(1) << 20; // multiply-adds: some 50 us, what a thread costs
constexpr float UNLIMITED = std::numeric_limits<float>::infinity();
constexpr float NO_SCORE = std::numeric_limits<float>::quiet_NaN();

// The best of each row and of each column, by place.
struct Bests {
    std::vector<Hit> rows, columns;
};

// Strips of rows, shared out among the workers. The order of hits is total, so it doesn't matter which worker
// saw which rows of a column.
template <class Strip> Bests over_strips(std::size_t n, std::size_t m, std::size_t threads, const Strip &strip) {
    Bests bests{std::vector<Hit>(n, Hit{NOTHING, -1}), {}};
    std::vector<std::vector<Hit>> columns(threads, std::vector<Hit>(m, Hit{NOTHING, -1}));
    const std::size_t strips = (n + threads * STRIP_ROWS - 1) / (threads * STRIP_ROWS) * threads; // as many for each
    std::atomic<std::size_t> next{0};
    run_workers(threads, [&](std::size_t worker) {
        for (std::size_t s; (s = next.fetch_add(1)) < strips;)
            strip(Run{n * s / strips, n * (s + 1) / strips}, bests.rows.data(), columns[worker].data());
    });
    bests.columns = std::move(columns[0]);
    for (std::size_t worker = 1; worker < threads; ++worker)
        for (std::size_t j = 0; j < m; ++j)
            if (better(columns[worker][j], bests.columns[j])) bests.columns[j] = columns[worker][j];
    return bests;
}

template <class Visit> void over_tiles(const Run &rows, const Run &columns, const Visit &visit) {
    for (std::size_t c = columns.begin; c < columns.end; c += TILE_COLUMNS)
        for (std::size_t r = rows.begin; r < rows.end; r += TILE_ROWS)
            visit(Run{r, std::min(r + TILE_ROWS, rows.end)}, Run{c, std::min(c + TILE_COLUMNS, columns.end)});
}

class Miner {
  public:
    Miner(const Batch &anchors, const Batch &others, std::size_t d, std::size_t threads, const Level &level)
        : anchors_(anchors, d), others_(others, d), d_(d), threads_(threads), dot_tile_(level.dot_tile),
          row_limit_(anchors.n, UNLIMITED), column_limit_(others.n, UNLIMITED) {
        anchors_.meet(others_);
    }

    // The least score is the largest of the negated ones.
    Bests positives(bool exclude_self) const {
        std::size_t pairs = 0;
        for (const Run &same : anchors_.same) pairs += same.end - same.begin;
        const auto tile = [&](const Run &r, const Run &c, Hit *rows, Hit *columns) {
            float scores[TILE_ROWS * TILE_COLUMNS];
            const std::size_t width = score(r, c, scores);
            for (std::size_t s = 0; s < (r.end - r.begin) * width; ++s) scores[s] = -scores[s];
            if (exclude_self) // then both sides have one order
                for (std::size_t self = std::max(r.begin, c.begin); self < std::min(r.end, c.end); ++self)
                    scores[(self - r.begin) * width + self - c.begin] = NOTHING;
            choose_from(r, c, scores, rows, columns);
        };
        return over_strips(anchors_.size(), others_.size(), worth(pairs), [&](Run strip, Hit *rows, Hit *columns) {
            while (strip.begin < strip.end) {
                Run one{strip.begin, strip.begin + 1};
                while (one.end < strip.end && anchors_.id[one.end] == anchors_.id[one.begin]) ++one.end;
                over_tiles(one, anchors_.same[one.begin],
                           [&](const Run &r, const Run &c) { tile(r, c, rows, columns); });
                strip.begin = one.end;
            }
        });
    }

    // Only what scores below the positive of whoever chooses it.
    void limit(const Hardest &of_anchors, const Hardest &of_others) {
        limited_ = true;
        const auto below = [](float positive) { return std::isnan(positive) ? UNLIMITED : positive; };
        for (std::size_t i = 0; i < anchors_.size(); ++i)
            row_limit_[i] = below(of_anchors.positive_score[anchors_.number[i]]);
        for (std::size_t j = 0; j < others_.size(); ++j)
            column_limit_[j] = below(of_others.positive_score[others_.number[j]]);
    }

    Bests negatives() const {
        const std::size_t n = anchors_.size(), m = others_.size();
        const auto tile = [&](const Run &r, const Run &c, Hit *rows, Hit *columns) {
            const Run &first = anchors_.same[r.begin], &last = anchors_.same[r.end - 1];
            if (last.begin <= c.begin && first.end >= c.end) return; // every pair is of one id
            float scores[TILE_ROWS * TILE_COLUMNS];
            const std::size_t width = score(r, c, scores);
            if (first.begin < c.end && last.end > c.begin)
                for (std::size_t i = r.begin; i < r.end; ++i) {
                    const std::size_t begin = std::max(anchors_.same[i].begin, c.begin);
                    const std::size_t end = std::min(anchors_.same[i].end, c.end);
                    for (std::size_t j = begin; j < end; ++j) scores[(i - r.begin) * width + j - c.begin] = NOTHING;
                }
            choose_from(r, c, scores, rows, columns);
        };
        return over_strips(n, m, worth(n * m), [&](const Run &strip, Hit *rows, Hit *columns) {
            over_tiles(strip, Run{0, m}, [&](const Run &r, const Run &c) { tile(r, c, rows, columns); });
        });
    }

    // From places to row numbers.
    void write(const Bests &bests, float sign, std::int64_t *anchor_index, float *anchor_score,
               std::int64_t *other_index, float *other_score) const {
        const auto side = [sign](const Side &of, const std::vector<Hit> &best, std::int64_t *index, float *score) {
            for (std::size_t place = 0; place < best.size(); ++place) {
                index[of.number[place]] = best[place].label;
                score[of.number[place]] = best[place].label < 0 ? NO_SCORE : sign * best[place].score;
            }
        };
        side(anchors_, bests.rows, anchor_index, anchor_score);
        side(others_, bests.columns, other_index, other_score);
    }

  private:
    std::size_t worth(std::size_t pairs) const { return std::min(threads_, pairs * d_ / WORTH_A_THREAD + 1); }

    std::size_t score(const Run &r, const Run &c, float *scores) const {
        const std::size_t width = c.end - c.begin;
        dot_tile_(anchors_.row.data() + r.begin, r.end - r.begin, others_.row.data() + c.begin, width, d_, scores);
        return width;
    }

    void choose_from(const Run &r, const Run &c, const float *scores, Hit *rows, Hit *columns) const {
        const Tile tile{scores,
                        r.end - r.begin,
                        c.end - c.begin,
                        anchors_.number.data() + r.begin,
                        others_.number.data() + c.begin,
                        row_limit_.data() + r.begin,
                        column_limit_.data() + c.begin};
        if (limited_)
            choose<true>(tile, rows + r.begin, columns + c.begin);
        else
            choose<false>(tile, rows + r.begin, columns + c.begin);
    }

    Side anchors_, others_;
    std::size_t d_, threads_;
    DotTile dot_tile_;
    bool limited_ = false;
    std::vector<float> row_limit_, column_limit_;
};

// Row i of one side and row i of the other are a pair.
void pair(const Batch &anchors, const Batch &others, std::size_t d, DotTile dot_tile, const Hardest &of_anchors,
          const Hardest &of_others) {
    for (std::size_t i = 0; i < anchors.n; ++i) {
        const auto number = static_cast<std::ptrdiff_t>(i);
        const float *anchor = anchors.data + number * anchors.stride, *other = others.data + number * others.stride;
        float score;
        dot_tile(&anchor, 1, &other, 1, d, &score);
        const bool sound = std::fabs(score) <= FLT_MAX;
        of_anchors.positive[i] = of_others.positive[i] = sound ? number : -1;
        of_anchors.positive_score[i] = of_others.positive_score[i] = sound ? score : NO_SCORE;
    }
}

} // namespace

void hard_triplets(const Batch &anchors, const Batch &others, std::size_t d, const MiningRules &rules,
                   std::size_t threads, const Level &level, const Hardest &of_anchors, const Hardest &of_others) {
    Miner miner(anchors, others, d, threads, level);
    if (rules.paired)
        pair(anchors, others, d, level.dot_tile, of_anchors, of_others);
    else
        miner.write(miner.positives(rules.exclude_self), -1.0f, of_anchors.positive, of_anchors.positive_score,
                    of_others.positive, of_others.positive_score);
    if (rules.semi_hard) miner.limit(of_anchors, of_others);
    miner.write(miner.negatives(), 1.0f, of_anchors.negative, of_anchors.negative_score, of_others.negative,
                of_others.negative_score);
}

} // namespace labrador
