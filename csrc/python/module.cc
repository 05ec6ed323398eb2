// cephray._core: the CPU kernels on NumPy arrays, what this build contains, and by cuda_arrays.cc
// the CUDA kernels.
// For whoever tests or times the kernels on their own; knows no TensorFlow.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "cpu/channel_loops.h"
#include "cpu/roi_crop.h"
#include "kernels/shape.h"
#include "python/cuda_arrays.h"

namespace py = pybind11;

namespace cephray {
namespace {

using Boxes = py::array_t<float, py::array::c_style | py::array::forcecast>;
using CropSize = std::pair<int64_t, int64_t>;

Dims ToDims(const py::array& array) {
  return std::vector<int64_t>(array.shape(), array.shape() + array.ndim());
}

std::vector<Dims> ToDims(const std::vector<py::array>& arrays) {
  std::vector<Dims> dims;
  for (const py::array& array : arrays) dims.push_back(ToDims(array));
  return dims;
}

void Require(const std::string& error) {
  if (!error.empty()) throw py::value_error(error);
}

// Splits the range evenly over `threads` threads, the caller among them.
ParallelFor OnThreads(int64_t threads) {
  if (threads < 1) {
    throw py::value_error("`threads` must be at least 1; got " + std::to_string(threads) + ".");
  }
  return [threads](int64_t total, int64_t, const RangeBody& body) {
    const int64_t parts = std::min(threads, total);
    const auto run = [&](int64_t part) {
      body(total / parts * part + std::min(part, total % parts),
           total / parts * (part + 1) + std::min(part + 1, total % parts));
    };
    std::vector<std::thread> pool;
    for (int64_t part = 1; part < parts; ++part) {
      try {
        pool.emplace_back(run, part);
      } catch (const std::system_error&) {  // the machine gives no more threads
        run(part);
      }
    }
    run(0);
    for (std::thread& thread : pool) thread.join();
  };
}

void RequireMemory(bool had_memory) {
  if (!had_memory) throw std::bad_alloc();
}

// Calls function(T{}) with the element type of the arrays.
template <typename Function>
void ForElementOf(const py::dtype& dtype, const Function& function) {
  const std::string name = py::str(dtype.attr("name"));
  if (dtype.equal(py::dtype::of<float>())) return function(float{});
  if (dtype.equal(py::dtype::of<double>())) return function(double{});
  if (dtype.equal(py::dtype("float16"))) return function(Half{});
  if (name == "bfloat16") return function(BFloat16{});
  throw py::type_error("arrays must be float16, bfloat16, float32 or float64; got " + name + ".");
}

std::vector<py::array> Dense(const std::vector<py::array>& arrays, const py::dtype& dtype,
                             const std::string& name) {
  std::vector<py::array> dense;
  for (const py::array& array : arrays) {
    if (!array.dtype().equal(dtype)) {
      throw py::type_error("`" + name + "` must have dtype " + std::string(py::str(dtype)) +
                           " as the first of `features`; got " +
                           std::string(py::str(array.dtype())) + ".");
    }
    dense.push_back(py::array::ensure(array, py::array::c_style));
  }
  return dense;
}

template <typename T>
std::vector<const T*> Read(const std::vector<py::array>& arrays) {
  std::vector<const T*> data;
  for (const py::array& array : arrays) data.push_back(static_cast<const T*>(array.data()));
  return data;
}

py::array Crop(const std::vector<py::array>& features, const Boxes& boxes, CropSize crop_size,
               int64_t threads) {
  RoiCropShape shape;
  Require(
      ResolveShape(ToDims(features), ToDims(boxes), crop_size.first, crop_size.second, &shape));
  const py::dtype dtype = features[0].dtype();
  const std::vector<py::array> dense = Dense(features, dtype, "features");
  const ParallelFor parallel_for = OnThreads(threads);
  py::array crops(dtype, CropsDims(shape));
  ForElementOf(dtype, [&](auto element) {
    using T = decltype(element);
    T* target = static_cast<T*>(crops.mutable_data());
    const std::vector<const T*> sources = Read<T>(dense);
    const float* box = boxes.data();
    py::gil_scoped_release release;
    RequireMemory(RoiCrop(shape, sources.data(), box, target, parallel_for));
  });
  return crops;
}

std::vector<py::array> GradFeatures(const std::vector<std::vector<int64_t>>& feature_shapes,
                                    const Boxes& boxes, const py::array& crops_gradient,
                                    int64_t threads) {
  RoiCropShape shape;
  for (const std::vector<int64_t>& sizes : feature_shapes) {
    if (std::any_of(sizes.begin(), sizes.end(), [](int64_t size) { return size < 0; })) {
      throw py::value_error("`feature_shapes` must not be negative; got " + Format(sizes) + ".");
    }
  }
  Require(ResolveGradientShape({feature_shapes.begin(), feature_shapes.end()}, ToDims(boxes),
                               ToDims(crops_gradient), &shape));
  const py::dtype dtype = crops_gradient.dtype();
  const std::vector<py::array> dense = Dense({crops_gradient}, dtype, "crops_gradient");
  const ParallelFor parallel_for = OnThreads(threads);
  std::vector<py::array> gradients;
  for (const std::vector<int64_t>& sizes : feature_shapes) gradients.emplace_back(dtype, sizes);
  ForElementOf(dtype, [&](auto element) {
    using T = decltype(element);
    std::vector<T*> targets;
    for (py::array& array : gradients) targets.push_back(static_cast<T*>(array.mutable_data()));
    const T* source = static_cast<const T*>(dense[0].data());
    const float* box = boxes.data();
    py::gil_scoped_release release;
    RequireMemory(RoiCropGradFeatures(shape, box, source, targets.data(), parallel_for));
  });
  return gradients;
}

py::array GradBoxes(const std::vector<py::array>& features, const Boxes& boxes,
                    const py::array& crops_gradient, int64_t threads) {
  RoiCropShape shape;
  Require(ResolveGradientShape(ToDims(features), ToDims(boxes), ToDims(crops_gradient), &shape));
  const py::dtype dtype = features[0].dtype();
  const std::vector<py::array> dense = Dense(features, dtype, "features");
  const std::vector<py::array> gradient = Dense({crops_gradient}, dtype, "crops_gradient");
  const ParallelFor parallel_for = OnThreads(threads);
  py::array_t<float> boxes_gradient(*ToDims(boxes));
  ForElementOf(dtype, [&](auto element) {
    using T = decltype(element);
    float* target = boxes_gradient.mutable_data();
    const std::vector<const T*> sources = Read<T>(dense);
    const T* source = static_cast<const T*>(gradient[0].data());
    const float* box = boxes.data();
    py::gil_scoped_release release;
    RequireMemory(RoiCropGradBoxes(shape, sources.data(), box, source, target, parallel_for));
  });
  return std::move(boxes_gradient);
}

// Empty text in a macro of the build means "not built".
py::object TextOrNone(const std::string& text) {
  return text.empty() ? py::object(py::none()) : py::object(py::str(text));
}

const char* InstructionsInUse() {
  switch (InstructionSetInUse()) {
    case InstructionSet::kAvx512:
      return "avx512";
    case InstructionSet::kAvx2:
      return "avx2";
    case InstructionSet::kPortable:
      break;
  }
  return "portable";
}

py::dict BuildInfo() {
  py::dict info;
  info["version"] = CEPHRAY_VERSION;
  info["compiler"] = CEPHRAY_COMPILER;
  info["cpu_instructions"] = InstructionsInUse();
  info["tensorflow"] = TextOrNone(CEPHRAY_TENSORFLOW_VERSION);
  info["op_library"] = TextOrNone(CEPHRAY_OP_LIBRARY);
  py::list architectures;
  std::istringstream names(CEPHRAY_CUDA_ARCHITECTURES);
  for (std::string name; std::getline(names, name, ',');) architectures.append(name);
  info["cuda_architectures"] = architectures;
  return info;
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() = "The ROI crop's CPU kernels on NumPy arrays and CUDA kernels on a GPU's arrays.";
  m.def("build_info", &BuildInfo);
  m.def("roi_crop", &Crop, py::arg("features"), py::arg("boxes"), py::arg("crop_size"),
        py::arg("threads") = 1);
  m.def("roi_crop_grad_features", &GradFeatures, py::arg("feature_shapes"), py::arg("boxes"),
        py::arg("crops_gradient"), py::arg("threads") = 1);
  m.def("roi_crop_grad_boxes", &GradBoxes, py::arg("features"), py::arg("boxes"),
        py::arg("crops_gradient"), py::arg("threads") = 1);
  AddCudaFunctions(m);
}

}  // namespace cephray
