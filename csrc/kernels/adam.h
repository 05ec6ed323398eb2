// Adam's update of one value, and the numbers that all values of a step share. The arithmetic
// stands here alone, for the CPU and for a GPU: compiled without contraction into fused
// multiply-adds, both give the same bits. Knows no framework.
//
// Kingma and Ba 2015, in the order of operations of their section 2; decoupled weight decay is
// that of Loshchilov and Hutter 2019.

#ifndef CEPHRAY_KERNELS_ADAM_H_
#define CEPHRAY_KERNELS_ADAM_H_

#include <cmath>
#include <cstdint>

#include "kernels/host_device.h"

namespace cephray {

// What is the same in every step.
struct AdamSettings {
  double beta_1;         // decay of the momentum
  double beta_2;         // decay of the velocity
  double epsilon;        // is added to the root of the velocity
  double kernel_decay;   // fraction of the learning rate by which kernels shrink in a step
  double clip_norm;      // greatest norm of all gradients together; infinity: no clipping
  double average_decay;  // of the averages of the weights
};

// One variable. Nothing overlaps.
template <typename T>
struct AdamVariable {
  const T* gradient;
  T* weights;
  T* momentum;
  T* velocity;
  T* average;  // null if no average is kept
  int64_t size;
  int64_t first_chunk;  // of this variable among those of all; see SetAdamChunks
  bool is_kernel;       // shrinks by kernel_decay
};

// What is the same for all values in one step.
template <typename T>
struct AdamFactors {
  T gradient;     // gradients are multiplied with it, which clips them
  T rate;         // learning rate, corrected for moments that began at 0
  T shrinkage;    // fraction that a kernel loses
  T beta_1_rest;  // 1 - beta_1
  T beta_2_rest;  // 1 - beta_2
  T epsilon;
  T average_rest;  // 1 - decay of the average
};

// Variables are worked on a chunk at a time. A chunk belongs to one variable.
constexpr int64_t kAdamChunk = 8192;

// Squares are summed in this many lanes, which are then added pairwise.
constexpr int32_t kAdamLanes = 256;

// Chunks of a variable of so many values.
inline int64_t AdamChunks(int64_t size) { return (size + kAdamChunk - 1) / kAdamChunk; }

// Numbers the chunks of all variables. Returns how many there are.
template <typename T>
int64_t SetAdamChunks(AdamVariable<T>* variables, int64_t count) {
  int64_t chunks = 0;
  for (int64_t i = 0; i < count; ++i) {
    variables[i].first_chunk = chunks;
    chunks += AdamChunks(variables[i].size);
  }
  return chunks;
}

// The values of one chunk: [begin, end) of a variable.
struct AdamRange {
  int64_t variable;
  int64_t begin;
  int64_t end;
};

template <typename T>
CEPHRAY_HOST_DEVICE inline AdamRange AdamRangeOf(const AdamVariable<T>* variables, int64_t count,
                                                 int64_t chunk) {
  // The last variable that begins at or before the chunk; empty ones before it share its number.
  int64_t low = 0;
  int64_t high = count;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (variables[middle].first_chunk <= chunk ? low : high) = middle;
  }
  const int64_t begin = (chunk - variables[low].first_chunk) * kAdamChunk;
  const int64_t rest = variables[low].size - begin;
  return {low, begin, begin + (rest < kAdamChunk ? rest : kAdamChunk)};
}

// The numbers of a step, counted from 1. `sum_of_squares` is that of all gradients. If it is not
// finite, neither is what comes out, as of tf.clip_by_global_norm.
template <typename T>
CEPHRAY_HOST_DEVICE inline AdamFactors<T> AdamFactorsOf(const AdamSettings& settings,
                                                        double sum_of_squares, T learning_rate,
                                                        T step) {
  const double norm = std::sqrt(sum_of_squares);
  const double t = static_cast<double>(step);
  const double lr = static_cast<double>(learning_rate);
  const double early_decay = t / (t + 9.0);  // (1 + steps before) / (10 + steps before)
  double gradient = 1.0;
  if (norm > settings.clip_norm) gradient = settings.clip_norm / norm;
  if (norm - norm != 0.0) gradient = norm - norm;
  AdamFactors<T> factors;
  factors.gradient = static_cast<T>(gradient);
  factors.rate = static_cast<T>(lr * std::sqrt(1.0 - std::pow(settings.beta_2, t)) /
                                (1.0 - std::pow(settings.beta_1, t)));
  factors.shrinkage = static_cast<T>(lr * settings.kernel_decay);
  factors.beta_1_rest = static_cast<T>(1.0 - settings.beta_1);
  factors.beta_2_rest = static_cast<T>(1.0 - settings.beta_2);
  factors.epsilon = static_cast<T>(settings.epsilon);
  factors.average_rest = static_cast<T>(
      1.0 - (settings.average_decay < early_decay ? settings.average_decay : early_decay));
  return factors;
}

// One value of a variable with its moments.
template <typename T>
struct AdamValue {
  T gradient;
  T weight;
  T momentum;
  T velocity;
};

template <typename T>
CEPHRAY_HOST_DEVICE inline void UpdateAdamValue(const AdamFactors<T>& factors, T shrinkage,
                                                AdamValue<T>* value) {
  const T gradient = value->gradient * factors.gradient;
  value->momentum += (gradient - value->momentum) * factors.beta_1_rest;
  value->velocity += (gradient * gradient - value->velocity) * factors.beta_2_rest;
  value->weight -= value->weight * shrinkage;
  value->weight -= value->momentum * factors.rate / (std::sqrt(value->velocity) + factors.epsilon);
}

}  // namespace cephray

#endif  // CEPHRAY_KERNELS_ADAM_H_
