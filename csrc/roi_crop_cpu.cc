// See roi_crop_cpu.h. The forward pass and the box gradient go over (image, box, level), the
// feature gradient over the rows of the feature maps: each owns what it writes.

#include "roi_crop_cpu.h"

#include <algorithm>
#include <atomic>
#include <new>
#include <type_traits>
#include <vector>

#include "roi_crop.h"

namespace cephray {
namespace {

template <typename T>
using Accumulator = std::conditional_t<std::is_same_v<T, double>, double, float>;

using AxisFunction = Axis (*)(float start, float end, int64_t samples, int64_t size);

// Runs the loop; false where a body ran out of memory: no exception may leave a pool's thread.
bool Run(const ParallelFor& parallel_for, int64_t total, int64_t cost, const RangeBody& body) {
  if (total == 0) return true;
  std::atomic<bool> exhausted{false};
  parallel_for(total, cost, [&](int64_t begin, int64_t end) {
    try {
      body(begin, end);
    } catch (const std::bad_alloc&) {
      exhausted = true;
    }
  });
  return !exhausted;
}

void LocateAll(const Axis& axis, int64_t count, AxisSample* samples) {
  for (int64_t i = 0; i < count; ++i) samples[i] = Locate(axis, i);
}

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

// The four cells around a sample, each a run of channels.
template <typename T>
struct Cells {
  Cells(const T* image, const Level& level, const AxisSample& row, const AxisSample& column)
      : top_left(image + (row.low * level.width + column.low) * level.channels),
        top_right(image + (row.low * level.width + column.high) * level.channels),
        bottom_left(image + (row.high * level.width + column.low) * level.channels),
        bottom_right(image + (row.high * level.width + column.high) * level.channels) {}

  const T* top_left;
  const T* top_right;
  const T* bottom_left;
  const T* bottom_right;
};

template <typename T>
void BlendChannels(const Cells<T>& cells, int64_t channels, float weight_y, float weight_x,
                   T* __restrict__ crop) {
  using A = Accumulator<T>;
  for (int64_t c = 0; c < channels; ++c) {
    crop[c] = Narrow<T>(Blend<A>(Widen(cells.top_left[c]), Widen(cells.top_right[c]),
                                 Widen(cells.bottom_left[c]), Widen(cells.bottom_right[c]),
                                 weight_y, weight_x));
  }
}

template <typename T>
void AddScaled(const T* __restrict__ source, int64_t channels, Accumulator<T> scale,
               Accumulator<T>* __restrict__ target) {
  for (int64_t c = 0; c < channels; ++c) target[c] += scale * Widen(source[c]);
}

template <typename A>
struct Slope {
  A y;
  A x;
};

// The slopes of a sample's channels, weighted with their gradients and added.
template <typename T>
Slope<Accumulator<T>> SumSlopes(const Cells<T>& cells, int64_t channels, float weight_y,
                                float weight_x, const T* gradient) {
  using A = Accumulator<T>;
  // Separate partial sums let the compiler use vector registers without reordering additions.
  constexpr int64_t kLanes = 16;
  A y[kLanes] = {};
  A x[kLanes] = {};
  auto add = [&](int64_t c, int64_t lane) {
    const A tl = Widen(cells.top_left[c]);
    const A tr = Widen(cells.top_right[c]);
    const A bl = Widen(cells.bottom_left[c]);
    const A br = Widen(cells.bottom_right[c]);
    const A g = Widen(gradient[c]);
    y[lane] += g * SlopeY<A>(tl, tr, bl, br, weight_x);
    x[lane] += g * SlopeX<A>(tl, tr, bl, br, weight_y);
  };
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) add(c + lane, lane);
  }
  for (int64_t lane = 0; c + lane < channels; ++lane) add(c + lane, lane);
  Slope<A> sum = {};
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    sum.y += y[lane];
    sum.x += x[lane];
  }
  return sum;
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

int64_t UnitCost(const RoiCropShape& shape) {
  return shape.crop_height * shape.crop_width *
         (shape.channels / static_cast<int64_t>(shape.levels.size()) + 1) * 4;
}

}  // namespace

template <typename T>
bool RoiCrop(const RoiCropShape& shape, const T* const* features, const float* boxes, T* crops,
             const ParallelFor& parallel_for) {
  if (shape.channels == 0) return true;
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
            BlendChannels(Cells<T>(image, level, row, column), level.channels, row.weight,
                          column.weight, crop);
          } else {
            std::fill_n(crop, level.channels, T{});
          }
          crop += shape.channels;
        }
      }
    }
  });
}

