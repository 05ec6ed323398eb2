// What the CUDA kernels have in common: the problem, its tensors, packs of channels, groups of
// threads. crop.h, grad_boxes.h, row_addends.h and grad_features.h say what one thread of one
// block does: plain functions of block and thread, which call nothing of CUDA, so that a test runs
// the same code on the CPU, block by block. Threads of a block meet only between functions whose
// names have "Phase" in them, and share what is passed as `shared`.
//
// Every value is written once, by one thread, which adds in the order in which the CPU's
// kernels do: compiled without contraction into fused multiply-adds, the crops and the feature
// gradients are the CPU's to the bit.

#ifndef CEPHRAY_CUDA_BLOCK_H_
#define CEPHRAY_CUDA_BLOCK_H_

#include <cstdint>
#include <cstring>

#include "kernels/half.h"
#include "kernels/host_device.h"
#include "kernels/roi_crop.h"

namespace cephray {

// Levels that one launch takes; more take another launch.
constexpr int kGpuLevels = 8;

template <typename T>
struct GpuLevel {
  const T* features;  // null where the kernel does not read them
  T* gradient;        // null where the kernel does not write it
  int64_t height;
  int64_t width;
  int64_t channels;
  int64_t first_channel;
  int32_t packs;       // of a cell
  int32_t lane_bits;   // 2^lane_bits threads share a cell, see Lane
  int64_t row_blocks;  // of the feature gradient's kernel, for each image
  int32_t row_parts;   // blocks that a row of cells is cut into
  int32_t part_cells;  // cells of such a part; the last may have fewer
};

// One launch: the arguments that all kernels take, each using some.
template <typename T>
struct GpuProblem {
  int64_t batch;
  int64_t boxes;  // per image
  int64_t crop_height;
  int64_t crop_width;
  int64_t channels;     // of the crops
  int64_t all_levels;   // of the boxes
  int64_t first_level;  // of this launch
  int64_t levels_here;
  int64_t image_rows;  // blocks of the feature gradient's kernel for each image
  int32_t threads;     // of a block
  const float* box;
  const T* crops_gradient;
  T* crops;
  float* boxes_gradient;
  GpuLevel<T> levels[kGpuLevels];
};

// Consecutive channels that a thread handles at once: 16 bytes where everything is aligned to
// them.
template <typename T, int kCount>
struct Pack {
  T values[kCount];
};

template <typename T, int kCount>
CEPHRAY_HOST_DEVICE inline Pack<T, kCount> LoadPack(const T* source) {
  Pack<T, kCount> pack;
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(pack) == sizeof(uint4)) {
    const uint4 bits = __ldg(reinterpret_cast<const uint4*>(source));
    memcpy(&pack, &bits, sizeof(pack));
  } else
#endif
  {
    for (int i = 0; i < kCount; ++i) pack.values[i] = source[i];
  }
  return pack;
}

template <typename T, int kCount>
CEPHRAY_HOST_DEVICE inline void StorePack(const Pack<T, kCount>& pack, T* target) {
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(pack) == sizeof(uint4)) {
    uint4 bits;
    memcpy(&bits, &pack, sizeof(pack));
    *reinterpret_cast<uint4*>(target) = bits;
  } else
#endif
  {
    for (int i = 0; i < kCount; ++i) target[i] = pack.values[i];
  }
}

// Division of numbers that are not negative; by 32 bits, which is much quicker, where they fit.
CEPHRAY_HOST_DEVICE inline int64_t Quotient(int64_t number, int64_t divisor) {
  if (static_cast<uint64_t>(number | divisor) >> 32 == 0) {
    return static_cast<uint32_t>(number) / static_cast<uint32_t>(divisor);
  }
  return number / divisor;
}

CEPHRAY_HOST_DEVICE inline int64_t QuotientUp(int64_t number, int64_t divisor) {
  return Quotient(number + divisor - 1, divisor);
}

template <typename T>
CEPHRAY_HOST_DEVICE inline const float* BoxAt(const GpuProblem<T>& problem, int64_t image_box,
                                              int64_t level) {
  return problem.box + (image_box * problem.all_levels + problem.first_level + level) * 4;
}

// A group of 2^lane_bits threads handles one cell or one sample at a time. A thread takes every
// 2^lane_bits-th of its packs of channels, kItems of them together, so that their loads overlap.
constexpr int kItems = 2;

struct Lane {
  int32_t group;  // of the thread, in its block
  int32_t lane;   // of the thread, in its group
  int32_t lanes;  // threads of a group
};

template <typename T>
CEPHRAY_HOST_DEVICE inline Lane LaneOf(const GpuLevel<T>& level, int32_t thread) {
  const int32_t lanes = 1 << level.lane_bits;
  return {thread >> level.lane_bits, thread & (lanes - 1), lanes};
}

}  // namespace cephray

#endif  // CEPHRAY_CUDA_BLOCK_H_
