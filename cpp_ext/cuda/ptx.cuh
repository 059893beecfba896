// Every instruction that CUDA C++ has no name for, one function each. sm_80 and later have them all.
#pragma once

namespace labrador {
namespace {

// The block's dynamic shared memory.
__device__ inline unsigned char *shared_memory() {
    extern __shared__ __align__(128) unsigned char dynamic_shared[];
    return dynamic_shared;
}

// A pointer into shared memory as the instructions below take it.
__device__ inline unsigned shared_address(const void *pointer) {
    return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// 16 bytes from global to shared memory, in the background; zeros unless `there`, and then `from` isn't read.
__device__ inline void copy_async(unsigned to, const void *from, bool there) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(__cvta_generic_to_global(from)),
                 "r"(there ? 16 : 0)
                 : "memory");
}

// Closes the group of this thread's copies since the last call.
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Until all of this thread's groups but the latest LEFT have arrived.
template <int LEFT> __device__ inline void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}

// Four matrices of 8 rows of 16 bytes. Lane 8 i + j gives the address of row j of matrix i; it gets bytes
// 4 (lane % 4) .. + 3 of row lane / 4 of each matrix.
__device__ inline void load_matrices(unsigned address, unsigned (&out)[4]) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(address)
                 : "memory");
}

// sums += a b, 16 x 32 by 32 x 8 signed bytes, exact in 32 bits. With g = lane / 4 and i = lane % 4:
//   a: rows g, g + 8, g, g + 8, at depth 4 i .. + 3 in the first two and 16 + 4 i .. + 3 in the others
//   b: column g, at depth 4 i .. + 3 and 16 + 4 i .. + 3
//   sums: row g at columns 2 i and 2 i + 1, then row g + 8 at the same
__device__ inline void multiply_add(int (&sums)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

} // namespace
} // namespace labrador
