// The crop on a GPU: what one thread does. See block.h.

#ifndef CEPHRAY_CUDA_CROP_H_
#define CEPHRAY_CUDA_CROP_H_

#include <cstdint>

#include "cuda/block.h"
#include "kernels/half.h"
#include "kernels/host_device.h"
#include "kernels/roi_crop.h"

namespace cephray {

// The crop. Each group of threads takes one sample of one box at one level.
template <typename T>
CEPHRAY_HOST_DEVICE inline int64_t CropSamples(const GpuProblem<T>& problem) {
  return problem.batch * problem.boxes * problem.crop_height * problem.crop_width;
}

template <typename T, int kCount>
CEPHRAY_HOST_DEVICE inline void CropThread(const GpuProblem<T>& problem, int64_t block, int64_t l,
                                           int32_t thread) {
  using A = Accumulator<T>;
  const GpuLevel<T>& level = problem.levels[l];
  const Lane lane = LaneOf(level, thread);
  const int64_t sample = block * (problem.threads >> level.lane_bits) + lane.group;
  if (sample >= CropSamples(problem)) return;
  const int64_t row = Quotient(sample, problem.crop_width);
  const int64_t image_box = Quotient(row, problem.crop_height);
  const float* box = BoxAt(problem, image_box, l);
  const auto sample_y = Locate(SampleAxis(box[0], box[2], problem.crop_height, level.height),
                               static_cast<int32_t>(row - image_box * problem.crop_height));
  const auto sample_x = Locate(SampleAxis(box[1], box[3], problem.crop_width, level.width),
                               static_cast<int32_t>(sample - row * problem.crop_width));
  const bool is_inside = IsFinite(box) && sample_y.inside && sample_x.inside;
  const T* image = level.features + Quotient(image_box, problem.boxes) * level.height *
                                        level.width * level.channels;
  const T* upper = image + sample_y.low * level.width * level.channels;
  const T* lower = image + sample_y.high * level.width * level.channels;
  const int64_t left = sample_x.low * level.channels;
  const int64_t right = sample_x.high * level.channels;
  T* crop = problem.crops + sample * problem.channels + level.first_channel;
  for (int32_t first = lane.lane; first < level.packs; first += kItems * lane.lanes) {
    Pack<T, kCount> top_left[kItems], top_right[kItems], bottom_left[kItems], bottom_right[kItems];
    CEPHRAY_UNROLL
    for (int i = 0; i < kItems; ++i) {
      const int32_t pack = first + i * lane.lanes;
      if (!is_inside || pack >= level.packs) continue;
      top_left[i] = LoadPack<T, kCount>(upper + left + pack * kCount);
      top_right[i] = LoadPack<T, kCount>(upper + right + pack * kCount);
      bottom_left[i] = LoadPack<T, kCount>(lower + left + pack * kCount);
      bottom_right[i] = LoadPack<T, kCount>(lower + right + pack * kCount);
    }
    CEPHRAY_UNROLL
    for (int i = 0; i < kItems; ++i) {
      const int32_t pack = first + i * lane.lanes;
      if (pack >= level.packs) continue;
      Pack<T, kCount> result = {};
      if (is_inside) {
        CEPHRAY_UNROLL
        for (int j = 0; j < kCount; ++j) {
          result.values[j] =
              Narrow<T>(Blend<A>(Widen(top_left[i].values[j]), Widen(top_right[i].values[j]),
                                 Widen(bottom_left[i].values[j]), Widen(bottom_right[i].values[j]),
                                 sample_y.weight, sample_x.weight));
        }
      }
      StorePack(result, crop + pack * kCount);
    }
  }
}

}  // namespace cephray

#endif  // CEPHRAY_CUDA_CROP_H_
