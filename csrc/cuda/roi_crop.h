// The crop and its two gradients on a CUDA device, over pointers to its memory, on a given stream
// of the current device. Nothing waits: the tensors must live until the stream has run. Checks no
// shape (kernels/shape.h does). T is float, double, Half or BFloat16. Deterministic.

#ifndef CEPHRAY_CUDA_ROI_CROP_H_
#define CEPHRAY_CUDA_ROI_CROP_H_

#include <string>

#include "kernels/half.h"
#include "kernels/shape.h"

namespace cephray {

// Tensors are dense and row-major; `features` (an array on the host) points to one per level. All
// three return what went wrong, or an empty string; `stream` is a cudaStream_t.

template <typename T>
std::string RoiCropCuda(const RoiCropShape& shape, const T* const* features, const float* boxes,
                        T* crops, void* stream);

template <typename T>
std::string RoiCropGradFeaturesCuda(const RoiCropShape& shape, const float* boxes,
                                    const T* crops_gradient, T* const* features_gradient,
                                    void* stream);

template <typename T>
std::string RoiCropGradBoxesCuda(const RoiCropShape& shape, const T* const* features,
                                 const float* boxes, const T* crops_gradient,
                                 float* boxes_gradient, void* stream);

// Makes `device` current for the calling thread while it lives, as the caller's pointers need.
class CudaDeviceScope {
 public:
  explicit CudaDeviceScope(int device);
  ~CudaDeviceScope();
  CudaDeviceScope(const CudaDeviceScope&) = delete;
  CudaDeviceScope& operator=(const CudaDeviceScope&) = delete;

  const std::string& error() const { return error_; }

 private:
  int previous_ = -1;
  std::string error_;
};

}  // namespace cephray

#endif  // CEPHRAY_CUDA_ROI_CROP_H_
