// The top-k: exact in full where there are no codes, else a screened search in waves of fixed launches.
#include "launch.cuh"
#include "screening.cuh"

namespace labrador {
namespace {

constexpr std::int64_t MOST_SCREENED = 2048;       // hits; more are served by the exact scan
constexpr std::int64_t GROUP_BYTES = 1 << 28;      // of candidates: how many queries are searched at a time
constexpr std::int64_t LEAST_GROUP = 128, MOST_GROUP = 4096;
constexpr std::int64_t LEAST_ROOM = 4096;          // candidates of a query
constexpr std::int64_t ROOM_PER_HIT = 64;          // a threshold of rank 16 k leaves some 5 times as many
constexpr std::int64_t LEAST_SAMPLE = 1024, MOST_SAMPLE = 4096, SAMPLE_PER_HIT = 4, SAMPLE_SHARE = 64;
constexpr std::int64_t WAVE_TILES = 512;           // from so many tiles of rows on, the threshold is raised midway
constexpr int WAVE_SHARE = 16;                     // of them are scanned before

std::int64_t larger(std::int64_t a, std::int64_t b) { return a > b ? a : b; }
std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// How a screened search is cut; it depends on sizes alone, so the workspace can be sized beforehand.
struct Cut {
    std::int64_t group, capacity, sample;
    int slots, period;

    Cut(std::int64_t n, std::int64_t m, std::int64_t t, std::int64_t k) {
        slots = 64;
        while (slots < k) slots *= 2;
        capacity = smaller(larger(LEAST_ROOM, ROOM_PER_HIT * slots), (m + 63) / 64 * 64);
        group = smaller(n, smaller(MOST_GROUP, larger(LEAST_GROUP, GROUP_BYTES / (capacity * 8))));
        sample = larger(smaller(larger(m / SAMPLE_SHARE, LEAST_SAMPLE), MOST_SAMPLE), SAMPLE_PER_HIT * k);
        sample = m <= capacity ? 0 : smaller(sample, capacity); // where all fit, there is nothing to learn first
        period = m * t / BLOCK_ROWS >= WAVE_TILES ? WAVE_SHARE : 1;
    }
};

// Pieces of a buffer, each aligned to 16 bytes. Without a buffer, only their size.
class Pieces {
  public:
    explicit Pieces(void *buffer) : buffer_(static_cast<char *>(buffer)) {}
    template <class T> T *take(std::int64_t count) {
        T *const piece = buffer_ ? reinterpret_cast<T *>(buffer_ + used) : nullptr;
        used += (static_cast<std::size_t>(count) * sizeof(T) + 15) / 16 * 16;
        return piece;
    }
    std::size_t used = 0;

  private:
    char *buffer_;
};

struct Space {
    Screening state{};
    int *tallies; // the counts of lists; with what follows them, what begins as 0
    void *exact;  // shares its place with the candidates, which are done with by then
    std::size_t cleared, bytes;

    Space(void *buffer, const Cut &cut, std::int64_t m, std::int64_t t, std::int64_t d, std::int64_t k) {
        Pieces pieces(buffer);
        const std::int64_t n = cut.group;
        state.query_codes = pieces.take<std::int8_t>(n * coded_depth(d));
        state.bounds = pieces.take<QueryBound>(n);
        state.offsets = pieces.take<double>(n);
        state.floors = pieces.take<float>(n);
        state.states = pieces.take<int>(n);
        state.again = pieces.take<int>(n);
        state.exact = pieces.take<int>(n);
        const std::size_t uncleared = pieces.used;
        tallies = pieces.take<int>(4);
        state.counts = pieces.take<int>(n);
        state.best = pieces.take<Key>(n * k);
        cleared = pieces.used - uncleared;
        state.eligible = pieces.take<unsigned>(m);
        if (buffer) {
            state.again_count = tallies;
            state.exact_count = tallies + 1;
            state.eligible_count = reinterpret_cast<unsigned *>(tallies + 2);
        }
        state.capacity = cut.capacity;
        state.slots = cut.slots;
        const std::size_t before = pieces.used, candidates = static_cast<std::size_t>(n * cut.capacity) * sizeof(Key);
        state.candidates = pieces.take<Key>(n * cut.capacity);
        exact = state.candidates;
        bytes = before + (candidates > exact_space(n, m, t, k) ? candidates : exact_space(n, m, t, k));
    }
};

// The queries first .. first + n of a call.
CudaTopk part_of(CudaTopk p, std::int64_t first, std::int64_t n) {
    p.queries += first * p.query_stride;
    p.n = n;
    if (p.mask) p.mask += first * p.mask_stride;
    if (p.excluded) p.excluded_begin += first;
    p.indices += first * p.k;
    p.scores += first * p.k;
    return p;
}

cudaError_t screened(const CudaTopk &p, const CudaCodes &codes, const Cut &cut, const Space &space,
                     cudaStream_t stream) {
    Screening state = space.state;
    cudaError_t error = cudaMemsetAsync(space.tallies, 0, space.cleared, stream);
    const auto then = [&error](auto &&next) { error = error == cudaSuccess ? next() : error; };
    then([&] { return prepare_queries(p, codes, state, stream); });
    if (p.mask)
        then([&] { return list_eligible(p, state, stream); });
    else
        state.eligible = state.eligible_count = nullptr;
    const auto pass = [&](const Chosen &chosen, const Share &share, Stage stage) {
        then([&] { return scan_codes(p, codes, state, chosen, share, stream); });
        then([&] { return refine(p, state, chosen, share, stage, stream); });
    };
    if (cut.sample) pass({nullptr, nullptr}, {cut.sample, 1, false}, Stage::sample);
    for (const bool again : {false, true}) {
        if (again && p.gallery.m <= cut.capacity) break; // nothing can have overflowed
        const Chosen chosen = again ? Chosen{state.again, state.again_count} : Chosen{nullptr, nullptr};
        const Stage last = again ? Stage::last_again : Stage::last;
        if (cut.period > 1) pass(chosen, {0, cut.period, false}, Stage::midway);
        pass(chosen, {0, cut.period, cut.period > 1}, last);
    }
    then([&] { return exact_topk(p, {state.exact, state.exact_count}, space.exact, stream); });
    return error;
}

} // namespace

std::size_t cuda_topk_workspace(std::int64_t n, std::int64_t m, std::int64_t t, std::int64_t d, std::int64_t k,
                                bool coded) {
    const std::size_t exact = exact_space(n, m, t, k);
    if (!coded || k > MOST_SCREENED || n == 0 || m == 0) return exact;
    const std::size_t space = Space(nullptr, Cut(n, m, t, k), m, t, d, k).bytes;
    return space > exact ? space : exact; // exact in full: where a device lacks the shared memory to scan
}

cudaError_t cuda_topk(const CudaTopk &p, cudaStream_t stream) {
    if (p.n == 0) return cudaSuccess;
    const CudaGallery &g = p.gallery;
    const CudaCodes codes(const_cast<void *>(p.codes), g.m, g.t, g.d);
    if (!p.codes || p.k > MOST_SCREENED || g.m == 0 || !scan_fits(p, codes))
        return exact_topk(p, {nullptr, nullptr}, p.workspace, stream);
    const Cut cut(p.n, g.m, g.t, p.k);
    const Space space(p.workspace, cut, g.m, g.t, g.d, p.k);
    cudaError_t error = cudaSuccess;
    for (std::int64_t first = 0; first < p.n && error == cudaSuccess; first += cut.group)
        error = screened(part_of(p, first, smaller(cut.group, p.n - first)), codes, cut, space, stream);
    return error;
}

} // namespace labrador
