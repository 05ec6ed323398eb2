// What one thread of one block does in the CUDA kernels: plain functions of block and thread, which
// call nothing of CUDA, so that a test runs the same code on the CPU, block by block. A block's
// threads meet only between the functions named ...Phase... and share what is passed as `shared`.
//
// Every value is written once, by one thread, which adds in the order in which the CPU's kernels
// do: compiled without contraction into fused multiply-adds, the crops and the feature gradients
// are the CPU's to the bit.

#ifndef CEPHRAY_ROI_CROP_GPU_H_
#define CEPHRAY_ROI_CROP_GPU_H_

#include <cstdint>
#include <cstring>

#include "half.h"
#include "host_device.h"
#include "roi_crop.h"

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
  int64_t first_tile;  // of this level among the tiles of an image, see GradFeatures
  int64_t row_tiles;
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
  int64_t tiles;  // of an image
  const float* box;
  const T* crops_gradient;
  T* crops;
  float* boxes_gradient;
  GpuLevel<T> levels[kGpuLevels];
};

// Consecutive channels that a thread handles at once: 16 bytes where everything is aligned to them.
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

template <typename T>
CEPHRAY_HOST_DEVICE inline const float* BoxAt(const GpuProblem<T>& problem, int64_t image_box,
                                              int64_t level) {
  return problem.box + (image_box * problem.all_levels + problem.first_level + level) * 4;
}

// The crop. A block takes one row of samples of one box at one level, row = (image * K + box) * S_h
// + y; its threads take turns over the samples' packs of channels.
template <typename T, int kCount>
CEPHRAY_HOST_DEVICE inline void CropThread(const GpuProblem<T>& problem, int64_t row, int64_t l,
                                           int64_t thread, int64_t threads) {
  using A = Accumulator<T>;
  const GpuLevel<T>& level = problem.levels[l];
  const int64_t image_box = Quotient(row, problem.crop_height);
  const float* box = BoxAt(problem, image_box, l);
  const AxisSample sample_y =
      Locate(SampleAxis(box[0], box[2], problem.crop_height, level.height),
             row - image_box * problem.crop_height);
  const Axis axis_x = SampleAxis(box[1], box[3], problem.crop_width, level.width);
  const bool is_row_inside = IsFinite(box) && sample_y.inside;
  const T* image = level.features + Quotient(image_box, problem.boxes) * level.height *
                                        level.width * level.channels;
  const T* upper = image + sample_y.low * level.width * level.channels;
  const T* lower = image + sample_y.high * level.width * level.channels;
  T* crop = problem.crops + row * problem.crop_width * problem.channels + level.first_channel;
  const int64_t packs = level.channels / kCount;
  for (int64_t item = thread; item < problem.crop_width * packs; item += threads) {
    const int64_t x = Quotient(item, packs);
    const int64_t channel = (item - x * packs) * kCount;
    const AxisSample sample_x = Locate(axis_x, x);
    Pack<T, kCount> result = {};
    if (is_row_inside && sample_x.inside) {
      const int64_t left = sample_x.low * level.channels + channel;
      const int64_t right = sample_x.high * level.channels + channel;
      const auto top_left = LoadPack<T, kCount>(upper + left);
      const auto top_right = LoadPack<T, kCount>(upper + right);
      const auto bottom_left = LoadPack<T, kCount>(lower + left);
      const auto bottom_right = LoadPack<T, kCount>(lower + right);
      for (int i = 0; i < kCount; ++i) {
        result.values[i] = Narrow<T>(
            Blend<A>(Widen(top_left.values[i]), Widen(top_right.values[i]),
                     Widen(bottom_left.values[i]), Widen(bottom_right.values[i]),
                     sample_y.weight, sample_x.weight));
      }
    }
    StorePack(result, crop + x * problem.channels + channel);
  }
}

// The feature gradient. A block takes a tile: so many packs of one row of one gradient map. First
// its threads mark the boxes that may touch the tile, a bit for each in shared memory; then each
// thread gathers what the samples of those boxes add to its cells.
constexpr int64_t kTilePacks = 2048;

CEPHRAY_HOST_DEVICE inline int64_t MaskWords(int64_t boxes) { return (boxes + 31) / 32; }

// Where a block's tile lies.
struct Tile {
  int64_t level;
  int64_t row;
  int64_t first_pack;  // of the row
  int64_t last_pack;   // one past
  int64_t packs;       // of a cell
};

template <typename T, int kCount>
CEPHRAY_HOST_DEVICE inline Tile TileAt(const GpuProblem<T>& problem, int64_t tile) {
  int64_t l = 0;
  while (l + 1 < problem.levels_here && tile >= problem.levels[l + 1].first_tile) ++l;
  const GpuLevel<T>& level = problem.levels[l];
  const int64_t row = Quotient(tile - level.first_tile, level.row_tiles);
  const int64_t packs = level.channels / kCount;
  const int64_t first = (tile - level.first_tile - row * level.row_tiles) * kTilePacks;
  const int64_t end = level.width * packs;
  return {l, row, first, first + kTilePacks < end ? first + kTilePacks : end, packs};
}

