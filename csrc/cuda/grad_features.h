// The feature gradient on a GPU: what one thread does in each phase. See block.h.

#ifndef CEPHRAY_CUDA_GRAD_FEATURES_H_
#define CEPHRAY_CUDA_GRAD_FEATURES_H_

#include <cstdint>

#include "cuda/block.h"
#include "kernels/half.h"
#include "kernels/host_device.h"
#include "kernels/roi_crop.h"

namespace cephray {

// The feature gradient, in two kernels. The first zeroes all cells. In the second a block takes
// one box at one level, and of the rows of cells that its samples touch a few; it writes the cells
// that no earlier box of the image touches, and adds to each what the samples of all boxes give,
// in their order. Which samples of which boxes touch which row and column is found once for all
// channels and kept in shared memory.
constexpr int kRows = 16;     // of cells, in a block, at most
constexpr int kColumns = 16;  // of cells, at a time
constexpr int kSlots = 16;    // boxes at a time

template <typename T, int kCount>
CEPHRAY_HOST_DEVICE inline void ZeroThread(const GpuProblem<T>& problem, int64_t l, int64_t thread,
                                           int64_t threads) {
  const GpuLevel<T>& level = problem.levels[l];
  const int64_t packs = problem.batch * level.height * level.width * level.packs;
  for (int64_t pack = thread; pack < packs; pack += threads) {
    StorePack(Pack<T, kCount>{}, level.gradient + pack * kCount);
  }
}

CEPHRAY_HOST_DEVICE inline int64_t MaskWords(int64_t boxes) { return QuotientUp(boxes, 32); }

// The samples of a box that touch a row or a column of cells: consecutive ones, because
// coordinates rise or fall along an axis. None where begin = end.
struct Touch {
  int32_t begin;
  int32_t end;
};

// A box that shares cells with the block's box, or that box itself.
struct Slot {
  Axis axis_y;
  Axis axis_x;
  int64_t first_value;  // of its crop at this level
  int32_t is_earlier;   // than the block's box
};

// What the threads of a block share; the mask of such boxes, a bit for each, follows in memory.
struct Shared {
  int32_t row_entries[kRows];  // the cells of the entries; -1: none
  int32_t column_entries[kColumns];
  int32_t rows[kRows];  // of cells, those entries that have one
  int32_t columns[kColumns];
  int32_t row_count;
  int32_t column_count;
  Touch row_touches[kRows][kSlots];
  Touch column_touches[kColumns][kSlots];
  Slot slots[kSlots];
  uint32_t mask[1];
};

CEPHRAY_HOST_DEVICE inline int64_t SharedBytes(int64_t boxes) {
  return static_cast<int64_t>(sizeof(Shared)) + MaskWords(boxes) * 4;
}

// What a block does: the rows of cells from entry `first_entry` on (see CellOfEntry) of a box.
struct Window {
  int64_t level;
  int64_t image;
  int64_t box;        // of the image
  int64_t image_box;  // of the batch
  int32_t first_entry;
  Axis axis_y;
  Axis axis_x;
};

template <typename T>
CEPHRAY_HOST_DEVICE inline int64_t WindowParts(const GpuProblem<T>& problem) {
  return QuotientUp(2 * problem.crop_height, problem.entries);
}

template <typename T>
CEPHRAY_HOST_DEVICE inline Window WindowAt(const GpuProblem<T>& problem, int64_t block,
                                           int64_t l) {
  const GpuLevel<T>& level = problem.levels[l];
  const int64_t image_box = Quotient(block, WindowParts(problem));
  const int64_t image = Quotient(image_box, problem.boxes);
  const float* box = BoxAt(problem, image_box, l);
  const int64_t part = block - image_box * WindowParts(problem);
  return {l,
          image,
          image_box - image * problem.boxes,
          image_box,
          static_cast<int32_t>(part) * problem.entries,
          SampleAxis(box[0], box[2], problem.crop_height, level.height),
          SampleAxis(box[1], box[3], problem.crop_width, level.width)};
}

// Each sample touches one cell or two along an axis: entries 2 i and 2 i + 1 of sample i. Returns
// the cell of an entry, or -1 if there is none or an earlier entry has it.
CEPHRAY_HOST_DEVICE inline int32_t CellOfEntry(const Axis& axis, int32_t samples, int32_t entry) {
  const int32_t index = entry / 2;
  if (index >= samples) return -1;
  const auto sample = Locate(axis, index);
  if (!sample.inside) return -1;
  const int32_t cell = entry % 2 == 0 ? sample.low : sample.high;
  if (entry % 2 == 1 && cell == sample.low) return -1;
  if (index > 0) {
    const auto before = Locate(axis, index - 1);
    if (before.inside && (cell == before.low || cell == before.high)) return -1;
  }
  return cell;
}

// Whether no sample of one axis touches a cell that a sample of another touches; both are of one
// level. Where a coordinate is NaN, nothing is said.
CEPHRAY_HOST_DEVICE inline bool IsApart(const Axis& one, const Axis& other, int64_t samples) {
  const float last = static_cast<float>(samples - 1);
  const float one_end = one.origin + last * one.step;
  const float other_end = other.origin + last * other.step;
  const float one_low = one.origin < one_end ? one.origin : one_end;
  const float one_high = one.origin < one_end ? one_end : one.origin;
  const float other_low = other.origin < other_end ? other.origin : other_end;
  const float other_high = other.origin < other_end ? other_end : other.origin;
  return one_high + 2.0f < other_low || other_high + 2.0f < one_low;
}

CEPHRAY_HOST_DEVICE inline void SetBit(uint32_t* word, uint32_t bit) {
#if defined(__CUDA_ARCH__)
  atomicOr(word, bit);
#else
  *word |= bit;
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

CEPHRAY_HOST_DEVICE inline int32_t LowestBit(uint32_t word) {
#if defined(__CUDA_ARCH__)
  return __ffs(word) - 1;
#else
  int32_t bit = 0;
  for (; (word & 1u) == 0; word >>= 1) ++bit;
  return bit;
#endif
}

template <typename T>
CEPHRAY_HOST_DEVICE inline void WindowPhaseRows(const GpuProblem<T>& problem, const Window& window,
                                                int32_t thread, Shared* shared) {
  for (int64_t word = thread; word < MaskWords(problem.boxes); word += problem.threads) {
    shared->mask[word] = 0;
  }
  for (int32_t e = thread; e < problem.entries; e += problem.threads) {
    shared->row_entries[e] = CellOfEntry(window.axis_y, static_cast<int32_t>(problem.crop_height),
                                         window.first_entry + e);
  }
}

// Leaves out the entries that have no cell.
CEPHRAY_HOST_DEVICE inline void Compact(const int32_t* entries, int32_t count, int32_t thread,
                                        int32_t threads, int32_t* cells, int32_t* cell_count) {
  for (int32_t e = thread; e < count; e += threads) {
    int32_t before = 0;
    for (int32_t i = 0; i < e; ++i) before += entries[i] >= 0 ? 1 : 0;
    if (entries[e] >= 0) cells[before] = entries[e];
    if (e == count - 1) *cell_count = before + (entries[e] >= 0 ? 1 : 0);
  }
}

template <typename T>
CEPHRAY_HOST_DEVICE inline void WindowPhaseMark(const GpuProblem<T>& problem, const Window& window,
                                                int32_t thread, Shared* shared) {
  const GpuLevel<T>& level = problem.levels[window.level];
  for (int64_t k = thread; k < problem.boxes; k += problem.threads) {
    const float* box = BoxAt(problem, window.image * problem.boxes + k, window.level);
    if (!IsFinite(box) ||
        IsApart(SampleAxis(box[0], box[2], problem.crop_height, level.height), window.axis_y,
                problem.crop_height) ||
        IsApart(SampleAxis(box[1], box[3], problem.crop_width, level.width), window.axis_x,
                problem.crop_width)) {
      continue;
    }
    SetBit(&shared->mask[k / 32], 1u << (k % 32));
  }
  Compact(shared->row_entries, problem.entries, thread, problem.threads, shared->rows,
          &shared->row_count);
}

// Marked boxes, once all threads have marked.
CEPHRAY_HOST_DEVICE inline int32_t MarkedBoxes(int64_t boxes, const Shared* shared) {
  int32_t count = 0;
  for (int64_t word = 0; word < MaskWords(boxes); ++word) count += CountBits(shared->mask[word]);
  return count;
}

// The n-th marked box, from 0; there are more than n.
CEPHRAY_HOST_DEVICE inline int64_t MarkedBox(int32_t n, const Shared* shared) {
  int64_t word = 0;
  while (CountBits(shared->mask[word]) <= n) n -= CountBits(shared->mask[word++]);
  uint32_t rest = shared->mask[word];
  for (; n > 0; --n) rest &= rest - 1;
  return word * 32 + LowestBit(rest);
}

template <typename T>
CEPHRAY_HOST_DEVICE inline void WindowPhaseColumns(const GpuProblem<T>& problem,
                                                   const Window& window, int32_t first_column,
                                                   int32_t thread, Shared* shared) {
  for (int32_t e = thread; e < kColumns; e += problem.threads) {
    shared->column_entries[e] =
        CellOfEntry(window.axis_x, static_cast<int32_t>(problem.crop_width), first_column + e);
  }
}

CEPHRAY_HOST_DEVICE inline void WindowPhaseCompact(int32_t thread, int32_t threads,
                                                   Shared* shared) {
  Compact(shared->column_entries, kColumns, thread, threads, shared->columns,
          &shared->column_count);
}

CEPHRAY_HOST_DEVICE inline Touch FindTouching(const Axis& axis, int32_t samples, int32_t cell) {
  Touch touch = {0, 0};
  for (int32_t i = 0; i < samples; ++i) {
    const auto sample = Locate(axis, i);
    if (!sample.inside || (cell != sample.low && cell != sample.high)) continue;
    if (touch.end == 0) touch.begin = i;
    touch.end = i + 1;
  }
  return touch;
}

// Fills the table for the marked boxes from number `first` on.
template <typename T>
CEPHRAY_HOST_DEVICE inline void WindowPhaseFind(const GpuProblem<T>& problem, const Window& window,
                                                int32_t first, int32_t marked, int32_t thread,
                                                Shared* shared) {
  const GpuLevel<T>& level = problem.levels[window.level];
  const int32_t slots = marked - first < kSlots ? marked - first : kSlots;
  const int32_t rows = shared->row_count;
  for (int32_t item = thread; item < (rows + shared->column_count) * slots;
       item += problem.threads) {
    const int32_t entry = item / slots;
    const int32_t slot = item - entry * slots;
    const bool is_row = entry < rows;
    const int32_t cell = is_row ? shared->rows[entry] : shared->columns[entry - rows];
    const int64_t k = MarkedBox(first + slot, shared);
    const int64_t image_box = window.image * problem.boxes + k;
    const float* box = BoxAt(problem, image_box, window.level);
    const Axis axis_y = SampleAxis(box[0], box[2], problem.crop_height, level.height);
    const Axis axis_x = SampleAxis(box[1], box[3], problem.crop_width, level.width);
    if (entry == 0) {
      shared->slots[slot] = {
          axis_y, axis_x,
          image_box * problem.crop_height * problem.crop_width * problem.channels +
              level.first_channel,
          k < window.box};
    }
    const Touch touch = FindTouching(
        is_row ? axis_y : axis_x,
        static_cast<int32_t>(is_row ? problem.crop_height : problem.crop_width), cell);
    if (is_row) {
      shared->row_touches[entry][slot] = touch;
    } else {
      shared->column_touches[entry - rows][slot] = touch;
    }
  }
}

// A thread's part of a turn: a cell and some of its packs.
template <typename T, int kCount>
struct Part {
  int32_t entry_y;
  int32_t entry_x;
  int32_t first_pack;
  bool is_written;  // by this block
  Accumulator<T> sums[kItems][kCount];
};

// Turns in which the threads take all cells of the table and all packs of a cell.
template <typename T>
CEPHRAY_HOST_DEVICE inline int32_t Turns(const GpuProblem<T>& problem, const Window& window,
                                         const Shared* shared) {
  const GpuLevel<T>& level = problem.levels[window.level];
  const int32_t groups = problem.threads >> level.lane_bits;
  const int32_t parts =
      (level.packs + (kItems << level.lane_bits) - 1) / (kItems << level.lane_bits);
  return (shared->row_count * shared->column_count * parts + groups - 1) / groups;
}

template <typename T, int kCount>
CEPHRAY_HOST_DEVICE inline Part<T, kCount> PartAt(const GpuProblem<T>& problem,
                                                  const Window& window, int32_t turn,
                                                  int32_t thread, const Shared* shared) {
  const GpuLevel<T>& level = problem.levels[window.level];
  const Lane lane = LaneOf(level, thread);
  const int32_t item = turn * (problem.threads >> level.lane_bits) + lane.group;
  const int32_t row = item / shared->column_count;
  const int32_t turn_of_packs = row / shared->row_count;
  Part<T, kCount> part = {};
  part.entry_y = row - turn_of_packs * shared->row_count;
  part.entry_x = item - row * shared->column_count;
  part.first_pack = turn_of_packs * (kItems * lane.lanes) + lane.lane;
  part.is_written = part.first_pack < level.packs;
  return part;
}

// Adds what the boxes of the table give to the thread's part.
template <typename T, int kCount>
CEPHRAY_HOST_DEVICE inline void WindowPhaseGather(const GpuProblem<T>& problem,
                                                  const Window& window, int32_t first,
                                                  int32_t marked, int32_t thread,
                                                  const Shared* shared, Part<T, kCount>* part) {
  using A = Accumulator<T>;
  const GpuLevel<T>& level = problem.levels[window.level];
  const int32_t lanes = LaneOf(level, thread).lanes;
  const int32_t slots = marked - first < kSlots ? marked - first : kSlots;
  const int32_t channels = static_cast<int32_t>(problem.channels);
  const int32_t crop_width = static_cast<int32_t>(problem.crop_width);
  const int32_t row = shared->rows[part->entry_y];
  const int32_t column = shared->columns[part->entry_x];
  for (int32_t slot = 0; part->is_written && slot < slots; ++slot) {
    const Touch of_y = shared->row_touches[part->entry_y][slot];
    const Touch of_x = shared->column_touches[part->entry_x][slot];
    if (of_y.begin == of_y.end || of_x.begin == of_x.end) continue;
    const Slot& box = shared->slots[slot];
    if (box.is_earlier) {
      part->is_written = false;
      break;
    }
    const T* gradient = problem.crops_gradient + box.first_value + part->first_pack * kCount;
    for (int32_t y = of_y.begin; y < of_y.end; ++y) {
      const A weight_y = WeightOfTouchedCell<A>(box.axis_y, y, row);
      for (int32_t x = of_x.begin; x < of_x.end; ++x) {
        const A scale = weight_y * WeightOfTouchedCell<A>(box.axis_x, x, column);
        const T* source = gradient + (y * crop_width + x) * channels;
        CEPHRAY_UNROLL
        for (int i = 0; i < kItems; ++i) {
          if (part->first_pack + i * lanes >= level.packs) continue;
          const auto values = LoadPack<T, kCount>(source + i * lanes * kCount);
          CEPHRAY_UNROLL
          for (int j = 0; j < kCount; ++j) {
            part->sums[i][j] += scale * Widen(values.values[j]);
          }
        }
      }
    }
  }
}

template <typename T, int kCount>
CEPHRAY_HOST_DEVICE inline void WindowPhaseWrite(const GpuProblem<T>& problem,
                                                 const Window& window, int32_t thread,
                                                 const Shared* shared,
                                                 const Part<T, kCount>& part) {
  if (!part.is_written) return;
  const GpuLevel<T>& level = problem.levels[window.level];
  const int32_t lanes = LaneOf(level, thread).lanes;
  const int64_t cell = (window.image * level.height + shared->rows[part.entry_y]) * level.width +
                       shared->columns[part.entry_x];
  T* target = level.gradient + cell * level.channels;
  CEPHRAY_UNROLL
  for (int i = 0; i < kItems; ++i) {
    const int32_t pack = part.first_pack + i * lanes;
    if (pack >= level.packs) continue;
    Pack<T, kCount> result;
    CEPHRAY_UNROLL
    for (int j = 0; j < kCount; ++j) result.values[j] = Narrow<T>(part.sums[i][j]);
    StorePack(result, target + pack * kCount);
  }
}

}  // namespace cephray

#endif  // CEPHRAY_CUDA_GRAD_FEATURES_H_
