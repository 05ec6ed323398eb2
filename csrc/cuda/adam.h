// One step of Adam for all variables on a CUDA device: three launches, however many there are.

#ifndef CEPHRAY_CUDA_ADAM_H_
#define CEPHRAY_CUDA_ADAM_H_

#include <cstdint>
#include <string>

#include "kernels/adam.h"

namespace cephray {

// Bytes of the device's memory that AdamUpdateCuda needs to work in, aligned to 16.
template <typename T>
int64_t AdamScratchBytes(const AdamVariable<T>* variables, int64_t count);

// Updates as AdamUpdate of cpu/adam.h does, to the same bits. `variables` is an array on the host,
// which may go when the call returns; its `first_chunk` are set. What it points to, and
// `learning_rate`, `step` and `scratch`, are in the device's memory and must live until the
// stream has run: nothing waits. `stream` is a cudaStream_t of the current device. Returns what
// went wrong, or an empty string.
template <typename T>
std::string AdamUpdateCuda(const AdamSettings& settings, AdamVariable<T>* variables, int64_t count,
                           const T* learning_rate, const T* step, void* scratch, void* stream);

// Copies memory of the device, in the order of the stream.
std::string CopyOnDeviceCuda(const void* from, int64_t bytes, void* to, void* stream);

}  // namespace cephray

#endif  // CEPHRAY_CUDA_ADAM_H_
