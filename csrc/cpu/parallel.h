// A loop on many threads, as whoever owns the threads gives it.

#ifndef CEPHRAY_CPU_PARALLEL_H_
#define CEPHRAY_CPU_PARALLEL_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <new>

namespace cephray {

// Calls body(begin, end) on ranges that together cover [0, total) once, in any order, on any
// threads; `cost` is the number of elementary operations of one unit. The body does not throw.
using RangeBody = std::function<void(int64_t begin, int64_t end)>;
using ParallelFor = std::function<void(int64_t total, int64_t cost, const RangeBody& body)>;

// Runs the loop; false where a body ran out of memory: no exception may leave a pool's thread.
inline bool Run(const ParallelFor& parallel_for, int64_t total, int64_t cost,
                const RangeBody& body) {
  if (total == 0) return true;
  std::atomic<bool> exhausted{false};
  parallel_for(total, cost, [&](int64_t begin, int64_t end) {
    try {
      body(begin, end);
    } catch (const std::bad_alloc&) {
      exhausted = true;
    }
  });
  return !exhausted;
}

}  // namespace cephray

#endif  // CEPHRAY_CPU_PARALLEL_H_
