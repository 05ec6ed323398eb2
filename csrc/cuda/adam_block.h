// What one thread of one block does in the kernels of adam.cu. Calls nothing of CUDA, so that a
// test runs the same code on the CPU; see block.h.

#ifndef CEPHRAY_CUDA_ADAM_BLOCK_H_
#define CEPHRAY_CUDA_ADAM_BLOCK_H_

#include <cstdint>

#include "kernels/adam.h"
#include "kernels/host_device.h"

namespace cephray {

// One launch. All pointers are to the device's memory.
template <typename T>
struct AdamProblem {
  AdamSettings settings;
  const AdamVariable<T>* variables;
  int64_t count;
  int64_t chunks;
  const T* learning_rate;
  const T* step;
  double* sums;             // of squares, one for each chunk; null if nothing is clipped
  AdamFactors<T>* factors;  // of this step
};

// Values that a thread works on at a time, so that their loads overlap.
constexpr int kAdamTogether = 4;

// The sum of squares of every kAdamLanes-th value of a chunk.
template <typename T>
CEPHRAY_HOST_DEVICE inline double AdamChunkLane(const AdamProblem<T>& problem, int64_t chunk,
                                                int32_t lane) {
  const AdamRange range = AdamRangeOf(problem.variables, problem.count, chunk);
  const T* gradient = problem.variables[range.variable].gradient;
  double sum = 0;
  for (int64_t i = range.begin + lane; i < range.end; i += kAdamLanes) {
    const double value = gradient[i];
    sum += value * value;
  }
  return sum;
}

// The sum of every kAdamLanes-th chunk's sum.
template <typename T>
CEPHRAY_HOST_DEVICE inline double AdamTotalLane(const AdamProblem<T>& problem, int32_t lane) {
  double sum = 0;
  if (problem.sums == nullptr) return sum;
  for (int64_t chunk = lane; chunk < problem.chunks; chunk += kAdamLanes) {
    sum += problem.sums[chunk];
  }
  return sum;
}

// Adds the second half of the lanes to the first. Called with ever smaller halves.
CEPHRAY_HOST_DEVICE inline void AdamPhaseAdd(int32_t half, int32_t lane, double* lanes) {
  if (lane < half) lanes[lane] += lanes[lane + half];
}

template <typename T>
CEPHRAY_HOST_DEVICE inline void AdamUpdateThread(const AdamProblem<T>& problem, int64_t chunk,
                                                 int32_t thread, int32_t threads) {
  const AdamRange range = AdamRangeOf(problem.variables, problem.count, chunk);
  const AdamVariable<T> variable = problem.variables[range.variable];
  const AdamFactors<T> factors = *problem.factors;
  const T shrinkage = variable.is_kernel ? factors.shrinkage : T{0};
  for (int64_t first = range.begin + thread; first < range.end; first += kAdamTogether * threads) {
    AdamValue<T> values[kAdamTogether];
    T averages[kAdamTogether];
    CEPHRAY_UNROLL
    for (int k = 0; k < kAdamTogether; ++k) {
      const int64_t i = first + k * threads;
      if (i >= range.end) continue;
      values[k] = {variable.gradient[i], variable.weights[i], variable.momentum[i],
                   variable.velocity[i]};
      if (variable.average != nullptr) averages[k] = variable.average[i];
    }
    CEPHRAY_UNROLL
    for (int k = 0; k < kAdamTogether; ++k) {
      const int64_t i = first + k * threads;
      if (i >= range.end) continue;
      UpdateAdamValue(factors, shrinkage, &values[k]);
      variable.weights[i] = values[k].weight;
      variable.momentum[i] = values[k].momentum;
      variable.velocity[i] = values[k].velocity;
      if (variable.average == nullptr) continue;
      averages[k] += (values[k].weight - averages[k]) * factors.average_rest;
      variable.average[i] = averages[k];
    }
  }
}

}  // namespace cephray

#endif  // CEPHRAY_CUDA_ADAM_BLOCK_H_
