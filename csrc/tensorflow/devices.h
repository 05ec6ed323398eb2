// The three calls on one device, in the same words for the CPU and for a GPU, so that a
// framework's glue is written once. Knows no framework, and needs no CUDA header.

#ifndef CEPHRAY_TENSORFLOW_DEVICES_H_
#define CEPHRAY_TENSORFLOW_DEVICES_H_

#include <string>
#include <utility>

#include "cpu/parallel.h"
#include "cpu/roi_crop.h"
#include "kernels/shape.h"
#if defined(CEPHRAY_CUDA)
#include "cuda/roi_crop.h"
#endif

namespace cephray {

// How a call ended.
struct Outcome {
  enum Kind { kDone, kNoMemory, kFailed } kind;
  std::string message;  // empty if it is done
};

// The template parameter of the functions is the element type.
class OnCpu {
 public:
  explicit OnCpu(ParallelFor parallel_for) : parallel_for_(std::move(parallel_for)) {}

  template <typename T>
  Outcome Crop(const RoiCropShape& shape, const T* const* features, const float* boxes,
               T* crops) const {
    return ToOutcome(RoiCrop(shape, features, boxes, crops, parallel_for_));
  }

  template <typename T>
  Outcome GradFeatures(const RoiCropShape& shape, const float* boxes, const T* crops_gradient,
                       T* const* features_gradient) const {
    return ToOutcome(
        RoiCropGradFeatures(shape, boxes, crops_gradient, features_gradient, parallel_for_));
  }

  template <typename T>
  Outcome GradBoxes(const RoiCropShape& shape, const T* const* features, const float* boxes,
                    const T* crops_gradient, float* boxes_gradient) const {
    return ToOutcome(
        RoiCropGradBoxes(shape, features, boxes, crops_gradient, boxes_gradient, parallel_for_));
  }

 private:
  static Outcome ToOutcome(bool had_memory) {
    if (had_memory) return {Outcome::kDone, ""};
    return {Outcome::kNoMemory, "no memory for the samples of the boxes."};
  }

  ParallelFor parallel_for_;
};

#if defined(CEPHRAY_CUDA)
// The device of the stream must be the thread's current one.
class OnGpu {
 public:
  explicit OnGpu(void* stream) : stream_(stream) {}

  template <typename T>
  Outcome Crop(const RoiCropShape& shape, const T* const* features, const float* boxes,
               T* crops) const {
    return ToOutcome(RoiCropCuda(shape, features, boxes, crops, stream_));
  }

  template <typename T>
  Outcome GradFeatures(const RoiCropShape& shape, const float* boxes, const T* crops_gradient,
                       T* const* features_gradient) const {
    return ToOutcome(
        RoiCropGradFeaturesCuda(shape, boxes, crops_gradient, features_gradient, stream_));
  }

  template <typename T>
  Outcome GradBoxes(const RoiCropShape& shape, const T* const* features, const float* boxes,
                    const T* crops_gradient, float* boxes_gradient) const {
    return ToOutcome(
        RoiCropGradBoxesCuda(shape, features, boxes, crops_gradient, boxes_gradient, stream_));
  }

 private:
  static Outcome ToOutcome(const std::string& error) {
    return {error.empty() ? Outcome::kDone : Outcome::kFailed, error};
  }

  void* stream_;
};
#endif

}  // namespace cephray

#endif  // CEPHRAY_TENSORFLOW_DEVICES_H_
