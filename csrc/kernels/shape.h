// The shapes of one crop: what they must be, and the words in which others are refused.
// The one place that checks them, for TensorFlow's shape functions (where sizes may be unknown),
// for its kernels and for the NumPy bindings. Knows no framework.

#ifndef CEPHRAY_KERNELS_SHAPE_H_
#define CEPHRAY_KERNELS_SHAPE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cephray {

constexpr int64_t kUnknown = -1;

// The sizes of a tensor, each may be kUnknown; nothing where even their number is unknown.
using Dims = std::optional<std::vector<int64_t>>;

struct Level {
  int64_t height = kUnknown;
  int64_t width = kUnknown;
  int64_t channels = kUnknown;
  int64_t first_channel = kUnknown;  // of this level in the crops
};

struct RoiCropShape {
  int64_t batch = kUnknown;
  int64_t boxes = kUnknown;  // per image
  int64_t crop_height = kUnknown;
  int64_t crop_width = kUnknown;
  int64_t channels = kUnknown;  // of all levels together
  std::vector<Level> levels;
};

// Fills `shape` from features [B, H_l, W_l, C_l], boxes [B, K, L, 4] and the crop size.
// Returns what is wrong, or an empty string.
std::string ResolveShape(const std::vector<Dims>& features, const Dims& boxes, int64_t crop_height,
                         int64_t crop_width, RoiCropShape* shape);

// The same, where the crop size is that of the gradient of the crops [B, K, S_h, S_w, sum of C_l].
std::string ResolveGradientShape(const std::vector<Dims>& features, const Dims& boxes,
                                 const Dims& crops_gradient, RoiCropShape* shape);

// [B, K, S_h, S_w, sum of C_l]
std::vector<int64_t> CropsDims(const RoiCropShape& shape);

std::string Format(const Dims& dims);

}  // namespace cephray

#endif  // CEPHRAY_KERNELS_SHAPE_H_
