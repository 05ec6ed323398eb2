// Calls the crop and its gradients with random shapes, types, boxes and crop sizes, on every
// instruction set of the processor, and compares with reference.h; runs the CUDA kernels' code on
// the CPU beside it and wants the same bits. Every tensor is a heap block of exactly its size, so
// that AddressSanitizer sees each step beyond it. Bad shapes are refused in words.
//
//   fuzz_roi_crop [CALLS [SEED]]

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "cpu/channel_loops.h"
#include "cpu/roi_crop.h"
#include "gpu_on_host.h"
#include "reference.h"

namespace cephray {
namespace {

using Random = std::mt19937_64;

int64_t Draw(Random& random, int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(random);
}

float DrawCoordinate(Random& random) {
  static const float kLimits[] = {0.0f,
                                  -0.0f,
                                  1.0f,
                                  0.5f,
                                  std::numeric_limits<float>::quiet_NaN(),
                                  std::numeric_limits<float>::infinity(),
                                  -std::numeric_limits<float>::infinity(),
                                  std::numeric_limits<float>::denorm_min(),
                                  -std::numeric_limits<float>::denorm_min(),
                                  std::numeric_limits<float>::min() / 3,
                                  std::numeric_limits<float>::max(),
                                  std::numeric_limits<float>::lowest(),
                                  1e30f,
                                  -1e18f,
                                  4e9f,
                                  std::nextafter(1.0f, 0.0f),
                                  std::nextafter(1.0f, 2.0f)};
  switch (Draw(random, 0, 9)) {
    case 0:
      return kLimits[Draw(random, 0, std::size(kLimits) - 1)];
    case 1:
      return static_cast<float>(Draw(random, -2, 6)) / 4;
    case 2:
      return std::uniform_real_distribution<float>(-2, 3)(random);
    default:
      return std::uniform_real_distribution<float>(0, 1)(random);
  }
}

RoiCropShape DrawShape(Random& random) {
  const int64_t batch = Draw(random, 0, 9) == 0 ? 0 : Draw(random, 1, 3);
  const int64_t boxes = Draw(random, 0, 19) == 0 ? Draw(random, 30, 70) : Draw(random, 0, 4);
  const int64_t levels = Draw(random, 0, 49) == 0 ? 9 : Draw(random, 1, 3);
  const int64_t multiple = int64_t{1} << Draw(random, 0, 5);
  std::vector<Dims> features;
  for (int64_t l = 0; l < levels; ++l) {
    // Now and then a wide map of many channels.
    const bool is_wide = Draw(random, 0, 199) == 0;
    features.push_back(std::vector<int64_t>{
        batch, Draw(random, 1, is_wide ? 2 : 8), is_wide ? 150 : Draw(random, 1, 8),
        (is_wide ? 80 : Draw(random, 0, 40)) / multiple * multiple});
  }
  RoiCropShape shape;
  const std::string error = ResolveShape(features, std::vector<int64_t>{batch, boxes, levels, 4},
                                         Draw(random, 1, 5), Draw(random, 1, 5), &shape);
  if (!error.empty()) {
    std::printf("refused: %s\n", error.c_str());
    std::exit(1);
  }
  return shape;
}

// A block of exactly this many values, aligned as a tensor, or one value into a larger one.
template <typename T>
class Block {
 public:
  Block(int64_t size, bool is_aligned)
      : size_(size),
        skip_(is_aligned ? 0 : 1),
        data_(static_cast<T*>(operator new[]((size + skip_) * sizeof(T), kAlignment))) {}

  T* get() { return data_.get() + skip_; }
  const T* get() const { return data_.get() + skip_; }
  int64_t size() const { return size_; }

  // What no kernel may leave behind.
  void Poison() {
    std::memset(static_cast<void*>(data_.get()), 0xff, (size_ + skip_) * sizeof(T));
  }

  void Fill(Random& random) {
    std::uniform_real_distribution<float> values(-1, 1);
    for (int64_t i = 0; i < size_; ++i) {
      get()[i] = Narrow<T>(static_cast<Accumulator<T>>(values(random)));
    }
  }

  std::vector<double> Values() const {
    std::vector<double> values;
    for (int64_t i = 0; i < size_; ++i) values.push_back(static_cast<double>(Widen(get()[i])));
    return values;
  }

 private:
  static constexpr std::align_val_t kAlignment{kStreamAlignment};

  struct Delete {
    void operator()(T* data) const { operator delete[](data, kAlignment); }
  };

