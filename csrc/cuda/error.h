// An error of the CUDA runtime in words.

#ifndef CEPHRAY_CUDA_ERROR_H_
#define CEPHRAY_CUDA_ERROR_H_

#include <cuda_runtime_api.h>

#include <string>

namespace cephray {

// Returns an empty string if there was none.
inline std::string DescribeCudaError(cudaError_t error) {
  if (error == cudaSuccess) return "";
  return std::string("CUDA: ") + cudaGetErrorName(error) + ": " + cudaGetErrorString(error);
}

}  // namespace cephray

#endif  // CEPHRAY_CUDA_ERROR_H_
