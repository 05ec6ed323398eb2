// The three operations under XLA (`jit_compile=True`): each becomes one custom call of XLA's typed
// foreign function interface. xla_handlers.cc holds the functions that the calls run. This file
// checks shapes while a graph is compiled, and computes nothing.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/shape.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "tensorflow/compiler/tf2xla/xla_op_registry.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/xla_handlers.h"
#include "xla/hlo/builder/xla_builder.h"
#include "xla/shape_util.h"

namespace cephray {
namespace {

using ::tensorflow::OpKernelConstruction;
using ::tensorflow::TensorShape;
using ::tensorflow::XlaOpKernel;
using ::tensorflow::XlaOpKernelContext;

absl::Status AsStatus(const std::string& error) {
  return error.empty() ? absl::OkStatus() : absl::InvalidArgumentError(error);
}

// Some inputs of an operation, with their sizes.
struct Operands {
  std::vector<xla::XlaOp> ops;
  std::vector<Dims> dims;

  absl::Status Add(XlaOpKernelContext* ctx, absl::string_view name) {
    std::vector<xla::XlaOp> added;
    std::vector<TensorShape> shapes;
    TF_RETURN_IF_ERROR(ctx->InputList(name, &added, &shapes));
    ops.insert(ops.end(), added.begin(), added.end());
    for (const TensorShape& shape : shapes) {
      const auto sizes = shape.dim_sizes();
      dims.push_back(std::vector<int64_t>(sizes.begin(), sizes.end()));
    }
    return absl::OkStatus();
  }
};

// The kernels read and write dense row-major tensors, so XLA must choose that layout.
xla::Shape RowMajor(xla::PrimitiveType type, const std::vector<int64_t>& sizes) {
  return xla::ShapeUtil::MakeShapeWithDescendingLayout(type, sizes);
}

absl::StatusOr<xla::XlaOp> Call(XlaOpKernelContext* ctx, const char* target,
                                const Operands& operands, const xla::Shape& result) {
  std::vector<xla::Shape> layouts;
  for (size_t i = 0; i < operands.ops.size(); ++i) {
    TF_ASSIGN_OR_RETURN(const xla::Shape shape, ctx->builder()->GetShape(operands.ops[i]));
    layouts.push_back(RowMajor(shape.element_type(), *operands.dims[i]));
  }
  return xla::CustomCallWithLayout(ctx->builder(), target, operands.ops, result, layouts,
                                   /*opaque=*/"{}", /*has_side_effect=*/false,
                                   /*output_operand_aliasing=*/{}, /*literal=*/nullptr,
                                   xla::CustomCallSchedule::SCHEDULE_NONE,
                                   xla::CustomCallApiVersion::API_VERSION_TYPED_FFI);
}

class RoiCropXla : public XlaOpKernel {
 public:
  explicit RoiCropXla(OpKernelConstruction* ctx) : XlaOpKernel(ctx) {
    OP_REQUIRES_OK(ctx, ctx->GetAttr("crop_height", &crop_height_));
    OP_REQUIRES_OK(ctx, ctx->GetAttr("crop_width", &crop_width_));
  }

  void Compile(XlaOpKernelContext* ctx) override { OP_REQUIRES_OK(ctx, Emit(ctx)); }

 private:
  absl::Status Emit(XlaOpKernelContext* ctx) const {
    Operands features;
    TF_RETURN_IF_ERROR(features.Add(ctx, "features"));
    Operands operands = features;
    TF_RETURN_IF_ERROR(operands.Add(ctx, "boxes"));
    RoiCropShape shape;
    TF_RETURN_IF_ERROR(AsStatus(
        ResolveShape(features.dims, operands.dims.back(), crop_height_, crop_width_, &shape)));
    const xla::Shape crops = RowMajor(ctx->input_xla_type(0), CropsDims(shape));
    TF_ASSIGN_OR_RETURN(const xla::XlaOp result, Call(ctx, kXlaRoiCrop, operands, crops));
    ctx->SetOutput(0, result);
    return absl::OkStatus();
  }

  int64_t crop_height_;
  int64_t crop_width_;
};

class RoiCropGradFeaturesXla : public XlaOpKernel {
 public:
  using XlaOpKernel::XlaOpKernel;

  void Compile(XlaOpKernelContext* ctx) override { OP_REQUIRES_OK(ctx, Emit(ctx)); }

