// An array in a GPU's memory as Python hands it over, through DLPack or __cuda_array_interface__.
// Takes CuPy's, PyTorch's and whoever's; checks that it is dense and on a CUDA device. Knows no
// kernel.

#ifndef CEPHRAY_PYTHON_DEVICE_ARRAY_H_
#define CEPHRAY_PYTHON_DEVICE_ARRAY_H_

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <vector>

namespace cephray {

struct DeviceArray {
  void* data = nullptr;
  std::vector<int64_t> sizes;
  std::string dtype;  // "float16", "bfloat16", "float32", "float64"
  int device = -1;    // -1: the current one (__cuda_array_interface__ does not say)
};

// The array under `name`, ready on `stream` (a cudaStream_t as a number): its producer's work
// comes first on it. The object keeps the memory; the caller keeps the object until the stream has
// run.
DeviceArray ToDeviceArray(const pybind11::object& array, const std::string& name, uintptr_t stream,
                          bool is_written);

}  // namespace cephray

#endif  // CEPHRAY_PYTHON_DEVICE_ARRAY_H_
