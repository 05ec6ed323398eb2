// See roi_crop.h. The crop and the box gradient: both go over (image, box, level), and each turn
// owns what it writes.

#include "cpu/roi_crop.h"

#include <algorithm>
#include <vector>

#include "cpu/channel_loops.h"
#include "cpu/parallel.h"
#include "kernels/roi_crop.h"

namespace cephray {
namespace {

using AxisFunction = Axis (*)(float start, float end, int64_t samples, int64_t size);

// The samples of one box at one level.
struct BoxSamples {
  explicit BoxSamples(const RoiCropShape& shape)
      : rows(shape.crop_height), columns(shape.crop_width) {}

  void Place(const float* box, const Level& level, AxisFunction axis) {
    const int64_t height = static_cast<int64_t>(rows.size());
    const int64_t width = static_cast<int64_t>(columns.size());
    LocateAll(axis(box[0], box[2], height, level.height), height, rows.data());
    LocateAll(axis(box[1], box[3], width, level.width), width, columns.data());
  }

  std::vector<AxisSample> rows;
  std::vector<AxisSample> columns;
};

template <typename T>
Cells<T> CellsAround(const T* image, const Level& level, const AxisSample& row,
                     const AxisSample& column) {
  const T* top = image + row.low * level.width * level.channels;
  const T* bottom = image + row.high * level.width * level.channels;
  const int64_t left = column.low * level.channels;
  const int64_t right = column.high * level.channels;
  return {top + left, top + right, bottom + left, bottom + right};
}

// Position of (image, box, level) number `unit`.
struct Unit {
  Unit(const RoiCropShape& shape, int64_t unit)
      : level(unit % static_cast<int64_t>(shape.levels.size())),
        image_box(unit / static_cast<int64_t>(shape.levels.size())),
        image(image_box / shape.boxes) {}

  int64_t level;
  int64_t image_box;  // image * K + box
  int64_t image;
};

int64_t UnitCount(const RoiCropShape& shape) {
  return shape.batch * shape.boxes * static_cast<int64_t>(shape.levels.size());
}

// In cycles, as measured: a thread pool cuts its work by cost, and the loops wait for memory.
int64_t UnitCost(const RoiCropShape& shape) {
  constexpr int64_t kCyclesPerValue = 2;
  return shape.crop_height * shape.crop_width *
         (shape.channels / static_cast<int64_t>(shape.levels.size()) * kCyclesPerValue + 16);
}

template <typename T>
const ChannelLoops<T>& LoopsToWriteCrops(const RoiCropShape& shape, const T* crops) {
  const int64_t values =
      shape.batch * shape.boxes * shape.crop_height * shape.crop_width * shape.channels;
  const bool is_aligned =
      reinterpret_cast<uintptr_t>(crops) % kStreamAlignment == 0 &&
      std::all_of(shape.levels.begin(), shape.levels.end(), [](const Level& level) {
        return level.channels * sizeof(T) % kStreamAlignment == 0;
      });
  return ChannelLoopsToWrite<T>(values * static_cast<int64_t>(sizeof(T)), is_aligned);
}

}  // namespace

template <typename T>
bool RoiCrop(const RoiCropShape& shape, const T* const* features, const float* boxes, T* crops,
             const ParallelFor& parallel_for) {
  if (shape.channels == 0) return true;
  const ChannelLoops<T>& loops = LoopsToWriteCrops(shape, crops);
  return Run(parallel_for, UnitCount(shape), UnitCost(shape), [&](int64_t begin, int64_t end) {
    BoxSamples samples(shape);
    for (int64_t i = begin; i < end; ++i) {
      const Unit unit(shape, i);
      const Level& level = shape.levels[unit.level];
      const T* image =
          features[unit.level] + unit.image * level.height * level.width * level.channels;
      const float* box = boxes + i * 4;
      const bool is_finite = IsFinite(box);
      samples.Place(box, level, SampleAxis);
      T* crop = crops + unit.image_box * shape.crop_height * shape.crop_width * shape.channels +
                level.first_channel;
      for (const AxisSample& row : samples.rows) {
        for (const AxisSample& column : samples.columns) {
          if (is_finite && row.inside && column.inside) {
            loops.blend(CellsAround(image, level, row, column), level.channels, row.weight,
                        column.weight, crop);
          } else {
            loops.clear(crop, level.channels);
          }
          crop += shape.channels;
        }
      }
    }
    loops.finish();
  });
}

template <typename T>
bool RoiCropGradBoxes(const RoiCropShape& shape, const T* const* features, const float* boxes,
                      const T* crops_gradient, float* boxes_gradient,
                      const ParallelFor& parallel_for) {
  const ChannelLoops<T>& loops = ChannelLoopsInUse<T>();
  return Run(parallel_for, UnitCount(shape), UnitCost(shape), [&](int64_t begin, int64_t end) {
    BoxSamples samples(shape);
    for (int64_t i = begin; i < end; ++i) {
      const Unit unit(shape, i);
      const Level& level = shape.levels[unit.level];
      const T* image =
          features[unit.level] + unit.image * level.height * level.width * level.channels;
      const float* box = boxes + i * 4;
      const bool is_finite = IsFinite(box);
      samples.Place(box, level, BoxGradientAxis);
      const T* gradient = crops_gradient + level.first_channel +
                          unit.image_box * shape.crop_height * shape.crop_width * shape.channels;
      double sum[4] = {};
      for (int64_t y = 0; is_finite && y < shape.crop_height; ++y) {
        const EndDerivatives dy = DeriveEnds(y, shape.crop_height, level.height);
        for (int64_t x = 0; x < shape.crop_width; ++x) {
          const AxisSample& row = samples.rows[y];
          const AxisSample& column = samples.columns[x];
          if (!row.inside || !column.inside) continue;
          const EndDerivatives dx = DeriveEnds(x, shape.crop_width, level.width);
          const auto slope = loops.sum_slopes(
              CellsAround(image, level, row, column), level.channels, row.weight, column.weight,
              gradient + (y * shape.crop_width + x) * shape.channels);
          sum[0] += static_cast<double>(slope.y) * dy.start;
          sum[1] += static_cast<double>(slope.x) * dx.start;
          sum[2] += static_cast<double>(slope.y) * dy.end;
          sum[3] += static_cast<double>(slope.x) * dx.end;
        }
      }
      for (int64_t j = 0; j < 4; ++j) boxes_gradient[i * 4 + j] = static_cast<float>(sum[j]);
    }
  });
}

#define CEPHRAY_INSTANTIATE(T)                                                                    \
  template bool RoiCrop<T>(const RoiCropShape&, const T* const*, const float*, T*,                \
                           const ParallelFor&);                                                   \
  template bool RoiCropGradBoxes<T>(const RoiCropShape&, const T* const*, const float*, const T*, \
                                    float*, const ParallelFor&);

CEPHRAY_FOR_EACH_TYPE(CEPHRAY_INSTANTIATE)

#undef CEPHRAY_INSTANTIATE

}  // namespace cephray
