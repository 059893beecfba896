// Threads for one call. They end with it, so there is no pool for a fork to break. For baseline units only.
#pragma once

#include <cstddef>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace labrador {

// Calls work(0) here and work(1) .. work(threads - 1) on threads of their own; the first exception is
// rethrown here after all have ended. Work must be shared out dynamically: when the system refuses a
// thread, fewer are called.
template <class Work> void run_workers(std::size_t threads, const Work &work) {
    std::exception_ptr error;
    std::mutex guard;
    const auto guarded = [&](std::size_t worker) {
        try {
            work(worker);
        } catch (...) {
            const std::lock_guard<std::mutex> lock(guard);
            if (!error) error = std::current_exception();
        }
    };
    std::vector<std::thread> others;
    others.reserve(threads - 1);
    for (std::size_t worker = 1; worker < threads; ++worker) {
        try {
            others.emplace_back(guarded, worker);
        } catch (const std::system_error &) {
            break;
        }
    }
    guarded(0);
    for (auto &thread : others) thread.join();
    if (error) std::rethrow_exception(error);
}

} // namespace labrador
