// TensorFlow's operation that says when tensors are there. TensorFlow's own Timestamp refuses to
// run with deterministic operations, though no value of a network depends on it.

#include <chrono>

#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"

namespace cephray {
namespace {

using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;

REGISTER_OP("Cephray>TimeOf")
    .Input("tensors: N * T")
    .Output("seconds: double")
    .Attr("T: type")
    .Attr("N: int >= 1")
    .SetIsStateful()  // each call has another result
    .SetShapeFn(tensorflow::shape_inference::ScalarShape)
    .Doc(R"doc(
The time at which all tensors are there, in seconds of a clock that never goes back.

The operation runs on the CPU, to which tensors of other devices are copied.
)doc");

class TimeOfOp : public OpKernel {
 public:
  explicit TimeOfOp(OpKernelConstruction* ctx) : OpKernel(ctx) {}

  void Compute(OpKernelContext* ctx) override {
    Tensor* seconds = nullptr;
    OP_REQUIRES_OK(ctx, ctx->allocate_output(0, {}, &seconds));
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    seconds->scalar<double>()() = std::chrono::duration<double>(now).count();
  }
};

REGISTER_KERNEL_BUILDER(Name("Cephray>TimeOf").Device(tensorflow::DEVICE_CPU), TimeOfOp);

}  // namespace
}  // namespace cephray
