// The scan for few queries, bound by the memory that the gallery streams from.
#include "scan.cuh"

namespace labrador {

cudaError_t scan_rows_8(const Scan &scan, cudaStream_t stream) { return launch_scan<8, false>(scan, stream); }
cudaError_t scan_rows_32(const Scan &scan, cudaStream_t stream) { return launch_scan<32, false>(scan, stream); }
cudaError_t scan_rows_64(const Scan &scan, cudaStream_t stream) { return launch_scan<64, false>(scan, stream); }

} // namespace labrador
