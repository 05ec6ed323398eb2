// The names under which XLA finds the crop and its two gradients, on every platform.

#ifndef CEPHRAY_TENSORFLOW_XLA_HANDLERS_H_
#define CEPHRAY_TENSORFLOW_XLA_HANDLERS_H_

namespace cephray {

// Operands and results are those of the TensorFlow operations (ops.cc), without the shapes and
// attributes: the sizes of the buffers say them.
constexpr char kXlaRoiCrop[] = "Cephray>RoiCrop";
constexpr char kXlaGradFeatures[] = "Cephray>RoiCropGradFeatures";
constexpr char kXlaGradBoxes[] = "Cephray>RoiCropGradBoxes";

}  // namespace cephray

#endif  // CEPHRAY_TENSORFLOW_XLA_HANDLERS_H_