// Whether no sample of an axis touches cells [first, last]. Coordinates rise or fall along an axis;
// where one is NaN, nothing is said.
CEPHRAY_HOST_DEVICE inline bool Misses(const Axis& axis, int64_t samples, int64_t first,
                                       int64_t last) {
  const float begin = axis.origin;
  const float end = axis.origin + static_cast<float>(samples - 1) * axis.step;
  const float below = static_cast<float>(first) - 1.0f;
  const float above = static_cast<float>(last) + 1.0f;
  return (begin < below && end < below) || (begin > above && end > above);
}

CEPHRAY_HOST_DEVICE inline void SetBit(uint32_t* word, uint32_t bit) {
#if defined(__CUDA_ARCH__)
  atomicOr(word, bit);
#else
  *word |= bit;
#endif
}

CEPHRAY_HOST_DEVICE inline void GradFeaturesPhaseClear(int64_t boxes, int64_t thread,
                                                       int64_t threads, uint32_t* shared) {
  for (int64_t word = thread; word < MaskWords(boxes); word += threads) shared[word] = 0;
}

template <typename T>
CEPHRAY_HOST_DEVICE inline void GradFeaturesPhaseMark(const GpuProblem<T>& problem, int64_t image,
                                                      const Tile& tile, int64_t thread,
                                                      int64_t threads, uint32_t* shared) {
  const GpuLevel<T>& level = problem.levels[tile.level];
  const int64_t first_cell = Quotient(tile.first_pack, tile.packs);
  const int64_t last_cell = Quotient(tile.last_pack - 1, tile.packs);
  for (int64_t k = thread; k < problem.boxes; k += threads) {
    const float* box = BoxAt(problem, image * problem.boxes + k, tile.level);
    if (!IsFinite(box) ||
        Misses(SampleAxis(box[0], box[2], problem.crop_height, level.height),
               problem.crop_height, tile.row, tile.row) ||
        Misses(SampleAxis(box[1], box[3], problem.crop_width, level.width), problem.crop_width,
               first_cell, last_cell)) {
      continue;
    }
    SetBit(&shared[k / 32], 1u << (k % 32));
  }
}

// Adds what the samples of box k give to a pack of one cell.
template <typename T, int kCount>
CEPHRAY_HOST_DEVICE inline void GatherBox(const GpuProblem<T>& problem, int64_t image_box,
                                          const Tile& tile, int64_t cell, int64_t channel,
                                          Accumulator<T>* sums) {
  using A = Accumulator<T>;
  const GpuLevel<T>& level = problem.levels[tile.level];
  const float* box = BoxAt(problem, image_box, tile.level);
  const Axis axis_x = SampleAxis(box[1], box[3], problem.crop_width, level.width);
  if (Misses(axis_x, problem.crop_width, cell, cell)) return;
  const Axis axis_y = SampleAxis(box[0], box[2], problem.crop_height, level.height);
  const T* gradient =
      problem.crops_gradient +
      image_box * problem.crop_height * problem.crop_width * problem.channels +
      level.first_channel + channel;
  for (int64_t y = 0; y < problem.crop_height; ++y) {
    const AxisSample sample_y = Locate(axis_y, y);
    if (!sample_y.inside || (tile.row != sample_y.low && tile.row != sample_y.high)) continue;
    const A weight_y = WeightOfCell<A>(sample_y, tile.row);
    for (int64_t x = 0; x < problem.crop_width; ++x) {
      const AxisSample sample_x = Locate(axis_x, x);
      if (!sample_x.inside || (cell != sample_x.low && cell != sample_x.high)) continue;
      const A scale = weight_y * WeightOfCell<A>(sample_x, cell);
      const auto source = LoadPack<T, kCount>(
          gradient + (y * problem.crop_width + x) * problem.channels);
      for (int i = 0; i < kCount; ++i) sums[i] += scale * Widen(source.values[i]);
    }
  }
}

template <typename T, int kCount>
CEPHRAY_HOST_DEVICE inline void GradFeaturesPhaseGather(const GpuProblem<T>& problem,
                                                        int64_t image, const Tile& tile,
                                                        int64_t thread, int64_t threads,
                                                        const uint32_t* shared) {
  using A = Accumulator<T>;
  const GpuLevel<T>& level = problem.levels[tile.level];
  T* row = level.gradient + (image * level.height + tile.row) * level.width * level.channels;
  const int64_t words = MaskWords(problem.boxes);
  for (int64_t item = tile.first_pack + thread; item < tile.last_pack; item += threads) {
    const int64_t cell = Quotient(item, tile.packs);
    const int64_t channel = (item - cell * tile.packs) * kCount;
    A sums[kCount] = {};
    for (int64_t word = 0; word < words; ++word) {
      const uint32_t mask = shared[word];
      for (uint32_t rest = mask, k = 0; rest != 0; rest >>= 1, ++k) {
        if ((rest & 1u) == 0) continue;
        GatherBox<T, kCount>(problem, image * problem.boxes + word * 32 + k, tile, cell, channel,
                             sums);
      }
    }
    Pack<T, kCount> result;
    for (int i = 0; i < kCount; ++i) result.values[i] = Narrow<T>(sums[i]);
    StorePack(result, row + cell * level.channels + channel);
  }
}

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
  const T* gradient =
      problem.crops_gradient +
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

#endif  // CEPHRAY_ROI_CROP_GPU_H_
