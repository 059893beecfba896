// The scan for many queries, bound by the tensor cores.
#include "scan.cuh"

namespace labrador {

cudaError_t scan_rows_128(const Scan &scan, cudaStream_t stream) { return launch_scan<128, false>(scan, stream); }

} // namespace labrador
