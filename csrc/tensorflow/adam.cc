// TensorFlow's operation for one step of Adam: finds the variables, checks them, and calls the
// kernels for the CPU or for a GPU. Computes nothing itself, and needs no CUDA header.

#include "cpu/adam.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kernels/adam.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/framework/resource_var.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/threads.h"
#if defined(CEPHRAY_CUDA)
#include "cuda/adam.h"
#include "tensorflow/stream.h"
#endif

namespace cephray {
namespace {

using ::tensorflow::OpInputList;
using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::Var;

REGISTER_OP("Cephray>AdamUpdate")
    .Input("weights: N * resource")
    .Input("momentums: N * resource")
    .Input("velocities: N * resource")
    .Input("averages: A * resource")
    .Input("gradients: N * T")
    .Input("learning_rate: T")
    .Input("step: T")
    .Attr("T: {float, double}")
    .Attr("N: int >= 1")
    .Attr("A: int >= 0")
    .Attr("settings: list(string)")
    .SetIsStateful()
    .SetShapeFn(tensorflow::shape_inference::NoOutputs)
    .Doc(R"doc(
One step of Adam for all variables, in one pass over them.

averages: as many as weights, or none.
step: counted from 1.
settings: the six of AdamSettings in their order, as decimal numbers, because attributes have no
  float64: beta_1, beta_2, epsilon, kernel_decay (a fraction of the learning rate, by which
  variables of two and more axes shrink), clip_norm (greatest global norm of the gradients; "inf"
  does not clip), average_decay (in early steps (1 + steps before) / (10 + steps before), if less).
)doc");

absl::Status AsStatus(const std::string& error) {
  return error.empty() ? absl::OkStatus() : absl::InternalError(error);
}

// What the operation asks of a device.
class AdamOnCpu {
 public:
  explicit AdamOnCpu(OpKernelContext* ctx) : ctx_(ctx) {}

  absl::Status Copy(const Tensor& from, Tensor* to) const {
    std::memcpy(to->data(), from.data(), from.TotalBytes());
    return absl::OkStatus();
  }

  template <typename T>
  absl::Status Update(const AdamSettings& settings, std::vector<AdamVariable<T>>* variables,
                      const Tensor& learning_rate, const Tensor& step) const {
    const bool had_memory =
        AdamUpdate(settings, variables->data(), static_cast<int64_t>(variables->size()),
                   learning_rate.scalar<T>()(), step.scalar<T>()(), OnThreadsOf(ctx_));
    if (had_memory) return absl::OkStatus();
    return absl::ResourceExhaustedError("no memory for the norm of the gradients.");
  }

 private:
  OpKernelContext* ctx_;
};

#if defined(CEPHRAY_CUDA)
class AdamOnGpu {
 public:
  explicit AdamOnGpu(OpKernelContext* ctx) : ctx_(ctx), stream_(StreamOf(ctx)) {}

  absl::Status Copy(const Tensor& from, Tensor* to) const {
    return AsStatus(CopyOnDeviceCuda(from.data(), static_cast<int64_t>(from.TotalBytes()),
                                     to->data(), stream_));
  }

  template <typename T>
  absl::Status Update(const AdamSettings& settings, std::vector<AdamVariable<T>>* variables,
                      const Tensor& learning_rate, const Tensor& step) const {
    const auto count = static_cast<int64_t>(variables->size());
    Tensor scratch;
    TF_RETURN_IF_ERROR(ctx_->allocate_temp(
        tensorflow::DT_UINT8, {AdamScratchBytes(variables->data(), count)}, &scratch));
    return AsStatus(AdamUpdateCuda(settings, variables->data(), count,
                                   learning_rate.flat<T>().data(), step.flat<T>().data(),
                                   scratch.data(), stream_));
  }

 private:
  OpKernelContext* ctx_;
  void* stream_;
};
#endif

template <typename Device, typename T>
class AdamUpdateOp : public OpKernel {
 public:
  explicit AdamUpdateOp(OpKernelConstruction* ctx) : OpKernel(ctx) {
    std::vector<std::string> words;
    OP_REQUIRES_OK(ctx, ctx->GetAttr("settings", &words));
    std::vector<double> values(words.size());
    bool are_numbers = words.size() == 6;
    for (size_t i = 0; i < words.size(); ++i) {
      are_numbers = are_numbers && absl::SimpleAtod(words[i], &values[i]);
    }
    OP_REQUIRES(ctx, are_numbers, absl::InvalidArgumentError("`settings` must be six numbers."));
    settings_ = {values[0], values[1], values[2], values[3], values[4], values[5]};
    int64_t averages = 0;
    int64_t weights = 0;
    OP_REQUIRES_OK(ctx, ctx->GetAttr("A", &averages));
    OP_REQUIRES_OK(ctx, ctx->GetAttr("N", &weights));
    OP_REQUIRES(ctx, averages == 0 || averages == weights,
                absl::InvalidArgumentError(absl::StrCat("`averages` must be none or ", weights,
                                                        "; got ", averages, ".")));
  }

