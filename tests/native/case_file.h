// A file of cases, as cases.py writes it. Little-endian, one thing after another, nothing padded:
//
//     "LABCASE1"
//     and per case
//     operation     8 bytes, filled up with zeros
//     numbers       int64 count, and as many int64
//     arrays        int64 count, and for each an int64 count of bytes and the bytes
//
// The last arrays of a case are what the operation must write; operations.h says which they are.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

struct Case {
    std::string operation;
    std::vector<std::int64_t> numbers;
    std::vector<std::vector<std::uint8_t>> arrays;
};

class CaseFile {
  public:
    explicit CaseFile(const char *path) {
        std::ifstream file(path, std::ios::binary);
        bytes_.assign(std::istreambuf_iterator<char>(file), {});
        if (!file) throw std::runtime_error(std::string(path) + " can't be read");
        if (text(8) != "LABCASE1") throw std::runtime_error(std::string(path) + " isn't a file of cases");
    }

    bool at_end() const { return at_ == bytes_.size(); }

    Case next() {
        Case result;
        result.operation = text(8).c_str(); // up to the first zero
        result.numbers.resize(count(sizeof(std::int64_t)));
        for (std::int64_t &number : result.numbers) number = whole();
        result.arrays.resize(count(1));
        for (std::vector<std::uint8_t> &array : result.arrays) {
            const std::string bytes = text(count(1));
            array.assign(bytes.begin(), bytes.end());
        }
        return result;
    }

  private:
    // A count of things of `size` bytes, which the rest of the file must be able to hold.
    std::size_t count(std::size_t size) {
        const std::int64_t found = whole();
        if (found < 0 || static_cast<std::size_t>(found) > (bytes_.size() - at_) / size)
            throw std::runtime_error("the file of cases is damaged at byte " + std::to_string(at_));
        return static_cast<std::size_t>(found);
    }

    std::int64_t whole() {
        const std::string bytes = text(sizeof(std::int64_t));
        std::int64_t value;
        std::memcpy(&value, bytes.data(), sizeof value);
        return value;
    }

    std::string text(std::size_t size) {
        if (size > bytes_.size() - at_) throw std::runtime_error("the file of cases ends early");
        at_ += size;
        return std::string(bytes_.data() + at_ - size, size);
    }

    std::vector<char> bytes_;
    std::size_t at_ = 0;
};
