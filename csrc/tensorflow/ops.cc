// What TensorFlow's graph sees: the three operations, their shapes and their documentation.
// The shapes themselves are checked by kernels/shape.h; knows no kernel.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "kernels/shape.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace cephray {
namespace {

using ::tensorflow::shape_inference::DimensionHandle;
using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

Dims ToDims(InferenceContext* c, ShapeHandle handle) {
  if (!c->RankKnown(handle)) return std::nullopt;
  std::vector<int64_t> sizes(c->Rank(handle));
  for (size_t i = 0; i < sizes.size(); ++i) sizes[i] = c->Value(c->Dim(handle, i));
  return sizes;
}

ShapeHandle ToHandle(InferenceContext* c, const std::vector<int64_t>& sizes) {
  std::vector<DimensionHandle> dims;
  for (int64_t size : sizes) dims.push_back(c->MakeDim(size));
  return c->MakeShape(dims);
}

absl::Status NamedDims(InferenceContext* c, const char* name, std::vector<Dims>* dims) {
  std::vector<ShapeHandle> handles;
  TF_RETURN_IF_ERROR(c->input(name, &handles));
  for (ShapeHandle handle : handles) dims->push_back(ToDims(c, handle));
  return absl::OkStatus();
}

absl::Status AsStatus(const std::string& error) {
  return error.empty() ? absl::OkStatus() : absl::InvalidArgumentError(error);
}

absl::Status RoiCropShapes(InferenceContext* c) {
  std::vector<Dims> features;
  std::vector<Dims> boxes;
  int64_t crop_height;
  int64_t crop_width;
  TF_RETURN_IF_ERROR(NamedDims(c, "features", &features));
  TF_RETURN_IF_ERROR(NamedDims(c, "boxes", &boxes));
  TF_RETURN_IF_ERROR(c->GetAttr("crop_height", &crop_height));
  TF_RETURN_IF_ERROR(c->GetAttr("crop_width", &crop_width));
  RoiCropShape shape;
  TF_RETURN_IF_ERROR(AsStatus(ResolveShape(features, boxes[0], crop_height, crop_width, &shape)));
  c->set_output(0, ToHandle(c, CropsDims(shape)));
  return absl::OkStatus();
}

absl::Status GradFeaturesShapes(InferenceContext* c) {
  const int levels = c->num_outputs();
  std::vector<Dims> features;
  for (int l = 0; l < levels; ++l) {
    // The sizes are the inputs after `boxes` and `crops_gradient`; often the graph knows them.
    ShapeHandle feature;
    TF_RETURN_IF_ERROR(c->MakeShapeFromShapeTensor(2 + l, &feature));
    features.push_back(ToDims(c, feature));
    c->set_output(l, feature);
  }
  RoiCropShape shape;
  return AsStatus(
      ResolveGradientShape(features, ToDims(c, c->input(0)), ToDims(c, c->input(1)), &shape));
}

absl::Status GradBoxesShapes(InferenceContext* c) {
  std::vector<Dims> features;
  std::vector<Dims> boxes;
  std::vector<Dims> crops_gradient;
  TF_RETURN_IF_ERROR(NamedDims(c, "features", &features));
  TF_RETURN_IF_ERROR(NamedDims(c, "boxes", &boxes));
  TF_RETURN_IF_ERROR(NamedDims(c, "crops_gradient", &crops_gradient));
  RoiCropShape shape;
  TF_RETURN_IF_ERROR(
      AsStatus(ResolveGradientShape(features, boxes[0], crops_gradient[0], &shape)));
  const int64_t levels = static_cast<int64_t>(features.size());
  c->set_output(0, ToHandle(c, {shape.batch, shape.boxes, levels, 4}));
  return absl::OkStatus();
}

REGISTER_OP("Cephray>RoiCrop")
    .Input("features: L * T")
    .Input("boxes: float")
    .Output("crops: T")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("L: int >= 1")
    .Attr("crop_height: int")
    .Attr("crop_width: int")
    .SetShapeFn(RoiCropShapes)
    .Doc(R"doc(
Crops boxes out of every level of a feature pyramid, with bilinear interpolation.

features: L tensors [B, H_l, W_l, C_l].
boxes: [B, K, L, 4], each [y1, x1, y2, x2] as in CropAndResize: 0 is the first cell, 1 the last.
crops: [B, K, crop_height, crop_width, sum of C_l]. Samples outside a level are 0; so are all of a
  box that is not finite.
)doc");

REGISTER_OP("Cephray>RoiCropGradFeatures")
    .Input("boxes: float")
    .Input("crops_gradient: T")
    .Input("feature_shapes: L * int64")
    .Output("features_gradient: L * T")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("L: int >= 1")
    .SetShapeFn(GradFeaturesShapes)
    .Doc(R"doc(
The gradient of Cephray>RoiCrop with respect to the features; needs their shapes only.
)doc");

REGISTER_OP("Cephray>RoiCropGradBoxes")
    .Input("features: L * T")
    .Input("boxes: float")
    .Input("crops_gradient: T")
    .Output("boxes_gradient: float")
    .Attr("T: {half, bfloat16, float, double}")
    .Attr("L: int >= 1")
    .SetShapeFn(GradBoxesShapes)
    .Doc(R"doc(
The gradient of Cephray>RoiCrop with respect to the boxes, as CropAndResizeGradBoxes defines it.
)doc");

}  // namespace
}  // namespace cephray
