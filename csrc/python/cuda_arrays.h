// The CUDA kernels' part of the module cephray._core.

#ifndef CEPHRAY_PYTHON_CUDA_ARRAYS_H_
#define CEPHRAY_PYTHON_CUDA_ARRAYS_H_

#include <pybind11/pybind11.h>

namespace cephray {

// Adds the functions to the module; in a build without CUDA they say how to get them.
void AddCudaFunctions(pybind11::module_& m);

}  // namespace cephray

#endif  // CEPHRAY_PYTHON_CUDA_ARRAYS_H_
