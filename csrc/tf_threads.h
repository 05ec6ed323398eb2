// A kernel's loop on TensorFlow's threads.

#ifndef CEPHRAY_TF_THREADS_H_
#define CEPHRAY_TF_THREADS_H_

#include "parallel.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace cephray {

// Runs on the calling thread and on as many of the device's intra-op threads as make up its number.
// Threads take small blocks as they get to them, and the caller waits for blocks that were begun
// only: `tensorflow::Shard` deals a block to each thread and waits for all, also for a thread that
// has not got a processor yet, which costs a short loop more than its work.
ParallelFor OnThreadsOf(tensorflow::OpKernelContext* ctx);

}  // namespace cephray

#endif  // CEPHRAY_TF_THREADS_H_
