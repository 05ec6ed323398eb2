// See roi_crop.h. Launches what crop.h, grad_boxes.h, row_addends.h and grad_features.h say that
// one thread does; decides only how many. Compile with -fmad=false, see there.

#include <algorithm>
#include <cstdint>
#include <string>

#include "cuda/crop.h"
#include "cuda/error.h"
#include "cuda/grad_boxes.h"
#include "cuda/grad_features.h"
#include "cuda/launch.h"
#include "cuda/roi_crop.h"

namespace cephray {
namespace {

constexpr int kCropThreads = 128;
constexpr int kRowThreads = 128;
constexpr int kRowBlocks = 8;  // on a multiprocessor, which limits the registers of a thread
constexpr int kSumThreads = 128;

// A grid is at most this large along x; kernels go on in steps of its size.
constexpr int64_t kMostBlocksX = 0x7fffffff;

// What every device has without asking for more.
constexpr int64_t kSharedBytes = 48 << 10;

template <typename T, int kCount>
__global__ void __launch_bounds__(kCropThreads, 8)
    CropKernel(const __grid_constant__ GpuProblem<T> problem, const int64_t blocks) {
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    CropThread<T, kCount>(problem, block, blockIdx.y, threadIdx.x);
  }
}

template <typename T, int kCount>
__global__ void __launch_bounds__(kRowThreads, kRowBlocks)
    GradFeaturesKernel(const __grid_constant__ GpuProblem<T> problem, const int64_t blocks) {
  extern __shared__ int64_t memory[];
  auto* const shared = reinterpret_cast<RowShared<Accumulator<T>>*>(memory);
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    const Row row = RowAt(problem, block);
    RowPhaseClear(problem, threadIdx.x, shared);
    __syncthreads();
    RowPhaseMark(problem, row, threadIdx.x, shared);
    __syncthreads();
    const int32_t marked = MarkedBoxes(problem.boxes, shared->mask);
    RowPhaseLocate(problem, row, marked, threadIdx.x, shared);
    __syncthreads();
    RowPhaseList(problem, row, marked, threadIdx.x, shared);
    __syncthreads();
    RowPhaseWrite<T, kCount>(problem, row, threadIdx.x, shared);
    RowPhaseWriteUnlisted<T, kCount>(problem, row, threadIdx.x, shared);
    __syncthreads();
  }
}

template <typename T, int kCount>
__global__ void __launch_bounds__(kSumThreads)
    GradBoxesKernel(const __grid_constant__ GpuProblem<T> problem) {
  __shared__ BoxSums sums[kSumThreads];
  const int64_t image_boxes = problem.batch * problem.boxes;
  for (int64_t image_box = blockIdx.x; image_box < image_boxes; image_box += gridDim.x) {
    GradBoxesPhaseSum<T, kCount>(problem, image_box, blockIdx.y, threadIdx.x, kSumThreads, sums);
    for (int half = kSumThreads / 2; half > 0; half /= 2) {
      __syncthreads();
      GradBoxesPhaseAdd(half, threadIdx.x, sums);
    }
    __syncthreads();
    GradBoxesPhaseWrite(problem, image_box, blockIdx.y, threadIdx.x, sums);
    __syncthreads();
  }
}

unsigned Blocks(int64_t wanted, int64_t most) {
  return static_cast<unsigned>(std::min(wanted, most));
}

template <typename T, int kCount>
void LaunchCrop(const GpuProblem<T>& problem, cudaStream_t stream) {
  const int64_t blocks = CropBlocks(problem);
  const dim3 grid(Blocks(blocks, kMostBlocksX), static_cast<unsigned>(problem.levels_here));
  CropKernel<T, kCount><<<grid, kCropThreads, 0, stream>>>(problem, blocks);
}

template <typename T, int kCount>
void LaunchGradFeatures(const GpuProblem<T>& problem, cudaStream_t stream) {
  const int64_t blocks = problem.batch * problem.image_rows;
  if (blocks == 0) return;
  const size_t shared = RowSharedBytes<T>(problem.boxes);
  GradFeaturesKernel<T, kCount>
      <<<Blocks(blocks, kMostBlocksX), kRowThreads, shared, stream>>>(problem, blocks);
}

template <typename T, int kCount>
void LaunchGradBoxes(const GpuProblem<T>& problem, cudaStream_t stream) {
  const dim3 grid(Blocks(problem.batch * problem.boxes, kMostBlocksX),
                  static_cast<unsigned>(problem.levels_here));
  GradBoxesKernel<T, kCount><<<grid, kSumThreads, 0, stream>>>(problem);
}

