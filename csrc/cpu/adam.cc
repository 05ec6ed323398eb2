// See adam.h. The norm's sums are added in the order in which the GPU's kernels add them.

#include "cpu/adam.h"

#include <cmath>
#include <cstdint>
#include <new>
#include <vector>

namespace cephray {
namespace {

// Elementary operations for each value, to share the work out.
constexpr int64_t kSquareCost = 2;
constexpr int64_t kUpdateCost = 30;

// Adds the lanes pairwise.
double AddLanes(double* lanes) {
  for (int32_t half = kAdamLanes / 2; half > 0; half /= 2) {
    for (int32_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

template <typename T>
double SumSquares(const T* values, int64_t count) {
  double lanes[kAdamLanes] = {};
  int64_t i = 0;
  for (; i + kAdamLanes <= count; i += kAdamLanes) {
    for (int32_t lane = 0; lane < kAdamLanes; ++lane) {
      const double value = values[i + lane];
      lanes[lane] += value * value;
    }
  }
  for (int32_t lane = 0; i + lane < count; ++lane) {
    const double value = values[i + lane];
    lanes[lane] += value * value;
  }
  return AddLanes(lanes);
}

template <typename T>
void UpdateRange(const AdamFactors<T>& factors, const AdamVariable<T>& variable, AdamRange range) {
  const T* __restrict__ gradient = variable.gradient;
  T* __restrict__ weights = variable.weights;
  T* __restrict__ momentum = variable.momentum;
  T* __restrict__ velocity = variable.velocity;
  const AdamFactors<T> f = factors;  // a copy, which no store below can change
  const T shrinkage = variable.is_kernel ? f.shrinkage : T{0};
  for (int64_t i = range.begin; i < range.end; ++i) {
    AdamValue<T> value = {gradient[i], weights[i], momentum[i], velocity[i]};
    UpdateAdamValue(f, shrinkage, &value);
    weights[i] = value.weight;
    momentum[i] = value.momentum;
    velocity[i] = value.velocity;
  }
  if (variable.average == nullptr) return;
  T* __restrict__ average = variable.average;
  for (int64_t i = range.begin; i < range.end; ++i) {
    average[i] += (weights[i] - average[i]) * f.average_rest;
  }
}

}  // namespace

template <typename T>
bool AdamUpdate(const AdamSettings& settings, AdamVariable<T>* variables, int64_t count,
                T learning_rate, T step, const ParallelFor& parallel_for) {
  const int64_t chunks = SetAdamChunks(variables, count);
  double sum_of_squares = 0;
  if (std::isfinite(settings.clip_norm)) {
    std::vector<double> sums;
    try {
      sums.resize(chunks);
    } catch (const std::bad_alloc&) {
      return false;
    }
    Run(parallel_for, chunks, kAdamChunk * kSquareCost, [&](int64_t begin, int64_t end) {
      for (int64_t chunk = begin; chunk < end; ++chunk) {
        const AdamRange range = AdamRangeOf(variables, count, chunk);
        sums[chunk] =
            SumSquares(variables[range.variable].gradient + range.begin, range.end - range.begin);
      }
    });
    double lanes[kAdamLanes] = {};
    for (int64_t chunk = 0; chunk < chunks; ++chunk) lanes[chunk % kAdamLanes] += sums[chunk];
    sum_of_squares = AddLanes(lanes);
  }
  const AdamFactors<T> factors = AdamFactorsOf(settings, sum_of_squares, learning_rate, step);
  Run(parallel_for, chunks, kAdamChunk * kUpdateCost, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const AdamRange range = AdamRangeOf(variables, count, chunk);
      UpdateRange(factors, variables[range.variable], range);
    }
  });
  return true;
}

template bool AdamUpdate<float>(const AdamSettings&, AdamVariable<float>*, int64_t, float, float,
                                const ParallelFor&);
template bool AdamUpdate<double>(const AdamSettings&, AdamVariable<double>*, int64_t, double,
                                 double, const ParallelFor&);

}  // namespace cephray