  int64_t size_;
  int64_t skip_;
  std::unique_ptr<T[], Delete> data_;
};

struct Failure {
  std::string what;
};

void RequireClose(const std::vector<double>& actual, const std::vector<double>& wanted,
                  double unit, const char* what, double absolute = 1e-7) {
  double scale = 0;
  for (const double value : wanted) scale = std::max(scale, std::fabs(value));
  for (size_t i = 0; i < wanted.size(); ++i) {
    const double error = std::fabs(actual[i] - wanted[i]);
    if (!(error <= unit * std::fabs(wanted[i]) + 2e-6 * scale + absolute)) {
      throw Failure{std::string(what) + ": value " + std::to_string(i) + " is " +
                    std::to_string(actual[i]) + ", not " + std::to_string(wanted[i])};
    }
  }
}

template <typename T>
void RequireSame(const Block<T>& actual, const Block<T>& wanted, const char* what) {
  if (actual.size() > 0 &&
      std::memcmp(actual.get(), wanted.get(), actual.size() * sizeof(T)) != 0) {
    throw Failure{std::string(what) + ": not the CPU's bits"};
  }
}

// Half a unit in the last place.
template <typename T>
constexpr double kUnit = 1e-6;
template <>
constexpr double kUnit<Half> = 1.0 / 2048;
template <>
constexpr double kUnit<BFloat16> = 1.0 / 256;

template <typename T>
void CheckOnce(Random& random) {
  const RoiCropShape shape = DrawShape(random);
  const int64_t levels = static_cast<int64_t>(shape.levels.size());
  const bool is_aligned = Draw(random, 0, 3) > 0;
  UseInstructionSet(
      static_cast<InstructionSet>(Draw(random, 0, static_cast<int64_t>(BestInstructionSet()))));
  StreamFrom(Draw(random, 0, 1) * 2000);  // past the caches all, or the large ones

  std::vector<Block<T>> features, gradients, on_gpu;
  std::vector<const T*> feature_data;
  std::vector<T*> gradient_data, gpu_data;
  std::vector<reference::Values> feature_values;
  for (const Level& level : shape.levels) {
    const int64_t size = shape.batch * level.height * level.width * level.channels;
    for (auto* blocks : {&features, &gradients, &on_gpu}) blocks->emplace_back(size, is_aligned);
    features.back().Fill(random);
    feature_values.push_back(features.back().Values());
    gradients.back().Poison();
    on_gpu.back().Poison();
    feature_data.push_back(features.back().get());
    gradient_data.push_back(gradients.back().get());
    gpu_data.push_back(on_gpu.back().get());
  }
  std::vector<float> boxes(shape.batch * shape.boxes * levels * 4);
  for (float& coordinate : boxes) coordinate = DrawCoordinate(random);
  const int64_t crops_size =
      shape.batch * shape.boxes * shape.crop_height * shape.crop_width * shape.channels;
  Block<T> crops(crops_size, is_aligned), gpu_crops(crops_size, is_aligned),
      weights(crops_size, is_aligned);
  crops.Poison();
  gpu_crops.Poison();
  weights.Fill(random);
  const int64_t boxes_size = static_cast<int64_t>(boxes.size());
  Block<float> box_gradient(boxes_size, true), gpu_box_gradient(boxes_size, true);
  box_gradient.Poison();
  gpu_box_gradient.Poison();

  // Ranges of random length, from the last to the first.
  const ParallelFor parallel_for = [&](int64_t total, int64_t, const RangeBody& body) {
    while (total > 0) {
      const int64_t count = Draw(random, 1, total);
      body(total - count, total);
      total -= count;
    }
  };
  RoiCrop<T>(shape, feature_data.data(), boxes.data(), crops.get(), parallel_for);
  RoiCropGradFeatures<T>(shape, boxes.data(), weights.get(), gradient_data.data(), parallel_for);
  RoiCropGradBoxes<T>(shape, feature_data.data(), boxes.data(), weights.get(), box_gradient.get(),
                      parallel_for);

  RequireClose(crops.Values(), reference::Crop(shape, feature_values, boxes), kUnit<T>, "crops");
  const auto wanted = reference::GradFeatures(shape, boxes, weights.Values());
  for (int64_t l = 0; l < levels; ++l) {
    RequireClose(gradients[l].Values(), wanted[l], kUnit<T>, "feature gradient");
  }
  const auto wanted_boxes = reference::GradBoxes(shape, feature_values, boxes, weights.Values());
  // What is added up may cancel: float sums of so many terms, each at most as large as the map.
  double terms = 0;
  for (const Level& level : shape.levels) {
    const int64_t size = std::max(level.height, level.width);
    terms = std::max(
        terms, static_cast<double>(size * level.channels * shape.crop_height * shape.crop_width));
  }
  const double absolute = 1e-6 + 2e-8 * terms;
  RequireClose(box_gradient.Values(), wanted_boxes, 1e-5, "box gradient", absolute);

  GpuTensors<T> tensors;
  tensors.features = feature_data.data();
  tensors.boxes = boxes.data();
  tensors.crops_gradient = weights.get();
  tensors.crops = gpu_crops.get();
  tensors.features_gradient = gpu_data.data();
  tensors.boxes_gradient = gpu_box_gradient.get();
  constexpr int kMany = 16 / sizeof(T);
  if (crops_size > 0) {
    gpu_on_host::ForEachLaunch(shape, tensors, gpu_on_host::Crop<T, 1>,
                               gpu_on_host::Crop<T, kMany>);
  }
  if (shape.batch > 0 && shape.channels > 0) {
    gpu_on_host::ForEachLaunch(shape, tensors, gpu_on_host::GradFeatures<T, 1>,
                               gpu_on_host::GradFeatures<T, kMany>);
  }
  gpu_on_host::ForEachLaunch(shape, tensors, gpu_on_host::GradBoxes<T, 1>,
                             gpu_on_host::GradBoxes<T, kMany>);
  RequireSame(gpu_crops, crops, "crops of the CUDA kernels");
  for (int64_t l = 0; l < levels; ++l) {
    RequireSame(on_gpu[l], gradients[l], "feature gradient of the CUDA kernels");
  }
  RequireClose(gpu_box_gradient.Values(), wanted_boxes, 1e-5, "box gradient of the CUDA kernels",
               absolute);
}

// Shapes of any rank and size: refused in words, or resolved to sizes that can be counted.
void CheckShapes(Random& random) {
  const auto draw_dims = [&](size_t rank) -> Dims {
    if (Draw(random, 0, 29) == 0) return std::nullopt;
    if (Draw(random, 0, 29) == 0) rank = Draw(random, 0, 6);
    std::vector<int64_t> dims(rank);
    for (int64_t& size : dims) {
      switch (Draw(random, 0, 9)) {
        case 0:
          size = kUnknown;
          break;
        case 1:
          size = int64_t{1} << Draw(random, 0, 62);
          break;
        case 2:
          size = std::numeric_limits<int64_t>::max() - Draw(random, 0, 3);
          break;
        default:
          size = Draw(random, 0, 4);
      }
    }
    return dims;
  };
  std::vector<Dims> features(Draw(random, 0, 3));
  for (Dims& feature : features) feature = draw_dims(4);
  RoiCropShape shape;
  const std::string error =
      Draw(random, 0, 1) == 0 ? ResolveShape(features, draw_dims(4), Draw(random, -1, 5),
                                             int64_t{1} << Draw(random, 0, 62), &shape)
                              : ResolveGradientShape(features, draw_dims(4), draw_dims(5), &shape);
  if (!error.empty()) {
    if (error.find('`') == std::string::npos) throw Failure{"names no argument: " + error};
    return;
  }
  __int128 bytes = 8;
  for (const int64_t size : CropsDims(shape)) bytes *= std::max<int64_t>(size, 1);
  if (bytes > std::numeric_limits<int64_t>::max()) throw Failure{"took sizes that overflow"};
}

int Fuzz(int64_t calls, uint64_t seed) {
  constexpr int64_t kCallsInTurn = 4;  // the crop, its two gradients, a shape
  for (int64_t turn = 0; turn * kCallsInTurn < calls; ++turn) {
    Random random(seed + static_cast<uint64_t>(turn));
    try {
      switch (turn % 4) {
        case 0:
          CheckOnce<float>(random);
          break;
        case 1:
          CheckOnce<BFloat16>(random);
          break;
        case 2:
          CheckOnce<Half>(random);
          break;
        default:
          CheckOnce<double>(random);
      }
      CheckShapes(random);
    } catch (const Failure& failure) {
      std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed + turn),
                  failure.what.c_str());
      return 1;
    }
  }
  std::printf("%lld random calls agree with the reference\n", static_cast<long long>(calls));
  return 0;
}

}  // namespace
}  // namespace cephray

int main(int count, char** arguments) {
  const int64_t calls = count > 1 ? std::atoll(arguments[1]) : 1000000;
  const uint64_t seed = count > 2 ? std::strtoull(arguments[2], nullptr, 10) : 0;
  return cephray::Fuzz(calls, seed);
}
