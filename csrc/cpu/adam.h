// One step of Adam for all variables on the CPU: each is read and written once.

#ifndef CEPHRAY_CPU_ADAM_H_
#define CEPHRAY_CPU_ADAM_H_

#include <cstdint>

#include "cpu/parallel.h"
#include "kernels/adam.h"

namespace cephray {

// Sets `first_chunk` of the variables. `step` counts from 1. T is float or double. The result
// does not depend on the number of threads. Returns false if memory ran out before the update.
template <typename T>
bool AdamUpdate(const AdamSettings& settings, AdamVariable<T>* variables, int64_t count,
                T learning_rate, T step, const ParallelFor& parallel_for);

}  // namespace cephray

#endif  // CEPHRAY_CPU_ADAM_H_
