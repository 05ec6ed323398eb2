// See roi_crop.h. The feature gradient goes over bands of rows of the gradient maps and gathers:
// each value of a map is written once, by the turn that owns its band.

#include <algorithm>
#include <vector>

#include "cpu/channel_loops.h"
#include "cpu/parallel.h"
#include "cpu/roi_crop.h"
#include "kernels/roi_crop.h"

namespace cephray {
namespace {

// What a thread does in a cycle, roughly: a thread pool cuts its work by cost.
constexpr int64_t kBytesPerCycle = 8;
constexpr int64_t kValuesPerCycle = 4;

// A gradient map is written by bands of whole rows, each about this large: bands of all levels
// cost about the same, and one is long enough to pay for looking up which boxes touch it.
constexpr int64_t kBandBytes = int64_t{256} << 10;

// The bands of one level, numbered from `begin` to `end` within an image.
struct LevelBands {
  int64_t rows;  // in a band; the last may have fewer
  int64_t begin;
  int64_t end;
};

std::vector<LevelBands> SplitIntoBands(const RoiCropShape& shape, int64_t value_bytes) {
  std::vector<LevelBands> bands;
  int64_t next = 0;
  for (const Level& level : shape.levels) {
    const int64_t row_bytes = std::max<int64_t>(1, level.width * level.channels * value_bytes);
    const int64_t rows = std::clamp<int64_t>(kBandBytes / row_bytes, 1, level.height);
    const int64_t count = (level.height + rows - 1) / rows;
    bands.push_back({rows, next, next + count});
    next += count;
  }
  return bands;
}

// What the samples add to the cells of one row of a gradient map, listed by cell in the order of
// `Add`. Each value of the row is then written once.
template <typename T>
class RowContributions {
 public:
  // At most `capacity` contributions.
  RowContributions(const Level& level, int64_t capacity)
      : channels_(level.channels), parts_(capacity), lists_(level.width) {}

  void Add(int64_t cell, Accumulator<T> scale, const T* source) {
    Contribution<T>* part = &parts_[count_++];
    *part = {source, nullptr, scale};
    List& list = lists_[cell];
    if (list.first == nullptr) {
      list.first = part;
    } else {
      list.last->next = part;
    }
    list.last = part;
  }

  // Writes the row and forgets what was added.
  void WriteTo(const ChannelLoops<T>& loops, T* row) {
    int64_t next = 0;  // first cell that is not written yet
    const auto clear_until = [&](int64_t cell) {
      loops.clear(row + next * channels_, (cell - next) * channels_);
    };
    const int64_t cells = static_cast<int64_t>(lists_.size());
    for (int64_t cell = 0; count_ > 0 && cell < cells; ++cell) {
      if (lists_[cell].first == nullptr) continue;
      clear_until(cell);
      loops.sum_scaled(lists_[cell].first, channels_, row + cell * channels_);
      lists_[cell] = {};
      next = cell + 1;
    }
    clear_until(cells);
    count_ = 0;
  }

 private:
  struct List {
    Contribution<T>* first = nullptr;
    Contribution<T>* last = nullptr;
  };

  int64_t channels_;
  std::vector<Contribution<T>> parts_;
  std::vector<List> lists_;
  int64_t count_ = 0;
};

// The samples of the boxes of one image at one level, as far as they touch a band of rows.
class BandSamples {
 public:
  struct Box {
    int64_t index;
    const AxisSample* rows;
    const AxisSample* columns;
  };

  BandSamples(const RoiCropShape& shape, const float* boxes, int64_t image, int64_t l,
              int64_t first_row, int64_t last_row)
      : samples_(shape.boxes * (shape.crop_height + shape.crop_width)) {
    std::vector<int64_t> samples_in_row(last_row - first_row);
    const int64_t levels = static_cast<int64_t>(shape.levels.size());
    const Level& level = shape.levels[l];
    AxisSample* next = samples_.data();
    for (int64_t k = 0; k < shape.boxes; ++k) {
      const float* box = boxes + ((image * shape.boxes + k) * levels + l) * 4;
      if (!IsFinite(box)) continue;
      AxisSample* rows = next;
      AxisSample* columns = rows + shape.crop_height;
      LocateAll(SampleAxis(box[0], box[2], shape.crop_height, level.height), shape.crop_height,
                rows);
      bool touches = false;
      for (const AxisSample* sample = rows; sample != columns; ++sample) {
        if (!sample->inside) continue;
        for (int64_t row = sample->low; row <= sample->high; ++row) {
          if (row < first_row || row >= last_row) continue;
          samples_in_row[row - first_row] += shape.crop_width;
          touches = true;
        }
      }
      if (!touches) continue;
      LocateAll(SampleAxis(box[1], box[3], shape.crop_width, level.width), shape.crop_width,
                columns);
      next = columns + shape.crop_width;
      boxes_.push_back({k, rows, columns});
    }
    most_in_row_ = *std::max_element(samples_in_row.begin(), samples_in_row.end());
  }

