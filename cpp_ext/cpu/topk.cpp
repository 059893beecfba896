// Fused similarity and top-k: scores live in a buffer of one tile and are gone before the next.
// What a level brings is its tiles; masks, candidates, selection and threads are here, once.
#include "search_worker.h"
#include "spare.h"
#include "workers.h"

namespace labrador {
namespace {

constexpr std::size_t WORTH_A_THREAD = std::size_t(1) << 21; // multiply-adds: some 50 us, what a thread costs
constexpr std::size_t QUERY_BYTES = std::size_t(1) << 19;    // codes of the queries that share a reading: half of L2
constexpr std::size_t MANY_HITS = 8; // of more hits than one item in so many, there is nothing to screen out

// The queries copied so that each begins a cache line: a vector load that straddles two takes twice as
// long, and every query is loaded once per gallery row. One more line between queries keeps those of
// a power-of-two length out of each other's cache sets.
class AlignedQueries {
  public:
    void start(const Queries &from) {
        const std::size_t line = 64 / sizeof(float), stride = (from.d + line - 1) / line * line + line;
        storage_.resize(from.n * stride + line);
        const std::size_t past = reinterpret_cast<std::uintptr_t>(storage_.data()) % 64 / sizeof(float);
        float *first = storage_.data() + (line - past) % line;
        for (std::size_t i = 0; i < from.n; ++i)
            std::memcpy(first + i * stride, from.data + static_cast<std::ptrdiff_t>(i) * from.stride,
                        from.d * sizeof(float));
        queries = {first, from.n, from.d, static_cast<std::ptrdiff_t>(stride)};
    }

    Queries queries{};

  private:
    std::vector<float> storage_;
};

bool any_codes(const Gallery &gallery) {
    for (std::size_t part = 0; part < gallery.count; ++part)
        if (gallery.parts[part].codes) return true;
    return false;
}

void write_hits(const std::vector<Hit> &hits, std::size_t k, std::int64_t *labels, float *scores) {
    for (std::size_t place = 0; place < k; ++place) {
        const bool found = place < hits.size();
        labels[place] = found ? hits[place].label : -1;
        scores[place] = found ? hits[place].score : -std::numeric_limits<float>::infinity();
    }
}

// Everything a call needs besides its arguments and results.
struct Scratch {
    AlignedQueries aligned;
    CodedQueries coded;
    std::vector<Chunk> chunks;
    std::vector<Worker> workers;
    std::vector<SharedLeast> least;
};

} // namespace

void topk(const Queries &given, const Gallery &gallery, const Filter &filter, std::size_t k, std::size_t threads,
          const Level &level, std::int64_t *labels, float *scores) {
    if (given.n == 0) return;
    const Spare<Scratch> scratch; // of an earlier call: once it has grown, nothing is allocated
    scratch->aligned.start(given);
    const Queries &queries = scratch->aligned.queries;
    std::vector<Chunk> &chunks = scratch->chunks;
    list_chunks(gallery, threads, chunks);
    std::size_t m = 0;
    for (const Chunk &chunk : chunks) m += chunk.end - chunk.begin;

    const bool screen = any_codes(gallery) && k * MANY_HITS < m;
    CodedQueries &coded = scratch->coded;
    if (screen) coded.start(queries, level.query_limit);
    const std::size_t group = std::max<std::size_t>(48, QUERY_BYTES / code_depth(queries.d) / 48 * 48);

    threads = std::min(threads, queries.n * m * gallery.t * gallery.d / WORTH_A_THREAD + 1);
    // With fewer chunks than threads, each thread takes queries and sees all items.
    const bool share_queries = chunks.size() < threads;
    std::vector<Worker> &workers = scratch->workers;
    if (workers.size() < threads) workers.resize(threads);
    std::vector<SharedLeast> &least = scratch->least;
    least.assign(queries.n, SharedLeast(filter.above));

    if (share_queries) {
        const std::size_t slice = std::min(group, (queries.n + threads - 1) / threads);
        std::atomic<std::size_t> next{0};
        run_workers(threads, [&](std::size_t number) {
            Worker &worker = workers[number];
            for (std::size_t first; (first = next.fetch_add(slice)) < queries.n;) {
                const std::size_t end = std::min(queries.n, first + slice);
                worker.start(queries, screen ? &coded : nullptr, gallery, filter, level, k, first, end,
                             least.data() + first);
                for (const Chunk &chunk : chunks) worker.scan(chunk);
                for (std::size_t q = first; q < end; ++q) {
                    worker.finish(q, {});
                    write_hits(worker.contests[q - first].selection.hits, k, labels + q * k, scores + q * k);
                }
            }
        });
        return;
    }
    // Each thread takes chunks of the gallery, which is read once per group of queries. The order of hits
    // is total, so the k best don't depend on who scanned what.
    for (std::size_t first = 0; first < queries.n; first += group) {
        const std::size_t end = std::min(queries.n, first + group);
        for (std::size_t number = 0; number < threads; ++number)
            workers[number].start(queries, screen ? &coded : nullptr, gallery, filter, level, k, first, end,
                                  least.data() + first);
        std::atomic<std::size_t> next_chunk{0}, next_query{first};
        run_workers(threads, [&](std::size_t number) {
            for (std::size_t chunk; (chunk = next_chunk.fetch_add(1)) < chunks.size();)
                workers[number].scan(chunks[chunk]);
        });
        const std::size_t finishers = end - first < 16 ? 1 : threads;
        run_workers(finishers, [&](std::size_t number) {
            std::vector<Worker *> others;
            for (std::size_t other = 0; other < threads; ++other)
                if (other != number) others.push_back(&workers[other]);
            for (std::size_t q; (q = next_query.fetch_add(1)) < end;) {
                workers[number].finish(q, others);
                write_hits(workers[number].contests[q - first].selection.hits, k, labels + q * k, scores + q * k);
            }
        });
    }
}

void score_pairs(const Queries &queries, const Gallery &gallery, const std::int64_t *query_index,
                 const std::int64_t *gallery_index, std::size_t pairs, const Level &level, float *scores) {
    std::vector<float> dots(gallery.t);
    RowList rows;
    rows.start(gallery.t, gallery.d);
    for (std::size_t p = 0; p < pairs; ++p) {
        const float *query = queries.data + query_index[p] * queries.stride;
        rows.pointers.clear();
        for (std::size_t token = 0; token < gallery.t; ++token)
            rows.add(*gallery.parts, static_cast<std::size_t>(gallery_index[p]), token, level);
        level.dot_tile(&query, 1, rows.pointers.data(), gallery.t, gallery.d, dots.data());
        scores[p] = late_score(dots.data(), gallery.t, gallery.top_tokens);
    }
}

} // namespace labrador
