// The box gradient on a GPU: what one thread does in each phase. See block.h.

#ifndef CEPHRAY_CUDA_GRAD_BOXES_H_
#define CEPHRAY_CUDA_GRAD_BOXES_H_

#include <cstdint>

#include "cuda/block.h"
#include "kernels/half.h"
#include "kernels/host_device.h"
#include "kernels/roi_crop.h"

namespace cephray {

// The box gradient. A block takes one box at one level; each thread adds up some of its packs of
// channels in double precision, then halves of the threads are added until one is left.
struct BoxSums {
  double end[4];
};

template <typename T, int kCount>
CEPHRAY_HOST_DEVICE inline void GradBoxesPhaseSum(const GpuProblem<T>& problem, int64_t image_box,
                                                  int64_t l, int64_t thread, int64_t threads,
                                                  BoxSums* shared) {
  using A = Accumulator<T>;
  const GpuLevel<T>& level = problem.levels[l];
  const float* box = BoxAt(problem, image_box, l);
  const Axis axis_y = BoxGradientAxis(box[0], box[2], problem.crop_height, level.height);
  const Axis axis_x = BoxGradientAxis(box[1], box[3], problem.crop_width, level.width);
  const T* image = level.features + Quotient(image_box, problem.boxes) * level.height *
                                        level.width * level.channels;
  const T* gradient = problem.crops_gradient +
                      image_box * problem.crop_height * problem.crop_width * problem.channels +
                      level.first_channel;
  const int64_t packs = level.channels / kCount;
  const int64_t samples = problem.crop_height * problem.crop_width;
  BoxSums sums = {};
  for (int64_t item = thread; IsFinite(box) && item < samples * packs; item += threads) {
    const int64_t sample = Quotient(item, packs);
    const int64_t channel = (item - sample * packs) * kCount;
    const int64_t y = Quotient(sample, problem.crop_width);
    const int64_t x = sample - y * problem.crop_width;
    const AxisSample sample_y = Locate(axis_y, y);
    const AxisSample sample_x = Locate(axis_x, x);
    if (!sample_y.inside || !sample_x.inside) continue;
    const T* upper = image + sample_y.low * level.width * level.channels + channel;
    const T* lower = image + sample_y.high * level.width * level.channels + channel;
    const auto top_left = LoadPack<T, kCount>(upper + sample_x.low * level.channels);
    const auto top_right = LoadPack<T, kCount>(upper + sample_x.high * level.channels);
    const auto bottom_left = LoadPack<T, kCount>(lower + sample_x.low * level.channels);
    const auto bottom_right = LoadPack<T, kCount>(lower + sample_x.high * level.channels);
    const auto weights = LoadPack<T, kCount>(gradient + sample * problem.channels + channel);
    A slope_y = 0;
    A slope_x = 0;
    for (int i = 0; i < kCount; ++i) {
      const A tl = Widen(top_left.values[i]);
      const A tr = Widen(top_right.values[i]);
      const A bl = Widen(bottom_left.values[i]);
      const A br = Widen(bottom_right.values[i]);
      const A g = Widen(weights.values[i]);
      slope_y += g * SlopeY<A>(tl, tr, bl, br, sample_x.weight);
      slope_x += g * SlopeX<A>(tl, tr, bl, br, sample_y.weight);
    }
    const EndDerivatives dy = DeriveEnds(y, problem.crop_height, level.height);
    const EndDerivatives dx = DeriveEnds(x, problem.crop_width, level.width);
    sums.end[0] += static_cast<double>(slope_y) * dy.start;
    sums.end[1] += static_cast<double>(slope_x) * dx.start;
    sums.end[2] += static_cast<double>(slope_y) * dy.end;
    sums.end[3] += static_cast<double>(slope_x) * dx.end;
  }
  shared[thread] = sums;
}

// For half = threads / 2, threads / 4, ..., 1; the number of threads is a power of two.
CEPHRAY_HOST_DEVICE inline void GradBoxesPhaseAdd(int64_t half, int64_t thread, BoxSums* shared) {
  if (thread >= half) return;
  for (int j = 0; j < 4; ++j) shared[thread].end[j] += shared[thread + half].end[j];
}

template <typename T>
CEPHRAY_HOST_DEVICE inline void GradBoxesPhaseWrite(const GpuProblem<T>& problem,
                                                    int64_t image_box, int64_t l, int64_t thread,
                                                    const BoxSums* shared) {
  if (thread >= 4) return;
  const int64_t first = (image_box * problem.all_levels + problem.first_level + l) * 4;
  problem.boxes_gradient[first + thread] = static_cast<float>(shared[0].end[thread]);
}

}  // namespace cephray

#endif  // CEPHRAY_CUDA_GRAD_BOXES_H_
