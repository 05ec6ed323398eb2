// Cuts a crop into launches: levels by the handful, blocks, and the width of the accesses. Calls
// nothing of CUDA; roi_crop.cu launches what stands here, a test runs it on the CPU.

#ifndef CEPHRAY_CUDA_LAUNCH_H_
#define CEPHRAY_CUDA_LAUNCH_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "cuda/block.h"
#include "cuda/crop.h"
#include "cuda/grad_features.h"
#include "kernels/shape.h"

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

// Positions within a crop and within a map are floats and 32-bit integers on a GPU.
inline std::string RefuseForGpu(const RoiCropShape& shape) {
  constexpr int64_t kMostCells = int64_t{1} << 24;
  constexpr int64_t kMostValues = (int64_t{1} << 31) - 1;
  const auto refuse = [](const char* what, int64_t most, int64_t got) {
    return std::string("the CUDA kernels take at most ") + std::to_string(most) + " " + what +
           "; got " + std::to_string(got) + ".";
  };
  const int64_t side = std::max(shape.crop_height, shape.crop_width);
  if (side > kMostCells) return refuse("samples along a side of a crop", kMostCells, side);
  const int64_t values = shape.crop_height * shape.crop_width * shape.channels;
  if (values > kMostValues) return refuse("values in the crop of one box", kMostValues, values);
  for (const Level& level : shape.levels) {
    const int64_t cells = std::max(level.height, level.width);
    if (cells > kMostCells)
      return refuse("cells along a side of a feature map", kMostCells, cells);
  }
  return "";
}

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

// Threads that share a cell, as a power of two: at most a warp, and each has kItems packs where
// there are so many.
inline int32_t LaneBits(int32_t packs, int32_t threads) {
  int32_t bits = 0;
  while (bits < 5 && (kItems << (bits + 1)) <= packs && (2 << bits) <= threads) ++bits;
  return bits;
}

// A device runs about this many blocks of the feature gradient's kernel at once.
constexpr int64_t kBlocksAtOnce = 1024;

// Cuts rows of cells into blocks: into few, because each lists its addends anew, but for so many
// that they keep a device busy with few images.
template <typename T>
void CutRows(int64_t blocks_at_once, GpuProblem<T>* problem) {
  int64_t rows = 0;
  for (int64_t l = 0; l < problem->levels_here; ++l) rows += problem->levels[l].height;
  const int64_t parts = QuotientUp(blocks_at_once, std::max<int64_t>(1, problem->batch * rows));
  for (int64_t l = 0; l < problem->levels_here; ++l) {
    GpuLevel<T>& level = problem->levels[l];
    level.part_cells =
        static_cast<int32_t>(std::min<int64_t>(kCells, QuotientUp(level.width, parts)));
    level.row_parts = static_cast<int32_t>(QuotientUp(level.width, level.part_cells));
    level.row_blocks = level.packs == 0 ? 0 : level.height * level.row_parts;
    problem->image_rows += level.row_blocks;
  }
}

// One problem for each handful of levels; `threads` is the size of a block, a power of two. Levels
// without channels have no packs; they are left to the kernels, which find nothing to do there.
template <typename T>
std::vector<GpuProblem<T>> CutIntoLaunches(const RoiCropShape& shape, const GpuTensors<T>& tensors,
                                           int pack_count, int32_t threads,
                                           int64_t blocks_at_once = kBlocksAtOnce) {
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
    problem.threads = threads;
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
      level.packs = static_cast<int32_t>(from.channels / pack_count);
      level.lane_bits = LaneBits(level.packs, threads);
    }
    CutRows(blocks_at_once, &problem);
    problems.push_back(problem);
  }
  return problems;
}

// Blocks of the crop's kernel at the level that needs most.
template <typename T>
int64_t CropBlocks(const GpuProblem<T>& problem) {
  int64_t blocks = 0;
  for (int64_t l = 0; l < problem.levels_here; ++l) {
    const int64_t groups = problem.threads >> problem.levels[l].lane_bits;
    blocks = std::max(blocks, QuotientUp(CropSamples(problem), groups));
  }
  return blocks;
}

}  // namespace cephray

#endif  // CEPHRAY_CUDA_LAUNCH_H_