  void Compute(OpKernelContext* ctx) override {
    const Device device(ctx);
    OpInputList weights, momentums, velocities, averages, gradients;
    OP_REQUIRES_OK(ctx, ctx->input_list("weights", &weights));
    OP_REQUIRES_OK(ctx, ctx->input_list("momentums", &momentums));
    OP_REQUIRES_OK(ctx, ctx->input_list("velocities", &velocities));
    OP_REQUIRES_OK(ctx, ctx->input_list("averages", &averages));
    OP_REQUIRES_OK(ctx, ctx->input_list("gradients", &gradients));
    const int last = ctx->num_inputs() - 1;
    const Tensor& learning_rate = ctx->input(last - 1);
    const Tensor& step = ctx->input(last);
    OP_REQUIRES(ctx, learning_rate.dims() == 0 && step.dims() == 0,
                absl::InvalidArgumentError("`learning_rate` and `step` must be scalars."));
    std::vector<AdamVariable<T>> variables(weights.size());
    std::vector<Tensor> held;  // what the pointers point to, while this call lasts
    held.reserve(4 * variables.size());
    for (int i = 0; i < weights.size(); ++i) {
      AdamVariable<T>& variable = variables[i];
      const Tensor& gradient = gradients[i];
      variable.gradient = gradient.flat<T>().data();
      variable.size = gradient.NumElements();
      variable.is_kernel = gradient.dims() > 1;
      const auto find = [&](const OpInputList& from, T** data) {
        return Find(ctx, device, from[i], gradient, &held, data);
      };
      OP_REQUIRES_OK(ctx, find(weights, &variable.weights));
      OP_REQUIRES_OK(ctx, find(momentums, &variable.momentum));
      OP_REQUIRES_OK(ctx, find(velocities, &variable.velocity));
      if (averages.size() > 0) OP_REQUIRES_OK(ctx, find(averages, &variable.average));
    }
    OP_REQUIRES_OK(ctx, device.Update(settings_, &variables, learning_rate, step));
  }

 private:
  // Finds the values of a variable that is as large as its gradient. Where an earlier read still
  // holds them, the variable gets a copy first, so that the reader sees no update.
  static absl::Status Find(OpKernelContext* ctx, const Device& device, const Tensor& handle,
                           const Tensor& gradient, std::vector<Tensor>* held, T** data) {
    tensorflow::core::RefCountPtr<Var> variable;
    TF_RETURN_IF_ERROR(
        tensorflow::LookupResource(ctx, handle.scalar<tensorflow::ResourceHandle>()(), &variable));
    const tensorflow::mutex_lock lock(*variable->mu());
    Tensor* values = variable->tensor();
    if (!values->IsInitialized() || values->dtype() != gradient.dtype() ||
        values->shape() != gradient.shape()) {
      return absl::InvalidArgumentError(absl::StrCat("a variable of ", values->DebugString(0),
                                                     " does not fit a gradient of ",
                                                     gradient.DebugString(0), "."));
    }
    if (!values->RefCountIsOne()) {
      Tensor copy;
      TF_RETURN_IF_ERROR(ctx->allocate_temp(values->dtype(), values->shape(), &copy));
      TF_RETURN_IF_ERROR(device.Copy(*values, &copy));
      *values = copy;
    }
    held->push_back(*values);
    *data = held->back().template flat<T>().data();
    return absl::OkStatus();
  }

  AdamSettings settings_;
};

#define CEPHRAY_REGISTER_ON(DEVICE, WHERE, T)                                              \
  REGISTER_KERNEL_BUILDER(                                                                 \
      Name("Cephray>AdamUpdate").Device(tensorflow::DEVICE).TypeConstraint<T>("T") INPUTS, \
      AdamUpdateOp<WHERE, T>);

#define INPUTS
CEPHRAY_REGISTER_ON(DEVICE_CPU, AdamOnCpu, float)
CEPHRAY_REGISTER_ON(DEVICE_CPU, AdamOnCpu, double)
#undef INPUTS

#if defined(CEPHRAY_CUDA)
// Handles of resources are read on the host.
#define INPUTS \
  .HostMemory("weights").HostMemory("momentums").HostMemory("velocities").HostMemory("averages")
CEPHRAY_REGISTER_ON(DEVICE_GPU, AdamOnGpu, float)
CEPHRAY_REGISTER_ON(DEVICE_GPU, AdamOnGpu, double)
#undef INPUTS
#endif

#undef CEPHRAY_REGISTER_ON

}  // namespace
}  // namespace cephray