 private:
  absl::Status Emit(XlaOpKernelContext* ctx) const {
    Operands operands;
    TF_RETURN_IF_ERROR(operands.Add(ctx, "boxes"));
    TF_RETURN_IF_ERROR(operands.Add(ctx, "crops_gradient"));
    std::vector<Dims> features;
    std::vector<xla::Shape> gradients;
    for (int l = 0; l < num_outputs(); ++l) {
      // The graph's shape function has refused sizes that are negative or not four.
      TensorShape sizes;
      TF_RETURN_IF_ERROR(ctx->ConstantInputAsShape(2 + l, &sizes));
      const auto dims = sizes.dim_sizes();
      features.push_back(std::vector<int64_t>(dims.begin(), dims.end()));
      gradients.push_back(RowMajor(ctx->input_xla_type(1), *features.back()));
    }
    RoiCropShape shape;
    TF_RETURN_IF_ERROR(
        AsStatus(ResolveGradientShape(features, operands.dims[0], operands.dims[1], &shape)));
    TF_ASSIGN_OR_RETURN(const xla::XlaOp results, Call(ctx, kXlaGradFeatures, operands,
                                                       xla::ShapeUtil::MakeTupleShape(gradients)));
    for (int l = 0; l < num_outputs(); ++l) ctx->SetOutput(l, xla::GetTupleElement(results, l));
    return absl::OkStatus();
  }
};

class RoiCropGradBoxesXla : public XlaOpKernel {
 public:
  using XlaOpKernel::XlaOpKernel;

  void Compile(XlaOpKernelContext* ctx) override { OP_REQUIRES_OK(ctx, Emit(ctx)); }

 private:
  absl::Status Emit(XlaOpKernelContext* ctx) const {
    Operands features;
    TF_RETURN_IF_ERROR(features.Add(ctx, "features"));
    Operands operands = features;
    TF_RETURN_IF_ERROR(operands.Add(ctx, "boxes"));
    TF_RETURN_IF_ERROR(operands.Add(ctx, "crops_gradient"));
    const Dims& boxes = operands.dims[features.dims.size()];
    RoiCropShape shape;
    TF_RETURN_IF_ERROR(
        AsStatus(ResolveGradientShape(features.dims, boxes, operands.dims.back(), &shape)));
    TF_ASSIGN_OR_RETURN(const xla::XlaOp result,
                        Call(ctx, kXlaGradBoxes, operands, RowMajor(xla::F32, *boxes)));
    ctx->SetOutput(0, result);
    return absl::OkStatus();
  }
};

// Tells XLA about the operations and about the inputs that it must know while it compiles.
REGISTER_XLA_OP(Name("Cephray>RoiCrop"), RoiCropXla);
REGISTER_XLA_OP(Name("Cephray>RoiCropGradFeatures").CompileTimeConstantInput("feature_shapes"),
                RoiCropGradFeaturesXla);
REGISTER_XLA_OP(Name("Cephray>RoiCropGradBoxes"), RoiCropGradBoxesXla);

// TensorFlow makes kernels of what is registered above once, when its first operation runs. This
// library is loaded after that, as a rule, so it registers the kernels itself. The priority
// decides where TensorFlow makes its own as well.
#define CEPHRAY_REGISTER_ON(DEVICE)                                                       \
  REGISTER_KERNEL_BUILDER(Name("Cephray>RoiCrop").Device(tensorflow::DEVICE).Priority(1), \
                          RoiCropXla);                                                    \
  REGISTER_KERNEL_BUILDER(                                                                \
      Name("Cephray>RoiCropGradFeatures").Device(tensorflow::DEVICE).Priority(1),         \
      RoiCropGradFeaturesXla);                                                            \
  REGISTER_KERNEL_BUILDER(                                                                \
      Name("Cephray>RoiCropGradBoxes").Device(tensorflow::DEVICE).Priority(1),            \
      RoiCropGradBoxesXla)

CEPHRAY_REGISTER_ON(DEVICE_CPU_XLA_JIT);
#if defined(CEPHRAY_CUDA)
CEPHRAY_REGISTER_ON(DEVICE_GPU_XLA_JIT);
#endif

#undef CEPHRAY_REGISTER_ON

}  // namespace
}  // namespace cephray