  const std::vector<Box>& boxes() const { return boxes_; }

  // No row is touched by more samples.
  int64_t most_in_row() const { return most_in_row_; }

 private:
  std::vector<AxisSample> samples_;
  int64_t most_in_row_ = 0;
  std::vector<Box> boxes_;
};

// Writes rows [first_row, last_row) of the gradient of one image at level l.
template <typename T>
void FillRows(const RoiCropShape& shape, const float* boxes, const T* crops_gradient,
              int64_t image, int64_t l, int64_t first_row, int64_t last_row,
              const ChannelLoops<T>& loops, T* features_gradient) {
  using A = Accumulator<T>;
  const Level& level = shape.levels[l];
  const BandSamples samples(shape, boxes, image, l, first_row, last_row);
  RowContributions<T> row_sums(level, samples.most_in_row() * 2);
  for (int64_t row = first_row; row < last_row; ++row) {
    for (const BandSamples::Box& box : samples.boxes()) {
      for (int64_t y = 0; y < shape.crop_height; ++y) {
        const AxisSample& sample = box.rows[y];
        if (!sample.inside || (row != sample.low && row != sample.high)) continue;
        const A row_weight = WeightOfCell<A>(sample, row);
        const int64_t first_sample =
            ((image * shape.boxes + box.index) * shape.crop_height + y) * shape.crop_width;
        const T* source = crops_gradient + first_sample * shape.channels + level.first_channel;
        for (int64_t x = 0; x < shape.crop_width; ++x, source += shape.channels) {
          const AxisSample& column = box.columns[x];
          if (!column.inside) continue;
          row_sums.Add(column.low, row_weight * WeightOfCell<A>(column, column.low), source);
          if (column.high == column.low) continue;
          row_sums.Add(column.high, row_weight * WeightOfCell<A>(column, column.high), source);
        }
      }
    }
    row_sums.WriteTo(
        loops, features_gradient + (image * level.height + row) * level.width * level.channels);
  }
}

template <typename T>
const ChannelLoops<T>& LoopsToWriteGradient(const RoiCropShape& shape,
                                            T* const* features_gradient) {
  int64_t values = 0;
  bool is_aligned = true;
  for (size_t l = 0; l < shape.levels.size(); ++l) {
    const Level& level = shape.levels[l];
    values += shape.batch * level.height * level.width * level.channels;
    is_aligned = is_aligned && level.channels * sizeof(T) % kStreamAlignment == 0 &&
                 reinterpret_cast<uintptr_t>(features_gradient[l]) % kStreamAlignment == 0;
  }
  return ChannelLoopsToWrite<T>(values * static_cast<int64_t>(sizeof(T)), is_aligned);
}

}  // namespace

template <typename T>
bool RoiCropGradFeatures(const RoiCropShape& shape, const float* boxes, const T* crops_gradient,
                         T* const* features_gradient, const ParallelFor& parallel_for) {
  if (shape.batch == 0 || shape.channels == 0) return true;
  const std::vector<LevelBands> bands = SplitIntoBands(shape, sizeof(T));
  const int64_t bands_per_image = bands.back().end;
  const int64_t sums_per_band =
      shape.boxes * shape.crop_height * shape.crop_width * shape.channels * 4 / bands_per_image;
  const int64_t cost = kBandBytes / kBytesPerCycle + sums_per_band / kValuesPerCycle;
  const ChannelLoops<T>& loops = LoopsToWriteGradient(shape, features_gradient);
  return Run(parallel_for, shape.batch * bands_per_image, cost, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t image = begin / bands_per_image;
      const int64_t band = begin % bands_per_image;
      int64_t l = 0;
      while (band >= bands[l].end) ++l;
      const int64_t count = std::min(end - begin, bands[l].end - band);
      const int64_t rows = bands[l].rows;
      const int64_t first_row = (band - bands[l].begin) * rows;
      const int64_t last_row = std::min(first_row + count * rows, shape.levels[l].height);
      if (shape.levels[l].channels > 0) {
        FillRows(shape, boxes, crops_gradient, image, l, first_row, last_row, loops,
                 features_gradient[l]);
      }
      begin += count;
    }
    loops.finish();
  });
}

#define CEPHRAY_INSTANTIATE(T)                                                                 \
  template bool RoiCropGradFeatures<T>(const RoiCropShape&, const float*, const T*, T* const*, \
                                       const ParallelFor&);

CEPHRAY_FOR_EACH_TYPE(CEPHRAY_INSTANTIATE)

#undef CEPHRAY_INSTANTIATE

}  // namespace cephray
