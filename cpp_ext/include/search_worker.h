// A search cut into chunks of the gallery, and what one thread does with them. For baseline units only.
#pragma once

#include "full_scan.h"
#include "rescore.h"
#include "screened_scan.h"

namespace labrador {

constexpr std::size_t LEAST_CHUNK = 512, MOST_CHUNK = 4096; // rows that a thread takes at a time
constexpr std::size_t CHUNKS = 64;                          // for each thread, if they may: then all end together
constexpr std::size_t SPARSE = 16; // of fewer eligible items than one in so many, rows are cheaper than panels

struct Chunk {
    std::size_t part, begin, end;
};

inline void list_chunks(const Gallery &gallery, std::size_t threads, std::vector<Chunk> &chunks) {
    std::size_t m = 0;
    for (std::size_t part = 0; part < gallery.count; ++part) m += gallery.parts[part].m;
    const std::size_t share = threads == 1 ? MOST_CHUNK : m * gallery.t / (threads * CHUNKS);
    const std::size_t rows = std::min(MOST_CHUNK, std::max(LEAST_CHUNK, share));
    const std::size_t items = std::max<std::size_t>(1, rows / gallery.t / WORD) * WORD;
    chunks.clear();
    for (std::size_t part = 0; part < gallery.count; ++part)
        for (std::size_t begin = 0; begin < gallery.parts[part].m; begin += items)
            chunks.push_back({part, begin, std::min(gallery.parts[part].m, begin + items)});
}

// One thread's share of one group of queries.
class Worker {
  public:
    void start(const Queries &queries, const CodedQueries *coded, const Gallery &gallery, const Filter &filter,
               const Level &level, std::size_t k, std::size_t first_query, std::size_t end_query, SharedLeast *least) {
        gallery_ = &gallery;
        k_ = k;
        first_query_ = first_query;
        least_ = least;
        contests.resize(std::max(contests.size(), end_query - first_query));
        queries_.clear();
        for (std::size_t q = first_query; q < end_query; ++q) {
            contests[q - first_query].start(k, filter.above, coded && coded->can_be_screened(q));
            queries_.push_back(q);
        }
        full_.start(queries, gallery, filter, level, first_query, contests.data(), least);
        rescorer_.start(queries, gallery, level, k);
        if (coded)
            screened_.start(queries, *coded, gallery, filter, level, first_query, end_query, contests.data(), least);
    }

    void scan(const Chunk &chunk) {
        const Part &part = gallery_->parts[chunk.part];
        if (!part.codes || few_eligible(part, chunk)) return full_.range(part, chunk.begin, chunk.end, queries_);
        by_codes_.clear();
        in_full_.clear();
        for (const std::size_t query : queries_) {
            std::size_t &left = contests[query - first_query_].items_in_full;
            (left ? in_full_ : by_codes_).push_back(query);
            left -= std::min(left, chunk.end - chunk.begin);
        }
        const std::size_t capacity = k_ + std::max(k_, CANDIDATES);
        if (!by_codes_.empty())
            screened_.range(chunk.part, chunk.begin, chunk.end, by_codes_, capacity, [&](std::size_t query) {
                Contest &contest = contests[query - first_query_];
                contest.prune(k_, least_[query - first_query_], scratch_);
                if (contest.candidates.size() > capacity / 8) settle(query);
            });
        if (!in_full_.empty()) full_.range(part, chunk.begin, chunk.end, in_full_);
        for (const std::size_t query : by_codes_) contests[query - first_query_].judge(chunk.end - chunk.begin);
    }

    // Takes over what other threads found for a query, and leaves the k best hits, best first.
    void finish(std::size_t query, const std::vector<Worker *> &others) {
        Contest &mine = contests[query - first_query_];
        for (Worker *other : others) {
            Contest &theirs = other->contests[query - first_query_];
            mine.candidates.insert(mine.candidates.end(), theirs.candidates.begin(), theirs.candidates.end());
            mine.selection.merge(theirs.selection);
        }
        settle(query);
        mine.selection.finish();
    }

    std::vector<Contest> contests;

  private:
    static constexpr std::size_t CANDIDATES = 64;

    void settle(std::size_t query) {
        rescorer_.settle(query, contests[query - first_query_], least_[query - first_query_]);
    }

    bool few_eligible(const Part &part, const Chunk &chunk) const {
        if (!part.mask) return false;
        std::size_t eligible = 0;
        for (std::size_t word = chunk.begin / WORD; word * WORD < chunk.end; ++word) {
            std::uint64_t any = 0;
            if (part.mask_stride)
                for (const std::size_t query : queries_) any |= mask_word(mask_of(part, query), word, part.m);
            else
                any = mask_word(part.mask, word, part.m);
            eligible += static_cast<std::size_t>(__builtin_popcountll(any));
        }
        return eligible * SPARSE < chunk.end - chunk.begin;
    }

    const Gallery *gallery_ = nullptr;
    SharedLeast *least_ = nullptr;
    std::size_t k_ = 0, first_query_ = 0;
    FullScan full_;
    ScreenedScan screened_;
    Rescorer rescorer_;
    std::vector<std::size_t> queries_, by_codes_, in_full_;
    std::vector<float> scratch_;
};

} // namespace labrador
