// Which samples of which boxes give to which cells of a row of a gradient map: what one thread
// does in each phase in which a block finds that out. See block.h; grad_features.h adds what is
// found.

#ifndef CEPHRAY_CUDA_ROW_ADDENDS_H_
#define CEPHRAY_CUDA_ROW_ADDENDS_H_

#include <cstdint>

#include "cuda/block.h"
#include "kernels/half.h"
#include "kernels/host_device.h"
#include "kernels/roi_crop.h"

namespace cephray {

// A block takes a row of cells of a gradient map, or a part of a wide one, and writes each of its
// cells once. First it lists what the samples of the boxes give to its cells, once for all
// channels: where the samples of the boxes at the row lie is found side by side, and then a thread
// for each cell looks which of them touch it. Then the threads add what is listed, and write zeros
// where nothing is.
constexpr int kCells = 128;   // of a row that a block takes, at most
constexpr int kSlots = 32;    // boxes at a row whose samples are listed, at most
constexpr int kSamples = 16;  // of such a box along a side, at most
constexpr int kListed = 768;  // addends that a block lists, at most

CEPHRAY_HOST_DEVICE inline int64_t MaskWords(int64_t boxes) { return QuotientUp(boxes, 32); }

// What a sample gives to a cell: its gradient times a weight.
template <typename A>
struct Addend {
  int64_t source;  // where the sample's gradient at this level begins in that of all crops
  A weight;
};

// The samples of a box along both axes.
template <typename A>
struct Slot {
  int64_t source;             // of the first sample, see Addend
  A y_weights[kSamples];      // what samples give to the row; kNoTouch: they do not touch it
  int32_t x_lows[kSamples];   // the lower of the columns that a sample touches; kNoColumn: none
  float x_weights[kSamples];  // of the higher column, the next one
};

constexpr int kNoTouch = -1;   // weights are 0 or more
constexpr int kNoColumn = -2;  // the next one is none either

// What the threads of a block share; the mask of the boxes that touch the row, a bit for each,
// goes on behind it in memory.
template <typename A>
struct RowShared {
  int32_t begins[kCells];  // of each cell's addends in the list; kNotListed: see there
  int32_t counts[kCells];
  int32_t listed;  // addends, those included that did not fit
  Addend<A> list[kListed];
  Slot<A> slots[kSlots];
  uint32_t mask[1];
};

// Where there is no room to list, threads find the addends of a cell while they add them.
constexpr int32_t kNotListed = -1;

template <typename T>
CEPHRAY_HOST_DEVICE inline int64_t RowSharedBytes(int64_t boxes) {
  return static_cast<int64_t>(sizeof(RowShared<Accumulator<T>>)) + MaskWords(boxes) * 4;
}

// What a block writes: `cells` cells from column `first_column` on, of one row.
struct Row {
  int32_t level;
  int32_t row;
  int32_t first_column;
  int32_t cells;
  int64_t image;
};

// The row of a block. Blocks are numbered image by image, so that the levels, whose rows differ in
// what there is to add, are written side by side.
template <typename T>
CEPHRAY_HOST_DEVICE inline Row RowAt(const GpuProblem<T>& problem, int64_t block) {
  const int64_t image = Quotient(block, problem.image_rows);
  int64_t part = block - image * problem.image_rows;
  int32_t l = 0;
  while (part >= problem.levels[l].row_blocks) part -= problem.levels[l++].row_blocks;
  const GpuLevel<T>& level = problem.levels[l];
  const int64_t row = Quotient(part, level.row_parts);
  const int64_t first = (part - row * level.row_parts) * level.part_cells;
  const int64_t rest = level.width - first;
  return {l, static_cast<int32_t>(row), static_cast<int32_t>(first),
          static_cast<int32_t>(rest < level.part_cells ? rest : level.part_cells), image};
}

CEPHRAY_HOST_DEVICE inline void SetBit(uint32_t* word, uint32_t bit) {
#if defined(__CUDA_ARCH__)
  atomicOr(word, bit);
#else
  *word |= bit;
#endif
}

// Adds to `sum` and returns what it was before.
CEPHRAY_HOST_DEVICE inline int32_t FetchAdd(int32_t* sum, int32_t more) {
#if defined(__CUDA_ARCH__)
  return atomicAdd(sum, more);
#else
  const int32_t before = *sum;
  *sum += more;
  return before;
#endif
}

CEPHRAY_HOST_DEVICE inline int32_t LowestBit(uint32_t word) {
#if defined(__CUDA_ARCH__)
  return __ffs(word) - 1;
#else
  int32_t bit = 0;
  for (; (word & 1u) == 0; word >>= 1) ++bit;
  return bit;
#endif
}

CEPHRAY_HOST_DEVICE inline int32_t CountBits(uint32_t word) {
#if defined(__CUDA_ARCH__)
  return __popc(word);
#else
  int32_t count = 0;
  for (; word != 0; word &= word - 1) ++count;
  return count;
#endif
}

// Marked boxes, once all threads have marked.
CEPHRAY_HOST_DEVICE inline int32_t MarkedBoxes(int64_t boxes, const uint32_t* mask) {
  int32_t count = 0;
  for (int64_t word = 0; word < MaskWords(boxes); ++word) count += CountBits(mask[word]);
  return count;
}

// The n-th marked box, from 0; there are more than n.
CEPHRAY_HOST_DEVICE inline int64_t MarkedBox(int32_t n, const uint32_t* mask) {
  int64_t word = 0;
  while (CountBits(mask[word]) <= n) n -= CountBits(mask[word++]);
  uint32_t rest = mask[word];
  for (; n > 0; --n) rest &= rest - 1;
  return word * 32 + LowestBit(rest);
}

// Whether all samples of an axis are too far from a cell to touch it, by their first and last; a
// quick answer to spare a loop over the samples.
CEPHRAY_HOST_DEVICE inline bool IsFar(const Axis& axis, int32_t samples, int32_t cell) {
  const float centre = static_cast<float>(cell);
  const float end = axis.origin + static_cast<float>(samples - 1) * axis.step;
  const float low = axis.origin < end ? axis.origin : end;
  const float high = axis.origin < end ? end : axis.origin;
  return high + 2.0f < centre || low - 2.0f > centre;
}

CEPHRAY_HOST_DEVICE inline bool Touches(const Axis& axis, int32_t index, int32_t cell) {
  const auto sample = Locate(axis, index);
  return sample.inside && (cell == sample.low || cell == sample.high);
}

template <typename T>
CEPHRAY_HOST_DEVICE inline void RowPhaseClear(const GpuProblem<T>& problem, int32_t thread,
                                              RowShared<Accumulator<T>>* shared) {
  for (int64_t word = thread; word < MaskWords(problem.boxes); word += problem.threads) {
    shared->mask[word] = 0;
  }
  if (thread == 0) shared->listed = 0;
}

// Marks the boxes that have a sample at the row.
template <typename T>
CEPHRAY_HOST_DEVICE inline void RowPhaseMark(const GpuProblem<T>& problem, const Row& row,
                                             int32_t thread, RowShared<Accumulator<T>>* shared) {
  const GpuLevel<T>& level = problem.levels[row.level];
  const int32_t samples = static_cast<int32_t>(problem.crop_height);
  for (int64_t k = thread; k < problem.boxes; k += problem.threads) {
    const float* box = BoxAt(problem, row.image * problem.boxes + k, row.level);
    if (!IsFinite(box)) continue;
    const Axis axis = SampleAxis(box[0], box[2], problem.crop_height, level.height);
    if (IsFar(axis, samples, row.row)) continue;
    for (int32_t y = 0; y < samples; ++y) {
      if (!Touches(axis, y, row.row)) continue;
      SetBit(&shared->mask[k / 32], 1u << (k % 32));
      break;
    }
  }
}

// Calls visit(source, weight) for what each sample of the marked boxes gives to a cell of the row,
// in the order of the CPU's kernel: boxes, then samples from top to bottom and from left to right.
template <typename T, typename Visit>
CEPHRAY_HOST_DEVICE inline void ForEachAddend(const GpuProblem<T>& problem, const Row& row,
                                              const uint32_t* mask, int32_t column,
                                              const Visit& visit) {
  using A = Accumulator<T>;
  const GpuLevel<T>& level = problem.levels[row.level];
  const int32_t height = static_cast<int32_t>(problem.crop_height);
  const int32_t width = static_cast<int32_t>(problem.crop_width);
  for (int64_t word = 0; word < MaskWords(problem.boxes); ++word) {
    for (uint32_t bits = mask[word]; bits != 0; bits &= bits - 1) {
      const int64_t image_box = row.image * problem.boxes + word * 32 + LowestBit(bits);
      const float* box = BoxAt(problem, image_box, row.level);
      const Axis axis_x = SampleAxis(box[1], box[3], problem.crop_width, level.width);
      if (IsFar(axis_x, width, column)) continue;
      const Axis axis_y = SampleAxis(box[0], box[2], problem.crop_height, level.height);
      for (int32_t y = 0; y < height; ++y) {
        if (!Touches(axis_y, y, row.row)) continue;
        const A weight_y = WeightOfTouchedCell<A>(axis_y, y, row.row);
        for (int32_t x = 0; x < width; ++x) {
          if (!Touches(axis_x, x, column)) continue;
          const int64_t sample = (image_box * height + y) * width + x;
          visit(sample * problem.channels + level.first_channel,
                weight_y * WeightOfTouchedCell<A>(axis_x, x, column));
        }
      }
    }
  }
}

template <typename T>
CEPHRAY_HOST_DEVICE inline bool HasRoom(const GpuProblem<T>& problem, int32_t marked) {
  return marked <= kSlots && problem.crop_height <= kSamples && problem.crop_width <= kSamples;
}

// Finds where the samples of the marked boxes lie, a thread for each sample of an axis of a box.
template <typename T>
CEPHRAY_HOST_DEVICE inline void RowPhaseLocate(const GpuProblem<T>& problem, const Row& row,
                                               int32_t marked, int32_t thread,
                                               RowShared<Accumulator<T>>* shared) {
  using A = Accumulator<T>;
  if (!HasRoom(problem, marked)) return;
  const GpuLevel<T>& level = problem.levels[row.level];
  const int32_t height = static_cast<int32_t>(problem.crop_height);
  const int32_t width = static_cast<int32_t>(problem.crop_width);
  const int32_t samples = height + width;
  for (int32_t item = thread; item < marked * samples; item += problem.threads) {
    const int32_t n = item / samples;
    const int32_t index = item - n * samples;
    const int64_t image_box = row.image * problem.boxes + MarkedBox(n, shared->mask);
    const float* box = BoxAt(problem, image_box, row.level);
    Slot<A>& slot = shared->slots[n];
    if (index == 0) {
      slot.source = image_box * height * width * problem.channels + level.first_channel;
    }
    if (index < height) {
      const Axis axis = SampleAxis(box[0], box[2], problem.crop_height, level.height);
      slot.y_weights[index] = Touches(axis, index, row.row)
                                  ? WeightOfTouchedCell<A>(axis, index, row.row)
                                  : A{kNoTouch};
    } else {
      const Axis axis = SampleAxis(box[1], box[3], problem.crop_width, level.width);
      const auto sample = Locate(axis, index - height);
      slot.x_lows[index - height] = sample.inside ? sample.low : kNoColumn;
      slot.x_weights[index - height] = sample.weight;
    }
  }
}

template <typename A>
CEPHRAY_HOST_DEVICE inline bool TouchesColumn(const Slot<A>& slot, int32_t x, int32_t column) {
  const int32_t low = slot.x_lows[x];
  return low == column || (low + 1 == column && slot.x_weights[x] > 0.0f);
}

// How many samples of the slots give to a cell.
template <typename A>
CEPHRAY_HOST_DEVICE inline int32_t CountAddends(const Slot<A>* slots, int32_t marked,
                                                int32_t height, int32_t width, int32_t column) {
  int32_t count = 0;
  for (int32_t n = 0; n < marked; ++n) {
    int32_t across = 0, down = 0;
    for (int32_t x = 0; x < width; ++x) across += TouchesColumn(slots[n], x, column) ? 1 : 0;
    if (across == 0) continue;
    for (int32_t y = 0; y < height; ++y) down += slots[n].y_weights[y] != A{kNoTouch} ? 1 : 0;
    count += across * down;
  }
  return count;
}

// Writes to `list` what a slot gives to a cell, in the order of ForEachAddend; returns its end.
template <typename A>
CEPHRAY_HOST_DEVICE inline Addend<A>* ListSlot(const Slot<A>& slot, int32_t height, int32_t width,
                                               int64_t channels, int32_t column, Addend<A>* list) {
  for (int32_t y = 0; y < height; ++y) {
    const A weight_y = slot.y_weights[y];
    if (weight_y == A{kNoTouch}) continue;
    for (int32_t x = 0; x < width; ++x) {
      if (!TouchesColumn(slot, x, column)) continue;
      const A weight = static_cast<A>(slot.x_weights[x]);
      const A weight_x = slot.x_lows[x] == column ? A{1} - weight : weight;
      *list++ = {slot.source + (y * width + x) * channels, weight_y * weight_x};
    }
  }
  return list;
}

// Lists the addends, a thread for each cell. Where in the list a cell's addends stand depends on
// the order of the threads; their own order does not.
template <typename T>
CEPHRAY_HOST_DEVICE inline void RowPhaseList(const GpuProblem<T>& problem, const Row& row,
                                             int32_t marked, int32_t thread,
                                             RowShared<Accumulator<T>>* shared) {
  const int32_t height = static_cast<int32_t>(problem.crop_height);
  const int32_t width = static_cast<int32_t>(problem.crop_width);
  for (int32_t c = thread; c < row.cells; c += problem.threads) {
    const int32_t column = row.first_column + c;
    shared->begins[c] = kNotListed;
    if (!HasRoom(problem, marked)) continue;
    const int32_t count = CountAddends(shared->slots, marked, height, width, column);
    const int32_t begin = count == 0 ? 0 : FetchAdd(&shared->listed, count);
    if (begin + count > kListed) continue;
    shared->begins[c] = begin;
    shared->counts[c] = count;
    auto* list = shared->list + begin;
    for (int32_t n = 0; count > 0 && n < marked; ++n) {
      list = ListSlot(shared->slots[n], height, width, problem.channels, column, list);
    }
  }
}

}  // namespace cephray

#endif  // CEPHRAY_CUDA_ROW_ADDENDS_H_
