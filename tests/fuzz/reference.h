// The crop and its gradients once more, as slowly and plainly as they can be written: four nested
// loops in double precision over a hat function of every cell near a sample. Shares nothing with
// csrc/ but the shapes; positions are rounded to float as crop_and_resize rounds them.

#ifndef CEPHRAY_TESTS_FUZZ_REFERENCE_H_
#define CEPHRAY_TESTS_FUZZ_REFERENCE_H_

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/shape.h"

namespace cephray::reference {

using Values = std::vector<double>;

inline float Position(float start, float end, int64_t i, int64_t samples, int64_t size,
                      bool of_box_gradient) {
  const float last = static_cast<float>(size - 1);
  if (samples == 1) return 0.5f * (start + end) * last;
  const float count = static_cast<float>(samples - 1);
  const float step =
      of_box_gradient ? (end - start) * (last / count) : (end - start) * last / count;
  return start * last + static_cast<float>(i) * step;
}

// Calls visit(b, k, l, y, x, at_y, at_x) for each sample that lies inside its level.
template <typename Visit>
void ForEachSample(const RoiCropShape& shape, const std::vector<float>& boxes,
                   bool of_box_gradient, const Visit& visit) {
  const int64_t levels = static_cast<int64_t>(shape.levels.size());
  for (int64_t b = 0; b < shape.batch; ++b) {
    for (int64_t k = 0; k < shape.boxes; ++k) {
      for (int64_t l = 0; l < levels; ++l) {
        const float* box = &boxes[((b * shape.boxes + k) * levels + l) * 4];
        if (!std::isfinite(box[0]) || !std::isfinite(box[1]) || !std::isfinite(box[2]) ||
            !std::isfinite(box[3])) {
          continue;
        }
        const Level& level = shape.levels[l];
        for (int64_t y = 0; y < shape.crop_height; ++y) {
          const float at_y =
              Position(box[0], box[2], y, shape.crop_height, level.height, of_box_gradient);
          if (!(at_y >= 0 && at_y <= static_cast<float>(level.height - 1))) continue;
          for (int64_t x = 0; x < shape.crop_width; ++x) {
            const float at_x =
                Position(box[1], box[3], x, shape.crop_width, level.width, of_box_gradient);
            if (!(at_x >= 0 && at_x <= static_cast<float>(level.width - 1))) continue;
            visit(b, k, l, y, x, at_y, at_x);
          }
        }
      }
    }
  }
}

inline double Hat(double at, int64_t cell) {
  return std::fmax(0.0, 1.0 - std::fabs(at - static_cast<double>(cell)));
}

// Towards the cell above it rises, towards the one below it falls; 0 on the centre of a cell.
inline double HatSlope(double at, int64_t cell) {
  if (at == std::floor(at)) return 0.0;
  return static_cast<double>(cell) > at ? 1.0 : -1.0;
}

inline bool IsBeside(double at, int64_t cell) {
  const double centre = static_cast<double>(cell);
  return centre == std::floor(at) || centre == std::ceil(at);
}

// Calls visit(cell_y, cell_x) for the cells around a sample.
template <typename Visit>
void ForEachCell(const Level& level, double at_y, double at_x, const Visit& visit) {
  for (int64_t i = 0; i < level.height; ++i) {
    if (!IsBeside(at_y, i)) continue;
    for (int64_t j = 0; j < level.width; ++j) {
      if (IsBeside(at_x, j)) visit(i, j);
    }
  }
}

inline int64_t CellIndex(const Level& level, int64_t b, int64_t i, int64_t j) {
  return ((b * level.height + i) * level.width + j) * level.channels;
}

inline int64_t SampleIndex(const RoiCropShape& shape, int64_t b, int64_t k, int64_t l, int64_t y,
                           int64_t x) {
  return (((b * shape.boxes + k) * shape.crop_height + y) * shape.crop_width + x) *
             shape.channels +
         shape.levels[l].first_channel;
}

inline Values Crop(const RoiCropShape& shape, const std::vector<Values>& features,
                   const std::vector<float>& boxes) {
  Values crops(shape.batch * shape.boxes * shape.crop_height * shape.crop_width * shape.channels);
  ForEachSample(shape, boxes, false,
                [&](auto b, auto k, auto l, auto y, auto x, auto at_y, auto at_x) {
                  const Level& level = shape.levels[l];
                  ForEachCell(level, at_y, at_x, [&](int64_t i, int64_t j) {
                    const double weight = Hat(at_y, i) * Hat(at_x, j);
                    for (int64_t c = 0; c < level.channels; ++c) {
                      crops[SampleIndex(shape, b, k, l, y, x) + c] +=
                          weight * features[l][CellIndex(level, b, i, j) + c];
                    }
                  });
                });
  return crops;
}

inline std::vector<Values> GradFeatures(const RoiCropShape& shape, const std::vector<float>& boxes,
                                        const Values& crops_gradient) {
  std::vector<Values> gradients;
  for (const Level& level : shape.levels) {
    gradients.emplace_back(shape.batch * level.height * level.width * level.channels);
  }
  ForEachSample(shape, boxes, false,
                [&](auto b, auto k, auto l, auto y, auto x, auto at_y, auto at_x) {
                  const Level& level = shape.levels[l];
                  ForEachCell(level, at_y, at_x, [&](int64_t i, int64_t j) {
                    const double weight = Hat(at_y, i) * Hat(at_x, j);
                    for (int64_t c = 0; c < level.channels; ++c) {
                      gradients[l][CellIndex(level, b, i, j) + c] +=
                          weight * crops_gradient[SampleIndex(shape, b, k, l, y, x) + c];
                    }
                  });
                });
  return gradients;
}

inline Values GradBoxes(const RoiCropShape& shape, const std::vector<Values>& features,
                        const std::vector<float>& boxes, const Values& crops_gradient) {
  const int64_t levels = static_cast<int64_t>(shape.levels.size());
  Values gradient(shape.batch * shape.boxes * levels * 4);
  const auto towards_end = [](int64_t i, int64_t samples) {
    return samples == 1 ? 0.5 : static_cast<double>(i) / static_cast<double>(samples - 1);
  };
  ForEachSample(shape, boxes, true,
                [&](auto b, auto k, auto l, auto y, auto x, auto at_y, auto at_x) {
                  const Level& level = shape.levels[l];
                  double slope_y = 0;
                  double slope_x = 0;
                  ForEachCell(level, at_y, at_x, [&](int64_t i, int64_t j) {
                    for (int64_t c = 0; c < level.channels; ++c) {
                      const double product = features[l][CellIndex(level, b, i, j) + c] *
                                             crops_gradient[SampleIndex(shape, b, k, l, y, x) + c];
                      slope_y += HatSlope(at_y, i) * Hat(at_x, j) * product;
                      slope_x += Hat(at_y, i) * HatSlope(at_x, j) * product;
                    }
                  });
                  slope_y *= static_cast<double>(level.height - 1);
                  slope_x *= static_cast<double>(level.width - 1);
                  double* of_box = &gradient[((b * shape.boxes + k) * levels + l) * 4];
                  const double end_y = towards_end(y, shape.crop_height);
                  const double end_x = towards_end(x, shape.crop_width);
                  of_box[0] += slope_y * (1 - end_y);
                  of_box[1] += slope_x * (1 - end_x);
                  of_box[2] += slope_y * end_y;
                  of_box[3] += slope_x * end_x;
                });
  return gradient;
}

}  // namespace cephray::reference

#endif  // CEPHRAY_TESTS_FUZZ_REFERENCE_H_
