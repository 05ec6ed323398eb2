// The crop and its two gradients on the CPU, over plain pointers and a given parallel-for.
// Same input, same bits, whatever the number of threads: every element is written by one call of
// the loop's body, which adds its parts in a fixed order. Knows no framework; checks nothing
// (kernels/shape.h does). T is float, double, Half or BFloat16.

#ifndef CEPHRAY_CPU_ROI_CROP_H_
#define CEPHRAY_CPU_ROI_CROP_H_

#include "cpu/parallel.h"
#include "kernels/half.h"
#include "kernels/shape.h"

namespace cephray {

// All tensors are dense and row-major; `features` points to one tensor per level.
// All three return false where there was no memory for their scratch space.

template <typename T>
bool RoiCrop(const RoiCropShape& shape, const T* const* features, const float* boxes, T* crops,
             const ParallelFor& parallel_for);

template <typename T>
bool RoiCropGradFeatures(const RoiCropShape& shape, const float* boxes, const T* crops_gradient,
                         T* const* features_gradient, const ParallelFor& parallel_for);

template <typename T>
bool RoiCropGradBoxes(const RoiCropShape& shape, const T* const* features, const float* boxes,
                      const T* crops_gradient, float* boxes_gradient,
                      const ParallelFor& parallel_for);

}  // namespace cephray

#endif  // CEPHRAY_CPU_ROI_CROP_H_
