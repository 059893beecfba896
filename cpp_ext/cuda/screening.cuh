// What the kernels of a screened search hand to each other, all of it in the call's workspace.
//
// A group of queries goes: prepare (codes and constants of the queries), list_eligible (where there is a
// mask), then scans of the codes, each followed by refine, which rescores survivors and raises thresholds:
// a sample of the gallery, a first share of it, the rest. A query with more survivors than its room holds
// has at least learnt a better threshold: it goes through the gallery `again`, and if it overflows once
// more, is scored `exactly`. Who needs that is a list on the device; kernels without work end at once.
#pragma once

#include "codes.cuh"
#include "exact.cuh"

namespace labrador {

// Of each query, beside its codes.
struct QueryBound {
    float threshold;      // of the upper bounds: a row below it isn't wanted; +inf: the query isn't scanned
    float residual, norm; // R and N of codes.cuh
    float scale;
};

enum QueryState : int { SCANNED, OVERFLOWED, EXACT };

struct Screening {
    std::int8_t *query_codes;  // (n, depth)
    QueryBound *bounds;        // (n,)
    double *offsets;           // (n,) what a threshold of scores loses to become one of upper bounds
    float *floors;             // (n,) no hit scores below
    int *counts, *states;      // (n,) survivors of this scan, QueryState
    Key *best;                 // (n, k) sorted keys of the best so far
    int *again, *exact;        // (n,) lists of queries
    int *again_count, *exact_count;
    unsigned *eligible, *eligible_count; // items that some query may see, in no order; null: all
    Key *candidates;           // (n, capacity) keys of survivors: upper bound and item
    std::int64_t capacity;     // per query
    int slots;                 // keys of the best that are merged at a time: a power of two, at least k
};

cudaError_t prepare_queries(const CudaTopk &, const CudaCodes &, const Screening &, cudaStream_t);
cudaError_t list_eligible(const CudaTopk &, const Screening &, cudaStream_t);

// Which part of the gallery a scan looks at.
struct Share {
    std::int64_t sample; // not 0: so many items, evenly spread, and all their upper bounds are kept
    int period;          // otherwise every period-th tile of rows, or with `rest` all the others
    bool rest;
};

// False where a tile of queries doesn't fit the device's shared memory: then nothing is queued.
bool scan_fits(const CudaTopk &, const CudaCodes &);
cudaError_t scan_codes(const CudaTopk &, const CudaCodes &, const Screening &, const Chosen &, const Share &,
                       cudaStream_t);

// Where a scan stands among the others: what refine does when it has rescored.
enum class Stage : int { sample, midway, last, last_again };
cudaError_t refine(const CudaTopk &, const Screening &, const Chosen &, const Share &, Stage, cudaStream_t);

} // namespace labrador
