// Arrays that end where a page ends that nobody may touch: who reads or writes past the end dies of it.
#pragma once

#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

// `rows` arrays of `bytes` bytes, each with its own page behind it. With `shift` they end so many bytes
// before that page, which moves them off the alignment that their length gives them.
class Guarded {
  public:
    Guarded(std::size_t rows, std::size_t bytes, std::size_t shift = 0) : bytes_(bytes) {
        const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
        const std::size_t readable = (bytes + shift + page - 1) / page * page, block = readable + page;
        size_ = rows * block + page;
        void *const memory = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) throw std::bad_alloc();
        memory_ = static_cast<std::uint8_t *>(memory);
        for (std::size_t row = 0; row < rows; ++row) {
            std::uint8_t *const end = memory_ + row * block + readable;
            if (mprotect(end, page, PROT_NONE) != 0) throw std::bad_alloc();
            begins_.push_back(end - shift - bytes);
            std::memset(begins_.back(), UNTOUCHED, bytes);
        }
    }
    Guarded(std::size_t rows, std::size_t bytes, std::size_t shift, const void *from) : Guarded(rows, bytes, shift) {
        for (std::size_t row = 0; row < rows && bytes; ++row)
            std::memcpy(begins_[row], static_cast<const std::uint8_t *>(from) + row * bytes, bytes);
    }
    Guarded(const Guarded &) = delete;
    Guarded &operator=(const Guarded &) = delete;
    ~Guarded() { munmap(memory_, size_); }

    template <class T> T *as(std::size_t row = 0) const { return reinterpret_cast<T *>(begins_[row]); }
    template <class T> std::vector<const T *> pointers() const {
        std::vector<const T *> result;
        for (const std::uint8_t *begin : begins_) result.push_back(reinterpret_cast<const T *>(begin));
        return result;
    }
    std::size_t bytes() const { return bytes_; }

    static constexpr std::uint8_t UNTOUCHED = 0xa5; // what an array that isn't given holds at first

  private:
    std::uint8_t *memory_;
    std::size_t size_, bytes_;
    std::vector<std::uint8_t *> begins_;
};
