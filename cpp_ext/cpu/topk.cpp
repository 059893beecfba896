// Fused similarity and top-k: scores live in a buffer of one tile and are gone before the next.
// What a level brings is the tile of dot products; masks, selection and threads are here, once.
#include "kernels.h"
#include "scan.h"
#include "workers.h"

#include <atomic>

namespace labrador {
namespace {

constexpr std::size_t WORTH_A_THREAD = std::size_t(1) << 20; // multiply-adds: some 50 us, what a thread costs

// The queries copied so that each begins a cache line: a vector load that straddles two takes twice as
// long, and every query is loaded once per gallery row. One more line between queries keeps those of
// a power-of-two length out of each other's cache sets.
class AlignedQueries {
  public:
    explicit AlignedQueries(const Queries &from) {
        const std::size_t line = 64 / sizeof(float), stride = (from.d + line - 1) / line * line + line;
        storage_.resize(from.n * stride + line);
        const std::size_t past = reinterpret_cast<std::uintptr_t>(storage_.data()) % 64 / sizeof(float);
        float *first = storage_.data() + (line - past) % line;
        for (std::size_t i = 0; i < from.n; ++i)
            std::memcpy(first + i * stride, from.data + static_cast<std::ptrdiff_t>(i) * from.stride,
                        from.d * sizeof(float));
        queries = {first, from.n, from.d, static_cast<std::ptrdiff_t>(stride)};
    }

    Queries queries;

  private:
    std::vector<float> storage_;
};

void write_hits(std::vector<Hit> &hits, std::size_t k, std::int64_t *indices, float *scores) {
    keep_best(hits, k);
    for (std::size_t place = 0; place < k; ++place) {
        const bool found = place < hits.size();
        indices[place] = found ? hits[place].row : -1;
        scores[place] = found ? hits[place].score : -std::numeric_limits<float>::infinity();
    }
}

} // namespace

void topk(const Queries &given, const Gallery &gallery, const Filter &filter, std::size_t k, std::size_t threads,
          DotTile tile, std::int64_t *indices, float *scores) {
    const std::size_t n = given.n, m = gallery.m;
    if (n == 0) return;
    const AlignedQueries aligned(given);
    const Queries &queries = aligned.queries;
    threads = std::min(threads, n * m * gallery.t * gallery.d / WORTH_A_THREAD + 1);
    std::vector<Scan> scans(threads, Scan(queries, gallery, filter, k, tile));

    if (m < threads * 4 * WORD) { // few items: each thread takes queries and sees the whole gallery
        const std::size_t slice = std::min(GROUP_QUERIES, (n + threads - 1) / threads);
        std::atomic<std::size_t> next{0};
        run_workers(threads, [&](std::size_t worker) {
            Scan &scan = scans[worker];
            for (std::size_t q; (q = next.fetch_add(slice)) < n;) {
                scan.start(q, std::min(n, q + slice));
                scan.range(0, m);
                for (std::size_t i = 0; i < scan.selections.size(); ++i)
                    write_hits(scan.selections[i].hits, k, indices + (q + i) * k, scores + (q + i) * k);
            }
        });
        return;
    }
    // Many items: each thread takes ranges of the gallery, which is read once per group of queries. The
    // order of hits is total, so the merged best don't depend on who scanned what.
    const std::size_t words = (m + WORD - 1) / WORD;
    const std::size_t chunk = std::max<std::size_t>(1, words / (threads * 8)) * WORD;
    for (std::size_t q = 0; q < n; q += GROUP_QUERIES) {
        const std::size_t end = std::min(n, q + GROUP_QUERIES);
        for (Scan &scan : scans) scan.start(q, end);
        std::atomic<std::size_t> next{0};
        run_workers(threads, [&](std::size_t worker) {
            for (std::size_t begin; (begin = next.fetch_add(chunk)) < m;)
                scans[worker].range(begin, std::min(m, begin + chunk));
        });
        for (std::size_t i = 0; i < end - q; ++i) {
            std::vector<Hit> &all = scans[0].selections[i].hits;
            for (std::size_t worker = 1; worker < threads; ++worker) {
                const std::vector<Hit> &more = scans[worker].selections[i].hits;
                all.insert(all.end(), more.begin(), more.end());
            }
            write_hits(all, k, indices + (q + i) * k, scores + (q + i) * k);
        }
    }
}

void score_pairs(const Queries &queries, const Gallery &gallery, const std::int64_t *query_index,
                 const std::int64_t *gallery_index, std::size_t pairs, DotTile tile, float *scores) {
    std::vector<const float *> rows(gallery.t);
    std::vector<float> dots(gallery.t);
    for (std::size_t p = 0; p < pairs; ++p) {
        const float *query = queries.data + query_index[p] * queries.stride;
        for (std::size_t token = 0; token < gallery.t; ++token)
            rows[token] = gallery.data + gallery_index[p] * gallery.item_stride +
                          static_cast<std::ptrdiff_t>(token) * gallery.token_stride;
        tile(&query, 1, rows.data(), gallery.t, gallery.d, dots.data());
        scores[p] = late_score(dots.data(), gallery.t, gallery.top_tokens);
    }
}

} // namespace labrador
