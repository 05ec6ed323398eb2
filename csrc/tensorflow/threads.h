// A kernel's loop on the threads of a pool, TensorFlow's or XLA's.

#ifndef CEPHRAY_TENSORFLOW_THREADS_H_
#define CEPHRAY_TENSORFLOW_THREADS_H_

#include <cstdint>
#include <functional>

#include "cpu/parallel.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace cephray {

// Hands a function to a pool, which calls it once, sooner or later.
using Schedule = std::function<void(std::function<void()> work)>;

// Runs on the calling thread and on the pool's, on `threads` at most in all. Threads take small
// blocks as they get to them, and the caller waits only for blocks that were begun.
// `tensorflow::Shard` deals a block to each thread and waits for all of them, also for a thread
// that has not got a processor yet; that costs a short loop more than its work.
ParallelFor OnThreads(int64_t threads, const Schedule& schedule);

// The same on the intra-op threads of the context's device.
ParallelFor OnThreadsOf(tensorflow::OpKernelContext* ctx);

}  // namespace cephray

#endif  // CEPHRAY_TENSORFLOW_THREADS_H_