// Calls launch(problem, count) for each launch; the type of `count` holds the width of a pack.
template <int kValue>
struct Count {
  static constexpr int value = kValue;
};

template <typename T, typename Launch>
std::string LaunchAll(const RoiCropShape& shape, const GpuTensors<T>& tensors, int threads,
                      const Launch& launch) {
  const std::string refused = RefuseForGpu(shape);
  if (!refused.empty()) return refused;
  const int pack_count = PackCount(shape, tensors);
  for (const GpuProblem<T>& problem : CutIntoLaunches(shape, tensors, pack_count, threads)) {
    if (pack_count == 1) {
      launch(problem, Count<1>());
    } else {
      launch(problem, Count<16 / sizeof(T)>());
    }
    const std::string error = DescribeCudaError(cudaGetLastError());
    if (!error.empty()) return error;
  }
  return "";
}

}  // namespace

template <typename T>
std::string RoiCropCuda(const RoiCropShape& shape, const T* const* features, const float* boxes,
                        T* crops, void* stream) {
  if (shape.batch == 0 || shape.boxes == 0 || shape.channels == 0) return "";
  GpuTensors<T> tensors;
  tensors.features = features;
  tensors.boxes = boxes;
  tensors.crops = crops;
  return LaunchAll(shape, tensors, kCropThreads, [&](const GpuProblem<T>& problem, auto count) {
    LaunchCrop<T, decltype(count)::value>(problem, static_cast<cudaStream_t>(stream));
  });
}

template <typename T>
std::string RoiCropGradFeaturesCuda(const RoiCropShape& shape, const float* boxes,
                                    const T* crops_gradient, T* const* features_gradient,
                                    void* stream) {
  if (shape.batch == 0 || shape.channels == 0) return "";
  const int64_t most_boxes = (kSharedBytes - RowSharedBytes<T>(0)) / sizeof(uint32_t) * 32;
  if (shape.boxes > most_boxes) {
    return "the CUDA kernel takes at most " + std::to_string(most_boxes) +
           " boxes for each image; got " + std::to_string(shape.boxes) + ".";
  }
  GpuTensors<T> tensors;
  tensors.boxes = boxes;
  tensors.crops_gradient = crops_gradient;
  tensors.features_gradient = features_gradient;
  return LaunchAll(shape, tensors, kRowThreads, [&](const GpuProblem<T>& problem, auto count) {
    LaunchGradFeatures<T, decltype(count)::value>(problem, static_cast<cudaStream_t>(stream));
  });
}

template <typename T>
std::string RoiCropGradBoxesCuda(const RoiCropShape& shape, const T* const* features,
                                 const float* boxes, const T* crops_gradient,
                                 float* boxes_gradient, void* stream) {
  if (shape.batch == 0 || shape.boxes == 0) return "";
  GpuTensors<T> tensors;
  tensors.features = features;
  tensors.boxes = boxes;
  tensors.crops_gradient = crops_gradient;
  tensors.boxes_gradient = boxes_gradient;
  return LaunchAll(shape, tensors, kSumThreads, [&](const GpuProblem<T>& problem, auto count) {
    LaunchGradBoxes<T, decltype(count)::value>(problem, static_cast<cudaStream_t>(stream));
  });
}

CudaDeviceScope::CudaDeviceScope(int device) {
  int current = 0;
  cudaError_t error = cudaGetDevice(&current);
  if (error == cudaSuccess && current != device) {
    error = cudaSetDevice(device);
    if (error == cudaSuccess) previous_ = current;
  }
  error_ = DescribeCudaError(error);
}

CudaDeviceScope::~CudaDeviceScope() {
  if (previous_ >= 0) cudaSetDevice(previous_);
}

#define CEPHRAY_INSTANTIATE(T)                                                                 \
  template std::string RoiCropCuda<T>(const RoiCropShape&, const T* const*, const float*, T*,  \
                                      void*);                                                  \
  template std::string RoiCropGradFeaturesCuda<T>(const RoiCropShape&, const float*, const T*, \
                                                  T* const*, void*);                           \
  template std::string RoiCropGradBoxesCuda<T>(const RoiCropShape&, const T* const*,           \
                                               const float*, const T*, float*, void*);

CEPHRAY_FOR_EACH_TYPE(CEPHRAY_INSTANTIATE)

#undef CEPHRAY_INSTANTIATE

}  // namespace cephray
