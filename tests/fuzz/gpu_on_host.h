// The CUDA kernels' code on the CPU: block by block, and within a block phase by phase, thread by
// thread, from the last to the first. Shared memory is as large as a launch asks for.

#ifndef CEPHRAY_TESTS_FUZZ_GPU_ON_HOST_H_
#define CEPHRAY_TESTS_FUZZ_GPU_ON_HOST_H_

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "cuda/crop.h"
#include "cuda/grad_boxes.h"
#include "cuda/grad_features.h"
#include "cuda/launch.h"

namespace cephray::gpu_on_host {

constexpr int64_t kThreads = 8;       // few, so that they take several turns
constexpr int64_t kBlocksWanted = 5;  // so that some rows are cut into several blocks

template <typename Phase>
void ForEachThread(const Phase& phase) {
  for (int64_t thread = kThreads - 1; thread >= 0; --thread) phase(thread);
}

template <typename T, int kCount>
void Crop(const GpuProblem<T>& problem) {
  for (int64_t l = 0; l < problem.levels_here; ++l) {
    for (int64_t block = 0; block < CropBlocks(problem); ++block) {
      ForEachThread([&](int64_t thread) { CropThread<T, kCount>(problem, block, l, thread); });
    }
  }
}

template <typename T, int kCount>
void GradFeatures(const GpuProblem<T>& problem) {
  const int64_t bytes = RowSharedBytes<T>(problem.boxes);
  // From the last to the first: no block may depend on another.
  for (int64_t block = problem.batch * problem.image_rows - 1; block >= 0; --block) {
    const Row row = RowAt(problem, block);
    const auto memory = std::make_unique<char[]>(bytes);
    std::memset(memory.get(), 0xef, bytes);
    auto* shared = reinterpret_cast<RowShared<Accumulator<T>>*>(memory.get());
    ForEachThread([&](int64_t thread) { RowPhaseClear(problem, thread, shared); });
    ForEachThread([&](int64_t thread) { RowPhaseMark(problem, row, thread, shared); });
    const int32_t marked = MarkedBoxes(problem.boxes, shared->mask);
    ForEachThread([&](int64_t thread) { RowPhaseLocate(problem, row, marked, thread, shared); });
    ForEachThread([&](int64_t thread) { RowPhaseList(problem, row, marked, thread, shared); });
    ForEachThread([&](int64_t thread) { RowPhaseWrite<T, kCount>(problem, row, thread, shared); });
    ForEachThread(
        [&](int64_t thread) { RowPhaseWriteUnlisted<T, kCount>(problem, row, thread, shared); });
  }
}

template <typename T, int kCount>
void GradBoxes(const GpuProblem<T>& problem) {
  for (int64_t l = 0; l < problem.levels_here; ++l) {
    for (int64_t image_box = 0; image_box < problem.batch * problem.boxes; ++image_box) {
      std::vector<BoxSums> sums(kThreads);
      ForEachThread([&](int64_t thread) {
        GradBoxesPhaseSum<T, kCount>(problem, image_box, l, thread, kThreads, sums.data());
      });
      for (int64_t half = kThreads / 2; half > 0; half /= 2) {
        ForEachThread([&](int64_t thread) { GradBoxesPhaseAdd(half, thread, sums.data()); });
      }
      ForEachThread([&](int64_t thread) {
        GradBoxesPhaseWrite(problem, image_box, l, thread, sums.data());
      });
    }
  }
}

// Calls run<kCount>(problem) for each launch, with the packs that the tensors allow.
template <typename T, typename One, typename Many>
void ForEachLaunch(const RoiCropShape& shape, const GpuTensors<T>& tensors, const One& one,
                   const Many& many) {
  const int count = PackCount(shape, tensors);
  for (const GpuProblem<T>& problem :
       CutIntoLaunches(shape, tensors, count, kThreads, kBlocksWanted)) {
    count == 1 ? one(problem) : many(problem);
  }
}

}  // namespace cephray::gpu_on_host

#endif  // CEPHRAY_TESTS_FUZZ_GPU_ON_HOST_H_
