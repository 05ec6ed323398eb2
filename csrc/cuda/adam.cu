// See adam.h. Launches what adam_block.h says that one thread does. Compile with -fmad=false.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include "cuda/adam.h"
#include "cuda/adam_block.h"
#include "cuda/error.h"

namespace cephray {
namespace {

constexpr int32_t kThreads = kAdamLanes;
constexpr int64_t kMostBlocks = 0x7fffffff;

// Every thread passes its lane's sum; afterwards lanes[0] is the sum of all.
__device__ void AddLanes(double sum, double* lanes) {
  lanes[threadIdx.x] = sum;
  for (int32_t half = kAdamLanes / 2; half > 0; half /= 2) {
    __syncthreads();
    AdamPhaseAdd(half, threadIdx.x, lanes);
  }
  __syncthreads();
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    SumSquaresKernel(const __grid_constant__ AdamProblem<T> problem) {
  __shared__ double lanes[kAdamLanes];
  for (int64_t chunk = blockIdx.x; chunk < problem.chunks; chunk += gridDim.x) {
    AddLanes(AdamChunkLane(problem, chunk, threadIdx.x), lanes);
    if (threadIdx.x == 0) problem.sums[chunk] = lanes[0];
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    FactorsKernel(const __grid_constant__ AdamProblem<T> problem) {
  __shared__ double lanes[kAdamLanes];
  AddLanes(AdamTotalLane(problem, threadIdx.x), lanes);
  if (threadIdx.x == 0) {
    *problem.factors =
        AdamFactorsOf(problem.settings, lanes[0], *problem.learning_rate, *problem.step);
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    UpdateKernel(const __grid_constant__ AdamProblem<T> problem) {
  for (int64_t chunk = blockIdx.x; chunk < problem.chunks; chunk += gridDim.x) {
    AdamUpdateThread(problem, chunk, threadIdx.x, kThreads);
  }
}

int64_t RoundUp(int64_t bytes) { return (bytes + 15) / 16 * 16; }

template <typename T>
int64_t TableBytes(int64_t count) {
  return RoundUp(count * static_cast<int64_t>(sizeof(AdamVariable<T>)));
}

template <typename T>
int64_t FactorsBytes() {
  return RoundUp(sizeof(AdamFactors<T>));
}

}  // namespace

template <typename T>
int64_t AdamScratchBytes(const AdamVariable<T>* variables, int64_t count) {
  int64_t chunks = 0;
  for (int64_t i = 0; i < count; ++i) chunks += AdamChunks(variables[i].size);
  return TableBytes<T>(count) + FactorsBytes<T>() + chunks * static_cast<int64_t>(sizeof(double));
}

template <typename T>
std::string AdamUpdateCuda(const AdamSettings& settings, AdamVariable<T>* variables, int64_t count,
                           const T* learning_rate, const T* step, void* scratch, void* stream) {
  const int64_t chunks = SetAdamChunks(variables, count);
  if (chunks == 0) return "";
  const auto on = static_cast<cudaStream_t>(stream);
  char* const memory = static_cast<char*>(scratch);
  // The host's memory is pageable: CUDA copies it to a place of its own before the call returns.
  const cudaError_t copied = cudaMemcpyAsync(memory, variables, count * sizeof(AdamVariable<T>),
                                             cudaMemcpyHostToDevice, on);
  if (copied != cudaSuccess) return DescribeCudaError(copied);
  AdamProblem<T> problem = {};
  problem.settings = settings;
  problem.variables = reinterpret_cast<const AdamVariable<T>*>(memory);
  problem.count = count;
  problem.chunks = chunks;
  problem.learning_rate = learning_rate;
  problem.step = step;
  problem.factors = reinterpret_cast<AdamFactors<T>*>(memory + TableBytes<T>(count));
  const auto blocks = static_cast<unsigned>(std::min(chunks, kMostBlocks));
  if (std::isfinite(settings.clip_norm)) {
    problem.sums = reinterpret_cast<double*>(memory + TableBytes<T>(count) + FactorsBytes<T>());
    SumSquaresKernel<T><<<blocks, kThreads, 0, on>>>(problem);
  }
  FactorsKernel<T><<<1, kThreads, 0, on>>>(problem);
  UpdateKernel<T><<<blocks, kThreads, 0, on>>>(problem);
  return DescribeCudaError(cudaGetLastError());
}

std::string CopyOnDeviceCuda(const void* from, int64_t bytes, void* to, void* stream) {
  return DescribeCudaError(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice,
                                           static_cast<cudaStream_t>(stream)));
}

#define CEPHRAY_INSTANTIATE(T)                                                           \
  template int64_t AdamScratchBytes<T>(const AdamVariable<T>*, int64_t);                 \
  template std::string AdamUpdateCuda<T>(const AdamSettings&, AdamVariable<T>*, int64_t, \
                                         const T*, const T*, void*, void*);

CEPHRAY_INSTANTIATE(float)
CEPHRAY_INSTANTIATE(double)

#undef CEPHRAY_INSTANTIATE

}  // namespace cephray
