// The feature gradient on a GPU: what one thread does once its block has found what to add. See
// block.h and row_addends.h.

#ifndef CEPHRAY_CUDA_GRAD_FEATURES_H_
#define CEPHRAY_CUDA_GRAD_FEATURES_H_

#include <cstdint>

#include "cuda/block.h"
#include "cuda/row_addends.h"
#include "kernels/half.h"
#include "kernels/host_device.h"

namespace cephray {

constexpr int kTogether = 2;  // addends whose loads overlap; more spill registers

// What a thread sums up for a cell: some of its packs of channels.
template <typename T, int kCount>
struct Sums {
  Accumulator<T> values[kItems][kCount];
};

// Adds addends to the packs from number `pack` on, every `lanes`-th.
template <typename T, int kCount>
CEPHRAY_HOST_DEVICE inline void AddAll(const GpuProblem<T>& problem,
                                       const Addend<Accumulator<T>>* list, int32_t count,
                                       int32_t pack, int32_t lanes, int32_t packs,
                                       Sums<T, kCount>* sums) {
  const T* gradient = problem.crops_gradient + pack * kCount;
  for (int32_t first = 0; first < count; first += kTogether) {
    Pack<T, kCount> loaded[kTogether][kItems];
    CEPHRAY_UNROLL
    for (int n = 0; n < kTogether; ++n) {
      if (first + n >= count) continue;
      const T* source = gradient + list[first + n].source;
      CEPHRAY_UNROLL
      for (int i = 0; i < kItems; ++i) {
        if (pack + i * lanes >= packs) continue;
        loaded[n][i] = LoadPack<T, kCount>(source + i * lanes * kCount);
      }
    }
    CEPHRAY_UNROLL
    for (int n = 0; n < kTogether; ++n) {
      if (first + n >= count) continue;
      const Accumulator<T> weight = list[first + n].weight;
      CEPHRAY_UNROLL
      for (int i = 0; i < kItems; ++i) {
        CEPHRAY_UNROLL
        for (int j = 0; j < kCount; ++j) {
          sums->values[i][j] += weight * Widen(loaded[n][i].values[j]);
        }
      }
    }
  }
}

// Writes the sums to the packs of a cell from number `pack` on, every `lanes`-th.
template <typename T, int kCount>
CEPHRAY_HOST_DEVICE inline void WriteSums(const Sums<T, kCount>& sums, int32_t pack, int32_t lanes,
                                          int32_t packs, T* cell) {
  CEPHRAY_UNROLL
  for (int i = 0; i < kItems; ++i) {
    if (pack + i * lanes >= packs) continue;
    Pack<T, kCount> result;
    CEPHRAY_UNROLL
    for (int j = 0; j < kCount; ++j) result.values[j] = Narrow<T>(sums.values[i][j]);
    StorePack(result, cell + (pack + i * lanes) * kCount);
  }
}

// Calls write(c, cell, lane) for the cells of the row that the thread takes a part of, those that
// are listed or those that are not; `cell` is where the gradient of cell number c begins.
template <typename T, typename Write>
CEPHRAY_HOST_DEVICE inline void ForEachCell(const GpuProblem<T>& problem, const Row& row,
                                            int32_t thread,
                                            const RowShared<Accumulator<T>>* shared,
                                            bool is_listed, const Write& write) {
  const GpuLevel<T>& level = problem.levels[row.level];
  const Lane lane = LaneOf(level, thread);
  T* const first_cell =
      level.gradient +
      ((row.image * level.height + row.row) * level.width + row.first_column) * level.channels;
  for (int32_t c = lane.group; c < row.cells; c += problem.threads >> level.lane_bits) {
    if ((shared->begins[c] != kNotListed) != is_listed) continue;
    write(c, first_cell + c * level.channels, lane);
  }
}

template <typename T, int kCount>
CEPHRAY_HOST_DEVICE inline void RowPhaseWrite(const GpuProblem<T>& problem, const Row& row,
                                              int32_t thread,
                                              const RowShared<Accumulator<T>>* shared) {
  const int32_t packs = problem.levels[row.level].packs;
  ForEachCell(problem, row, thread, shared, true, [&](int32_t c, T* cell, const Lane& lane) {
    const auto* list = shared->list + shared->begins[c];
    for (int32_t pack = lane.lane; pack < packs; pack += kItems * lane.lanes) {
      Sums<T, kCount> sums = {};
      AddAll(problem, list, shared->counts[c], pack, lane.lanes, packs, &sums);
      WriteSums(sums, pack, lane.lanes, packs, cell);
    }
  });
}

template <typename T, int kCount>
CEPHRAY_HOST_DEVICE inline void RowPhaseWriteUnlisted(const GpuProblem<T>& problem, const Row& row,
                                                      int32_t thread,
                                                      const RowShared<Accumulator<T>>* shared) {
  using A = Accumulator<T>;
  const int32_t packs = problem.levels[row.level].packs;
  ForEachCell(problem, row, thread, shared, false, [&](int32_t c, T* cell, const Lane& lane) {
    for (int32_t pack = lane.lane; pack < packs; pack += kItems * lane.lanes) {
      Sums<T, kCount> sums = {};
      ForEachAddend(problem, row, shared->mask, row.first_column + c,
                    [&](int64_t source, A weight) {
                      const Addend<A> one = {source, weight};
                      AddAll(problem, &one, 1, pack, lane.lanes, packs, &sums);
                    });
      WriteSums(sums, pack, lane.lanes, packs, cell);
    }
  });
}

}  // namespace cephray

#endif  // CEPHRAY_CUDA_GRAD_FEATURES_H_
