#include "tensorflow/threads.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "tensorflow/core/platform/denormal.h"
#include "tensorflow/core/util/work_sharder.h"

namespace cephray {
namespace {

// A block costs at least this many cycles, several times what it takes to hand it over; and there
// are at most so many blocks for a thread: enough that all end at about the same time.
constexpr int64_t kBlockCost = 20000;
constexpr int64_t kBlocksPerThread = 16;

// The blocks of one loop. Helpers share it with the caller and may come after all is done.
class Blocks {
 public:
  Blocks(int64_t total, int64_t size, const RangeBody& body)
      : total_(total), size_(size), body_(body) {}

  int64_t count() const { return (total_ + size_ - 1) / size_; }

  // Runs blocks until none is left to begin.
  void Work() {
    int64_t begin;
    while ((begin = next_.fetch_add(size_)) < total_) {
      const int64_t end = std::min(total_, begin + size_);
      {
        // The calling thread may treat denormals otherwise than the pool's do.
        const tensorflow::port::ScopedFlushDenormal flush;
        body_(begin, end);
      }
      if (done_.fetch_add(end - begin) + end - begin == total_) {
        const std::lock_guard<std::mutex> lock(mutex_);
        is_done_ = true;
        all_done_.notify_one();
      }
    }
  }

  // Waits for the blocks that other threads have begun.
  void Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    all_done_.wait(lock, [this] { return is_done_; });
  }

 private:
  const int64_t total_;
  const int64_t size_;
  const RangeBody& body_;  // lives until all is done
  std::atomic<int64_t> next_{0};
  std::atomic<int64_t> done_{0};
  std::mutex mutex_;
  std::condition_variable all_done_;
  bool is_done_ = false;
};

}  // namespace

ParallelFor OnThreads(int64_t threads, const Schedule& schedule) {
  return [threads, schedule](int64_t total, int64_t cost, const RangeBody& body) {
    const int64_t size =
        std::max(total / (threads * kBlocksPerThread), kBlockCost / std::max<int64_t>(cost, 1)) +
        1;
    const auto blocks = std::make_shared<Blocks>(total, size, body);
    const int64_t helpers = std::min(threads, blocks->count()) - 1;
    for (int64_t i = 0; i < helpers; ++i) schedule([blocks] { blocks->Work(); });
    blocks->Work();
    blocks->Wait();
  };
}

ParallelFor OnThreadsOf(tensorflow::OpKernelContext* ctx) {
  const auto* workers = ctx->device()->tensorflow_cpu_worker_threads();
  const int64_t threads = std::min(workers->num_threads, tensorflow::GetPerThreadMaxParallelism());
  return OnThreads(threads, [workers](std::function<void()> work) {
    workers->workers->Schedule(std::move(work));
  });
}

}  // namespace cephray
