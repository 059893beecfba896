// The scan for items of several tokens.
#include "scan.cuh"

namespace labrador {

cudaError_t scan_items_8(const Scan &scan, cudaStream_t stream) { return launch_scan<8, true>(scan, stream); }
cudaError_t scan_items_32(const Scan &scan, cudaStream_t stream) { return launch_scan<32, true>(scan, stream); }
cudaError_t scan_items_64(const Scan &scan, cudaStream_t stream) { return launch_scan<64, true>(scan, stream); }

} // namespace labrador
