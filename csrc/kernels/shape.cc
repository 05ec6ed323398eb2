// See shape.h.

#include "kernels/shape.h"

#include <algorithm>

namespace cephray {
namespace {

std::string Quote(const std::string& name) { return "`" + name + "`"; }

// Whether a tensor of these sizes, of 8-byte elements, has a byte count that int64 can hold.
// An empty axis counts as one cell, because partial products are used as strides.
bool IsCountable(const std::vector<int64_t>& dims) {
  int64_t bytes = 8;
  for (int64_t size : dims) {
    if (__builtin_mul_overflow(bytes, std::max<int64_t>(size, 1), &bytes)) return false;
  }
  return true;
}

// Merges a size into one that other arguments gave; false where the two contradict.
bool Merge(int64_t size, int64_t* merged) {
  if (*merged == kUnknown) *merged = size;
  return size == kUnknown || size == *merged;
}

std::string CheckTensor(const std::string& name, const Dims& dims, size_t rank,
                        const std::string& rule) {
  if (dims && dims->size() != rank) {
    return Quote(name) + " must have shape " + rule + "; got " + Format(dims) + ".";
  }
  if (dims && !IsCountable(*dims)) {
    return Quote(name) + " has more elements than a 64-bit integer can count; got shape " +
           Format(dims) + ".";
  }
  return "";
}

std::string ResolveLevel(const std::string& name, const Dims& feature, Level* level) {
  std::string error = CheckTensor(name, feature, 4, "[B, H, W, C]");
  if (!error.empty() || !feature) return error;
  level->height = (*feature)[1];
  level->width = (*feature)[2];
  level->channels = (*feature)[3];
  if (level->height == 0 || level->width == 0) {
    return Quote(name) + " must have a height and a width of at least 1; got " + Format(feature) +
           ".";
  }
  return "";
}

// Places the levels' channels one after the other, as far as they are known.
std::string PlaceChannels(RoiCropShape* shape) {
  int64_t next = 0;
  for (Level& level : shape->levels) {
    level.first_channel = next;
    if (next == kUnknown || level.channels == kUnknown) {
      next = kUnknown;
    } else if (__builtin_add_overflow(next, level.channels, &next)) {
      return "`features` have more channels together than a 64-bit integer can count.";
    }
  }
  shape->channels = next;
  return "";
}

}  // namespace

std::string Format(const Dims& dims) {
  if (!dims) return "an unknown shape";
  std::string text = "[";
  for (int64_t size : *dims) {
    if (text.size() > 1) text += ", ";
    text += size == kUnknown ? "?" : std::to_string(size);
  }
  return text + "]";
}

std::vector<int64_t> CropsDims(const RoiCropShape& shape) {
  return {shape.batch, shape.boxes, shape.crop_height, shape.crop_width, shape.channels};
}

std::string ResolveShape(const std::vector<Dims>& features, const Dims& boxes, int64_t crop_height,
                         int64_t crop_width, RoiCropShape* shape) {
  *shape = RoiCropShape();
  const int64_t levels = static_cast<int64_t>(features.size());
  if (levels == 0) return "`features` must hold at least one tensor [B, H, W, C]; got none.";
  for (int64_t size : {crop_height, crop_width}) {
    if (size != kUnknown && size < 1) {
      return "`crop_size` must be at least 1 in both directions; got (" +
             std::to_string(crop_height) + ", " + std::to_string(crop_width) + ").";
    }
  }
  shape->crop_height = crop_height;
  shape->crop_width = crop_width;
  shape->levels.resize(features.size());

  std::string error = CheckTensor("boxes", boxes, 4, "[B, K, L, 4]");
  if (!error.empty()) return error;
  int64_t box_levels = levels;
  int64_t coordinates = 4;
  if (boxes) {
    shape->batch = (*boxes)[0];
    shape->boxes = (*boxes)[1];
    if (!Merge((*boxes)[2], &box_levels) || !Merge((*boxes)[3], &coordinates)) {
      return "`boxes` must have shape [B, K, L, 4], where L = " + std::to_string(levels) +
             " is the number of features; got " + Format(boxes) + ".";
    }
  }
  for (size_t l = 0; l < features.size(); ++l) {
    const std::string name = "features[" + std::to_string(l) + "]";
    error = ResolveLevel(name, features[l], &shape->levels[l]);
    if (!error.empty()) return error;
    if (features[l] && !Merge((*features[l])[0], &shape->batch)) {
      // The size that it contradicts came from the boxes, or from an earlier feature.
      const bool from_boxes = boxes && (*boxes)[0] != kUnknown;
      size_t first = 0;
      while (!from_boxes && (!features[first] || (*features[first])[0] == kUnknown)) ++first;
      const std::string other = from_boxes ? "boxes" : "features[" + std::to_string(first) + "]";
      return Quote(name) + " and " + Quote(other) + " must have the same batch size B; got " +
             Format(features[l]) + " and " + Format(from_boxes ? boxes : features[first]) + ".";
    }
  }
  error = PlaceChannels(shape);
  if (error.empty() && !IsCountable(CropsDims(*shape))) {
    error = "the crops [B, K, S_h, S_w, C] of `boxes` " + Format(boxes) + " would have shape " +
            Format(CropsDims(*shape)) + ", more elements than a 64-bit integer can count.";
  }
  return error;
}

std::string ResolveGradientShape(const std::vector<Dims>& features, const Dims& boxes,
                                 const Dims& crops_gradient, RoiCropShape* shape) {
  std::string error = CheckTensor("crops_gradient", crops_gradient, 5, "[B, K, S_h, S_w, C]");
  if (!error.empty()) return error;
  const std::vector<int64_t> got = crops_gradient.value_or(std::vector<int64_t>(5, kUnknown));
  error = ResolveShape(features, boxes, got[2], got[3], shape);
  if (!error.empty()) return error;
  std::vector<int64_t> wanted = CropsDims(*shape);
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (!Merge(got[i], &wanted[i])) {
      return "`crops_gradient` must have the shape of the crops, " + Format(CropsDims(*shape)) +
             "; got " + Format(crops_gradient) + ".";
    }
  }
  return "";
}

}  // namespace cephray
