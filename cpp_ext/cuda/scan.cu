// Which scan serves a call: the widest tile of queries that they fill and that the device has room for.
#include "scan.cuh"

namespace labrador {
namespace {

constexpr int LATE_UPPERS = 8192; // upper bounds of a late tile that are held at once: 32 KiB

struct Kind {
    int queries;
    std::size_t shared;
    cudaError_t (*run)(const Scan &, cudaStream_t);
};

// The kind of scan for n queries; its run is null where none fits.
Kind kind_of(const CudaTopk &p, const CudaCodes &codes) {
    const int chunks = static_cast<int>(codes.depth / CHUNK_BYTES);
    const int late = p.gallery.t == 1 ? 0 : static_cast<int>((p.gallery.t + BLOCK_ROWS - 1) / BLOCK_ROWS);
    const Kind rows[] = {{128, Room<128>::bytes(chunks, 0), scan_rows_128},
                         {64, Room<64>::bytes(chunks, 0), scan_rows_64},
                         {32, Room<32>::bytes(chunks, 0), scan_rows_32},
                         {8, Room<8>::bytes(chunks, 0), scan_rows_8}};
    const Kind items[] = {{64, Room<64>::bytes(chunks, late), scan_items_64},
                          {32, Room<32>::bytes(chunks, late), scan_items_32},
                          {8, Room<8>::bytes(chunks, late), scan_items_8}};
    const Kind *const kinds = late ? items : rows;
    const int count = late ? 3 : 4;
    const std::size_t limit = static_cast<std::size_t>(of_device(cudaDevAttrMaxSharedMemoryPerBlockOptin));
    Kind chosen{0, 0, nullptr};
    for (int i = 0; i < count; ++i) {
        const bool fits = kinds[i].shared <= limit && late * BLOCK_ROWS * kinds[i].queries <= LATE_UPPERS;
        if (fits && (!chosen.run || kinds[i].queries >= p.n)) chosen = kinds[i];
    }
    return chosen;
}

} // namespace

bool scan_fits(const CudaTopk &p, const CudaCodes &codes) { return kind_of(p, codes).run != nullptr; }

cudaError_t scan_codes(const CudaTopk &p, const CudaCodes &codes, const Screening &state, const Chosen &chosen,
                       const Share &share, cudaStream_t stream) {
    Scan scan{};
    scan.codes = codes.codes;
    scan.bounds = codes.bounds;
    scan.chunks = static_cast<int>(codes.depth / CHUNK_BYTES);
    scan.t = static_cast<int>(p.gallery.t);
    scan.top_tokens = p.top_tokens;
    scan.n = p.n;
    scan.m = p.gallery.m;
    scan.mask = p.mask_stride ? p.mask : nullptr;
    scan.mask_stride = p.mask_stride;
    scan.chosen = chosen;
    scan.share = share;
    scan.state = state;
    return kind_of(p, codes).run(scan, stream);
}

} // namespace labrador