template <typename T>
bool RoiCropGradFeatures(const RoiCropShape& shape, const float* boxes, const T* crops_gradient,
                         T* const* features_gradient, const ParallelFor& parallel_for) {
  if (shape.batch == 0 || shape.channels == 0) return true;
  using A = Accumulator<T>;
  constexpr bool kInPlace = std::is_same_v<T, A>;
  const int64_t levels = static_cast<int64_t>(shape.levels.size());
  int64_t rows_per_image = 0;
  int64_t cells = 0;
  for (const Level& level : shape.levels) {
    rows_per_image += level.height;
    cells += level.height * level.width * level.channels;
  }
  const int64_t samples_per_crop = shape.crop_height * shape.crop_width;
  const int64_t cost =
      (cells + shape.boxes * samples_per_crop * shape.channels * 4) / rows_per_image + 1;

  // Rows [begin, end) of the gradient of one image at one level, from all boxes of that image.
  auto add_rows = [&](int64_t image, int64_t l, int64_t begin, int64_t end) {
    const Level& level = shape.levels[l];
    const int64_t row_size = level.width * level.channels;
    std::vector<BoxSamples> samples(shape.boxes, BoxSamples(shape));
    for (int64_t k = 0; k < shape.boxes; ++k) {
      const float* box = boxes + ((image * shape.boxes + k) * levels + l) * 4;
      samples[k].Place(box, level, SampleAxis);
      if (!IsFinite(box)) std::fill(samples[k].rows.begin(), samples[k].rows.end(), AxisSample{});
    }
    std::vector<A> scratch(kInPlace ? 0 : row_size);
    for (int64_t row = begin; row < end; ++row) {
      T* target = features_gradient[l] + (image * level.height + row) * row_size;
      A* sums;
      if constexpr (kInPlace) {
        sums = target;
      } else {
        sums = scratch.data();
      }
      std::fill_n(sums, row_size, A{0});
      for (int64_t k = 0; k < shape.boxes; ++k) {
        const T* gradient = crops_gradient + level.first_channel +
                            (image * shape.boxes + k) * samples_per_crop * shape.channels;
        for (int64_t y = 0; y < shape.crop_height; ++y) {
          const AxisSample& sample = samples[k].rows[y];
          if (!sample.inside || (row != sample.low && row != sample.high)) continue;
          const A row_weight = WeightOfCell<A>(sample, row);
          for (int64_t x = 0; x < shape.crop_width; ++x) {
            const AxisSample& column = samples[k].columns[x];
            if (!column.inside) continue;
            const T* source = gradient + (y * shape.crop_width + x) * shape.channels;
            AddScaled(source, level.channels, row_weight * WeightOfCell<A>(column, column.low),
                      sums + column.low * level.channels);
            if (column.high == column.low) continue;
            AddScaled(source, level.channels, row_weight * WeightOfCell<A>(column, column.high),
                      sums + column.high * level.channels);
          }
        }
      }
      if constexpr (!kInPlace) {
        std::transform(sums, sums + row_size, target, [](A value) { return Narrow<T>(value); });
      }
    }
  };

  const int64_t total = shape.batch * rows_per_image;
  return Run(parallel_for, total, cost, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t image = begin / rows_per_image;
      int64_t row = begin % rows_per_image;
      int64_t l = 0;
      while (row >= shape.levels[l].height) row -= shape.levels[l++].height;
      const int64_t count = std::min(end - begin, shape.levels[l].height - row);
      add_rows(image, l, row, row + count);
      begin += count;
    }
  });
}

template <typename T>
bool RoiCropGradBoxes(const RoiCropShape& shape, const T* const* features, const float* boxes,
                      const T* crops_gradient, float* boxes_gradient,
                      const ParallelFor& parallel_for) {
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
      const T* gradient =
          crops_gradient + level.first_channel +
          unit.image_box * shape.crop_height * shape.crop_width * shape.channels;
      double sum[4] = {};
      for (int64_t y = 0; is_finite && y < shape.crop_height; ++y) {
        const EndDerivatives dy = DeriveEnds(y, shape.crop_height, level.height);
        for (int64_t x = 0; x < shape.crop_width; ++x) {
          const AxisSample& row = samples.rows[y];
          const AxisSample& column = samples.columns[x];
          if (!row.inside || !column.inside) continue;
          const EndDerivatives dx = DeriveEnds(x, shape.crop_width, level.width);
          const auto slope =
              SumSlopes(Cells<T>(image, level, row, column), level.channels, row.weight,
                        column.weight, gradient + (y * shape.crop_width + x) * shape.channels);
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

#define CEPHRAY_INSTANTIATE(T)                                                               \
  template bool RoiCrop<T>(const RoiCropShape&, const T* const*, const float*, T*,           \
                           const ParallelFor&);                                              \
  template bool RoiCropGradFeatures<T>(const RoiCropShape&, const float*, const T*,          \
                                       T* const*, const ParallelFor&);                       \
  template bool RoiCropGradBoxes<T>(const RoiCropShape&, const T* const*, const float*,      \
                                    const T*, float*, const ParallelFor&);

CEPHRAY_INSTANTIATE(float)
CEPHRAY_INSTANTIATE(double)
CEPHRAY_INSTANTIATE(Half)
CEPHRAY_INSTANTIATE(BFloat16)

#undef CEPHRAY_INSTANTIATE

}  // namespace cephray
