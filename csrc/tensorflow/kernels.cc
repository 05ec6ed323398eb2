// TensorFlow's kernels of the three operations: check, allocate, dispatch to TensorFlow's own
// threads or to its stream on a GPU. Computes nothing itself, and needs no CUDA header.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/shape.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/devices.h"
#include "tensorflow/threads.h"
#if defined(CEPHRAY_CUDA)
#include "tensorflow/stream.h"
#endif

namespace cephray {
namespace {

using ::tensorflow::OpInputList;
using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::OpOutputList;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;

// The element type under which cpu/roi_crop.h knows one of TensorFlow's.
template <typename T>
struct Element {
  using type = T;
};
template <>
struct Element<Eigen::half> {
  using type = Half;
};
template <>
struct Element<Eigen::bfloat16> {
  using type = BFloat16;
};

template <typename T>
const typename Element<T>::type* Read(const Tensor& tensor) {
  return reinterpret_cast<const typename Element<T>::type*>(tensor.flat<T>().data());
}

template <typename T>
typename Element<T>::type* Write(Tensor* tensor) {
  return reinterpret_cast<typename Element<T>::type*>(tensor->flat<T>().data());
}

template <typename T>
std::vector<const typename Element<T>::type*> ReadAll(const OpInputList& tensors) {
  std::vector<const typename Element<T>::type*> data;
  for (const Tensor& tensor : tensors) data.push_back(Read<T>(tensor));
  return data;
}

Dims ToDims(const Tensor& tensor) {
  const auto sizes = tensor.shape().dim_sizes();
  return std::vector<int64_t>(sizes.begin(), sizes.end());
}

std::vector<Dims> ToDims(const OpInputList& tensors) {
  std::vector<Dims> dims;
  for (const Tensor& tensor : tensors) dims.push_back(ToDims(tensor));
  return dims;
}

absl::Status AsStatus(const std::string& error) {
  return error.empty() ? absl::OkStatus() : absl::InvalidArgumentError(error);
}

absl::Status AsStatus(const Outcome& outcome) {
  switch (outcome.kind) {
    case Outcome::kDone:
      return absl::OkStatus();
    case Outcome::kNoMemory:
      return absl::ResourceExhaustedError(outcome.message);
    case Outcome::kFailed:
      break;
  }
  return absl::InternalError(outcome.message);
}

// The device that a kernel runs on.
template <typename Device>
Device DeviceOf(OpKernelContext* ctx);

template <>
OnCpu DeviceOf<OnCpu>(OpKernelContext* ctx) {
  return OnCpu(OnThreadsOf(ctx));
}

#if defined(CEPHRAY_CUDA)
template <>
OnGpu DeviceOf<OnGpu>(OpKernelContext* ctx) {
  return OnGpu(StreamOf(ctx));
}
#endif

template <typename Device, typename T>
class RoiCropOp : public OpKernel {
 public:
  explicit RoiCropOp(OpKernelConstruction* ctx) : OpKernel(ctx) {
    OP_REQUIRES_OK(ctx, ctx->GetAttr("crop_height", &crop_height_));
    OP_REQUIRES_OK(ctx, ctx->GetAttr("crop_width", &crop_width_));
  }

  void Compute(OpKernelContext* ctx) override {
    OpInputList features;
    OP_REQUIRES_OK(ctx, ctx->input_list("features", &features));
    const Tensor& boxes = ctx->input(features.size());
    RoiCropShape shape;
    OP_REQUIRES_OK(ctx, AsStatus(ResolveShape(ToDims(features), ToDims(boxes), crop_height_,
                                              crop_width_, &shape)));
    Tensor* crops = nullptr;
    OP_REQUIRES_OK(ctx, ctx->allocate_output(0, TensorShape(CropsDims(shape)), &crops));
    OP_REQUIRES_OK(ctx, AsStatus(DeviceOf<Device>(ctx).Crop(shape, ReadAll<T>(features).data(),
                                                            Read<float>(boxes), Write<T>(crops))));
  }

