// The names under which XLA finds the crop and its two gradients, on every platform.

#ifndef CEPHRAY_XLA_HANDLERS_H_
#define CEPHRAY_XLA_HANDLERS_H_

namespace cephray {

// Operands and results are those of the TensorFlow operations (tf_ops.cc), without the shapes and
// attributes: the sizes of the buffers say them.
constexpr char kXlaRoiCrop[] = "CephrayRoiCrop";
constexpr char kXlaGradFeatures[] = "CephrayRoiCropGradFeatures";
constexpr char kXlaGradBoxes[] = "CephrayRoiCropGradBoxes";

}  // namespace cephray

#endif  // CEPHRAY_XLA_HANDLERS_H_
