// Cuts a crop into launches: levels by the handful, tiles, and the width of the accesses. Calls
// nothing of CUDA; roi_crop_cuda.cu launches what stands here, a test runs it on the CPU.

#ifndef CEPHRAY_ROI_CROP_GPU_LAUNCH_H_
#define CEPHRAY_ROI_CROP_GPU_LAUNCH_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "roi_crop_gpu.h"
#include "roi_crop_shape.h"

namespace cephray {

// The tensors of a call on the GPU; those that a kernel does not use stay null.
template <typename T>
struct GpuTensors {
  const T* const* features = nullptr;
  const float* boxes = nullptr;
  const T* crops_gradient = nullptr;
  T* crops = nullptr;
  T* const* features_gradient = nullptr;
  float* boxes_gradient = nullptr;
};

// Channels in 16 bytes, if all that is accessed in packs is aligned to them; else 1.
template <typename T>
int PackCount(const RoiCropShape& shape, const GpuTensors<T>& tensors) {
  constexpr int kCount = 16 / sizeof(T);
  const auto is_aligned = [](const void* data) {
    return reinterpret_cast<uintptr_t>(data) % 16 == 0;
  };
  bool fits = is_aligned(tensors.crops) && is_aligned(tensors.crops_gradient);
  for (size_t l = 0; l < shape.levels.size(); ++l) {
    fits = fits && shape.levels[l].channels % kCount == 0 &&
           (tensors.features == nullptr || is_aligned(tensors.features[l])) &&
           (tensors.features_gradient == nullptr || is_aligned(tensors.features_gradient[l]));
  }
  return fits ? kCount : 1;
}

// One problem for each handful of levels. Levels without channels have no tiles and no packs; they
// are left to the kernels, which find nothing to do there.
template <typename T>
std::vector<GpuProblem<T>> CutIntoLaunches(const RoiCropShape& shape,
                                           const GpuTensors<T>& tensors, int pack_count) {
  std::vector<GpuProblem<T>> problems;
  const int64_t levels = static_cast<int64_t>(shape.levels.size());
  for (int64_t first = 0; first < levels; first += kGpuLevels) {
    GpuProblem<T> problem = {};
    problem.batch = shape.batch;
    problem.boxes = shape.boxes;
    problem.crop_height = shape.crop_height;
    problem.crop_width = shape.crop_width;
    problem.channels = shape.channels;
    problem.all_levels = levels;
    problem.first_level = first;
    problem.levels_here = std::min<int64_t>(kGpuLevels, levels - first);
    problem.box = tensors.boxes;
    problem.crops_gradient = tensors.crops_gradient;
    problem.crops = tensors.crops;
    problem.boxes_gradient = tensors.boxes_gradient;
    for (int64_t l = 0; l < problem.levels_here; ++l) {
      const Level& from = shape.levels[first + l];
      GpuLevel<T>& level = problem.levels[l];
      level.features = tensors.features == nullptr ? nullptr : tensors.features[first + l];
      level.gradient =
          tensors.features_gradient == nullptr ? nullptr : tensors.features_gradient[first + l];
      level.height = from.height;
      level.width = from.width;
      level.channels = from.channels;
      level.first_channel = from.first_channel;
      level.first_tile = problem.tiles;
      level.row_tiles = (from.width * (from.channels / pack_count) + kTilePacks - 1) / kTilePacks;
      problem.tiles += level.height * level.row_tiles;
    }
    problems.push_back(problem);
  }
  return problems;
}

}  // namespace cephray

#endif  // CEPHRAY_ROI_CROP_GPU_LAUNCH_H_
