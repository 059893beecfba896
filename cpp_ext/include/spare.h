// Memory that calls hand on to one another. For baseline units only.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

namespace labrador {

// A T that an earlier call has done with, or a new one; given back at the end. As many are kept as calls
// ever ran at a time, so a search that repeats allocates nothing. The lock is only tried: who doesn't get
// it at once (another thread has it, or had it while this process was forked off) does without.
template <class T> class Spare {
  public:
    Spare() {
        const std::unique_lock<std::mutex> lock(guard(), std::try_to_lock);
        if (lock && !kept().empty()) {
            value_ = std::move(kept().back());
            kept().pop_back();
        }
        if (!value_) value_ = std::make_unique<T>();
    }
    ~Spare() {
        const std::unique_lock<std::mutex> lock(guard(), std::try_to_lock);
        if (lock && kept().size() < kept().capacity()) kept().push_back(std::move(value_));
    }
    Spare(const Spare &) = delete;
    Spare &operator=(const Spare &) = delete;
    T *operator->() const { return value_.get(); }

  private:
    static std::mutex &guard() {
        static std::mutex mutex;
        return mutex;
    }
    static std::vector<std::unique_ptr<T>> &kept() {
        static std::vector<std::unique_ptr<T>> list = [] {
            std::vector<std::unique_ptr<T>> room;
            room.reserve(16);
            return room;
        }();
        return list;
    }
    std::unique_ptr<T> value_;
};

} // namespace labrador
