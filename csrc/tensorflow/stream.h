// TensorFlow's stream on a GPU. Needs no CUDA header.

#ifndef CEPHRAY_TENSORFLOW_STREAM_H_
#define CEPHRAY_TENSORFLOW_STREAM_H_

#include "tensorflow/core/framework/op_kernel.h"
#include "xla/stream_executor/stream.h"

namespace cephray {

// The cudaStream_t of a context. TensorFlow has made its device the thread's current one.
inline void* StreamOf(tensorflow::OpKernelContext* ctx) {
  return ctx->op_device_context()->stream()->platform_specific_handle().stream;
}

}  // namespace cephray

#endif  // CEPHRAY_TENSORFLOW_STREAM_H_
