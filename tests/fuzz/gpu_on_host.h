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

constexpr int64_t kThreads = 8;  // few, so that they take several turns

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
void WindowBlock(const GpuProblem<T>& problem, int64_t block, int64_t l) {
  const Window window = WindowAt(problem, block, l);
  if (!IsFinite(BoxAt(problem, window.image_box, l))) return;
  const auto memory = std::make_unique<char[]>(SharedBytes(problem.boxes));
  std::memset(memory.get(), 0xef, SharedBytes(problem.boxes));
  Shared* shared = reinterpret_cast<Shared*>(memory.get());
  ForEachThread([&](int64_t thread) { WindowPhaseRows(problem, window, thread, shared); });
  ForEachThread([&](int64_t thread) { WindowPhaseMark(problem, window, thread, shared); });
  const int32_t marked = MarkedBoxes(problem.boxes, shared);
  for (int32_t column = 0; column < 2 * problem.crop_width; column += kColumns) {
    ForEachThread(
        [&](int64_t thread) { WindowPhaseColumns(problem, window, column, thread, shared); });
    ForEachThread([&](int64_t thread) { WindowPhaseCompact(thread, kThreads, shared); });
    const int32_t turns = Turns(problem, window, shared);
    for (int32_t turn = 0; turn < turns; ++turn) {
      std::vector<Part<T, kCount>> parts(kThreads);
      ForEachThread([&](int64_t thread) {
        parts[thread] = PartAt<T, kCount>(problem, window, turn, thread, shared);
      });
      for (int32_t first = 0; first < marked; first += kSlots) {
        if (turn == 0 || marked > kSlots) {
          ForEachThread([&](int64_t thread) {
            WindowPhaseFind(problem, window, first, marked, thread, shared);
          });
        }
        ForEachThread([&](int64_t thread) {
          WindowPhaseGather(problem, window, first, marked, thread, shared, &parts[thread]);
        });
      }
      ForEachThread([&](int64_t thread) {
        WindowPhaseWrite(problem, window, thread, shared, parts[thread]);
      });
    }
  }
}

template <typename T, int kCount>
void GradFeatures(const GpuProblem<T>& problem) {
  for (int64_t l = 0; l < problem.levels_here; ++l) {
    ForEachThread([&](int64_t thread) { ZeroThread<T, kCount>(problem, l, thread, kThreads); });
    const int64_t blocks = problem.batch * problem.boxes * WindowParts(problem);
    // From the last to the first: no block may depend on another.
    for (int64_t block = blocks - 1; block >= 0; --block) {
      WindowBlock<T, kCount>(problem, block, l);
    }
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
  for (const GpuProblem<T>& problem : CutIntoLaunches(shape, tensors, count, kThreads)) {
    count == 1 ? one(problem) : many(problem);
  }
}

}  // namespace cephray::gpu_on_host

#endif  // CEPHRAY_TESTS_FUZZ_GPU_ON_HOST_H_
