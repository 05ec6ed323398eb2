// The CUDA kernels' code on the CPU: block by block, and within a block phase by phase, thread by
// thread, from the last to the first. Shared memory is as large as a launch asks for.

#ifndef CEPHRAY_TESTS_FUZZ_GPU_ON_HOST_H_
#define CEPHRAY_TESTS_FUZZ_GPU_ON_HOST_H_

#include <cstdint>
#include <vector>

#include "roi_crop_gpu.h"
#include "roi_crop_gpu_launch.h"

namespace cephray::gpu_on_host {

constexpr int64_t kThreads = 8;  // few, so that they take several turns

template <typename Phase>
void ForEachThread(const Phase& phase) {
  for (int64_t thread = kThreads - 1; thread >= 0; --thread) phase(thread);
}

template <typename T, int kCount>
void Crop(const GpuProblem<T>& problem) {
  const int64_t rows = problem.batch * problem.boxes * problem.crop_height;
  for (int64_t l = 0; l < problem.levels_here; ++l) {
    for (int64_t row = 0; row < rows; ++row) {
      ForEachThread([&](int64_t thread) {
        CropThread<T, kCount>(problem, row, l, thread, kThreads);
      });
    }
  }
}

template <typename T, int kCount>
void GradFeatures(const GpuProblem<T>& problem) {
  for (int64_t image = 0; image < problem.batch; ++image) {
    for (int64_t at = 0; at < problem.tiles; ++at) {
      const Tile tile = TileAt<T, kCount>(problem, at);
      std::vector<uint32_t> mask(MaskWords(problem.boxes), 0xdeadbeef);
      uint32_t* shared = mask.data();
      ForEachThread([&](int64_t thread) {
        GradFeaturesPhaseClear(problem.boxes, thread, kThreads, shared);
      });
      ForEachThread([&](int64_t thread) {
        GradFeaturesPhaseMark(problem, image, tile, thread, kThreads, shared);
      });
      ForEachThread([&](int64_t thread) {
        GradFeaturesPhaseGather<T, kCount>(problem, image, tile, thread, kThreads, shared);
      });
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
        ForEachThread(
            [&](int64_t thread) { GradBoxesPhaseAdd(half, thread, sums.data()); });
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
  for (const GpuProblem<T>& problem : CutIntoLaunches(shape, tensors, count)) {
    count == 1 ? one(problem) : many(problem);
  }
}

}  // namespace cephray::gpu_on_host

#endif  // CEPHRAY_TESTS_FUZZ_GPU_ON_HOST_H_
