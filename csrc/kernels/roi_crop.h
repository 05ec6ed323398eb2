// The mathematics of one sample of a crop: where it lies, its value, and the adjoints.
// Follows `tf.image.crop_and_resize` (bilinear, extrapolation value 0) to the order of rounding,
// because a box that ends at 1 puts its last sample within one rounding of the border: compile
// without contraction into fused multiply-adds. For host and device; knows no framework, no tensor
// and no loop over boxes.

#ifndef CEPHRAY_KERNELS_ROI_CROP_H_
#define CEPHRAY_KERNELS_ROI_CROP_H_

#include <cstdint>

#include "kernels/host_device.h"

namespace cephray {

// The samples along one axis of a box lie at origin + i * step, in cells of the feature map.
struct Axis {
  float origin;
  float step;
  float last;    // the coordinate of the last cell
  int64_t size;  // cells
};

// A sample takes (1 - weight) of cell `low` and `weight` of cell `high`. They are the same cell
// where the sample lies on a cell's centre: a neighbour of weight 0 could be infinite.
template <typename Index>
struct AxisSampleOf {
  Index low;
  Index high;
  float weight;
  bool inside;
};
using AxisSample = AxisSampleOf<int64_t>;

// How a sample's coordinate changes with the two ends of the box.
struct EndDerivatives {
  float start;
  float end;
};

// A box is [y1, x1, y2, x2]; the whole box is refused if any coordinate is not finite.
CEPHRAY_HOST_DEVICE inline bool IsFinite(const float* box) {
  // inf * 0 and NaN * 0 are NaN, every other product is 0.
  const float zero = box[0] * 0.0f + box[1] * 0.0f + box[2] * 0.0f + box[3] * 0.0f;
  return zero == 0.0f;
}

CEPHRAY_HOST_DEVICE inline Axis SampleAxis(float start, float end, int64_t samples, int64_t size) {
  const float last = static_cast<float>(size - 1);
  if (samples == 1) return {0.5f * (start + end) * last, 0.0f, last, size};
  return {start * last, (end - start) * last / static_cast<float>(samples - 1), last, size};
}

// The same axis as TensorFlow's box gradient computes it: the step is rounded in another order.
CEPHRAY_HOST_DEVICE inline Axis BoxGradientAxis(float start, float end, int64_t samples,
                                                int64_t size) {
  Axis axis = SampleAxis(start, end, samples, size);
  if (samples > 1) {
    axis.step = (end - start) * (static_cast<float>(size - 1) / static_cast<float>(samples - 1));
  }
  return axis;
}

// Index is int64_t; a GPU, where 64-bit conversions are slow, takes int32_t for axes that fit.
template <typename Index>
CEPHRAY_HOST_DEVICE inline AxisSampleOf<Index> Locate(const Axis& axis, Index index) {
  const float coordinate = axis.origin + static_cast<float>(index) * axis.step;
  // Written as "not inside", so that NaN is outside and nothing huge is converted to an integer.
  if (!(coordinate >= 0.0f && coordinate <= axis.last)) return {0, 0, 0.0f, false};
  const Index last = static_cast<Index>(axis.size - 1);
  Index low = static_cast<Index>(coordinate);  // the floor, as it is not negative
  const float weight = coordinate - static_cast<float>(low);
  Index high = low + (weight > 0.0f ? 1 : 0);
  // Above 2^24 cells the last index has no exact float and may round up past the end.
  if (low > last) low = last;
  if (high > last) high = last;
  return {low, high, weight, true};
}

inline void LocateAll(const Axis& axis, int64_t count, AxisSample* samples) {
  for (int64_t i = 0; i < count; ++i) samples[i] = Locate(axis, i);
}

CEPHRAY_HOST_DEVICE inline EndDerivatives DeriveEnds(int64_t index, int64_t samples,
                                                     int64_t size) {
  const float last = static_cast<float>(size - 1);
  if (samples == 1) return {0.5f * last, 0.5f * last};
  const float end = static_cast<float>(index) * (last / static_cast<float>(samples - 1));
  return {last - end, end};
}

// The value between four cells.
template <typename A>
CEPHRAY_HOST_DEVICE inline A Blend(A top_left, A top_right, A bottom_left, A bottom_right,
                                   A weight_y, A weight_x) {
  const A top = top_left + (top_right - top_left) * weight_x;
  const A bottom = bottom_left + (bottom_right - bottom_left) * weight_x;
  return top + (bottom - top) * weight_y;
}

// The slopes of that value along y and along x.
template <typename A>
CEPHRAY_HOST_DEVICE inline A SlopeY(A top_left, A top_right, A bottom_left, A bottom_right,
                                    A weight_x) {
  return (A{1} - weight_x) * (bottom_left - top_left) + weight_x * (bottom_right - top_right);
}

template <typename A>
CEPHRAY_HOST_DEVICE inline A SlopeX(A top_left, A top_right, A bottom_left, A bottom_right,
                                    A weight_y) {
  return (A{1} - weight_y) * (top_right - top_left) + weight_y * (bottom_right - bottom_left);
}

// The part of a sample's gradient that cell `cell` of its axis receives: the adjoint of blending.
template <typename A, typename Index>
CEPHRAY_HOST_DEVICE inline A WeightOfCell(const AxisSampleOf<Index>& sample, Index cell) {
  if (!sample.inside) return A{0};
  if (cell == sample.low) return A{1} - sample.weight;
  return cell == sample.high ? sample.weight : A{0};
}

// The same for a sample that is known to touch the cell, without a conversion to an integer. Cells
// and samples along the axis are at most 2^24, which float holds exactly.
template <typename A>
CEPHRAY_HOST_DEVICE inline A WeightOfTouchedCell(const Axis& axis, int32_t index, int32_t cell) {
  const float coordinate = axis.origin + static_cast<float>(index) * axis.step;
  const float centre = static_cast<float>(cell);
  if (coordinate >= centre) return A{1} - (coordinate - centre);
  return coordinate - (centre - 1.0f);
}

}  // namespace cephray

#endif  // CEPHRAY_KERNELS_ROI_CROP_H_