 private:
  int64_t crop_height_;
  int64_t crop_width_;
};

template <typename Device, typename T>
class RoiCropGradFeaturesOp : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* ctx) override {
    const Tensor& boxes = ctx->input(0);
    const Tensor& crops_gradient = ctx->input(1);
    OpInputList feature_shapes;
    OP_REQUIRES_OK(ctx, ctx->input_list("feature_shapes", &feature_shapes));
    std::vector<Dims> features;
    for (int l = 0; l < feature_shapes.size(); ++l) {
      const Tensor& sizes = feature_shapes[l];
      OP_REQUIRES(
          ctx, sizes.dims() == 1,
          absl::InvalidArgumentError(absl::StrCat(
              "`feature_shapes[", l, "]` must have shape [4]; got ", Format(ToDims(sizes)), ".")));
      const auto values = sizes.vec<int64_t>();
      features.push_back(std::vector<int64_t>(values.data(), values.data() + values.size()));
      for (int64_t size : *features.back()) {
        OP_REQUIRES(ctx, size >= 0,
                    absl::InvalidArgumentError(absl::StrCat(
                        "`feature_shapes[", l, "]` must not be negative; got ", size, ".")));
      }
    }
    RoiCropShape shape;
    OP_REQUIRES_OK(ctx, AsStatus(ResolveGradientShape(features, ToDims(boxes),
                                                      ToDims(crops_gradient), &shape)));
    OpOutputList outputs;
    OP_REQUIRES_OK(ctx, ctx->output_list("features_gradient", &outputs));
    std::vector<typename Element<T>::type*> gradients;
    for (int l = 0; l < outputs.size(); ++l) {
      Tensor* gradient = nullptr;
      OP_REQUIRES_OK(ctx, outputs.allocate(l, TensorShape(*features[l]), &gradient));
      gradients.push_back(Write<T>(gradient));
    }
    OP_REQUIRES_OK(ctx,
                   AsStatus(DeviceOf<Device>(ctx).GradFeatures(
                       shape, Read<float>(boxes), Read<T>(crops_gradient), gradients.data())));
  }
};

template <typename Device, typename T>
class RoiCropGradBoxesOp : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* ctx) override {
    OpInputList features;
    OP_REQUIRES_OK(ctx, ctx->input_list("features", &features));
    const Tensor& boxes = ctx->input(features.size());
    const Tensor& crops_gradient = ctx->input(features.size() + 1);
    RoiCropShape shape;
    OP_REQUIRES_OK(ctx, AsStatus(ResolveGradientShape(ToDims(features), ToDims(boxes),
                                                      ToDims(crops_gradient), &shape)));
    Tensor* gradient = nullptr;
    OP_REQUIRES_OK(ctx, ctx->allocate_output(0, boxes.shape(), &gradient));
    OP_REQUIRES_OK(ctx, AsStatus(DeviceOf<Device>(ctx).GradBoxes(
                            shape, ReadAll<T>(features).data(), Read<float>(boxes),
                            Read<T>(crops_gradient), Write<float>(gradient))));
  }
};

#define CEPHRAY_REGISTER_ON(DEVICE, WHERE, T)                                             \
  REGISTER_KERNEL_BUILDER(                                                                \
      Name("Cephray>RoiCrop").Device(tensorflow::DEVICE).TypeConstraint<T>("T"),          \
      RoiCropOp<WHERE, T>);                                                               \
  REGISTER_KERNEL_BUILDER(Name("Cephray>RoiCropGradFeatures")                             \
                              .Device(tensorflow::DEVICE)                                 \
                              .HostMemory("feature_shapes")                               \
                              .TypeConstraint<T>("T"),                                    \
                          RoiCropGradFeaturesOp<WHERE, T>);                               \
  REGISTER_KERNEL_BUILDER(                                                                \
      Name("Cephray>RoiCropGradBoxes").Device(tensorflow::DEVICE).TypeConstraint<T>("T"), \
      RoiCropGradBoxesOp<WHERE, T>);

#if defined(CEPHRAY_CUDA)
#define CEPHRAY_REGISTER(T)                 \
  CEPHRAY_REGISTER_ON(DEVICE_CPU, OnCpu, T) \
  CEPHRAY_REGISTER_ON(DEVICE_GPU, OnGpu, T)
#else
#define CEPHRAY_REGISTER(T) CEPHRAY_REGISTER_ON(DEVICE_CPU, OnCpu, T)
#endif

CEPHRAY_REGISTER(Eigen::half)
CEPHRAY_REGISTER(Eigen::bfloat16)
CEPHRAY_REGISTER(float)
CEPHRAY_REGISTER(double)

#undef CEPHRAY_REGISTER
#undef CEPHRAY_REGISTER_ON

}  // namespace
}  // namespace cephray
