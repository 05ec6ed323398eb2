// See cuda_arrays.h. The results are arrays of the caller, because only the caller knows how its
// library allocates; nothing waits for the stream.

#include "python/cuda_arrays.h"

#include <pybind11/stl.h>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/roi_crop.h"
#include "kernels/shape.h"
#include "python/device_array.h"

namespace py = pybind11;

namespace cephray {
namespace {

#if defined(CEPHRAY_CUDA)

void Require(const std::string& error) {
  if (!error.empty()) throw py::value_error(error);
}

// The arrays of one call, all of one type and on one device.
class Arrays {
 public:
  explicit Arrays(uintptr_t stream) : stream_(stream) {}

  DeviceArray Take(const py::object& array, const std::string& name, bool is_written = false) {
    DeviceArray taken = ToDeviceArray(array, name, stream_, is_written);
    if (dtype_.empty()) dtype_ = taken.dtype;
    if (taken.dtype != dtype_) {
      throw py::type_error("`" + name + "` must have dtype " + dtype_ + " as the others; got " +
                           taken.dtype + ".");
    }
    CheckDevice(taken, name);
    return taken;
  }

  DeviceArray TakeBoxes(const py::object& array, const std::string& name,
                        bool is_written = false) {
    DeviceArray taken = ToDeviceArray(array, name, stream_, is_written);
    if (taken.dtype != "float32") {
      throw py::type_error("`" + name + "` must have dtype float32; got " + taken.dtype + ".");
    }
    CheckDevice(taken, name);
    return taken;
  }

  std::vector<DeviceArray> TakeAll(const std::vector<py::object>& arrays, const std::string& name,
                                   bool is_written = false) {
    std::vector<DeviceArray> taken;
    for (size_t l = 0; l < arrays.size(); ++l) {
      taken.push_back(Take(arrays[l], name + "[" + std::to_string(l) + "]", is_written));
    }
    return taken;
  }

  // Calls function(T{}) with the element type; what it returns is an error or empty.
  template <typename Function>
  void Run(const Function& function) const {
    std::optional<CudaDeviceScope> scope;
    if (device_ >= 0) scope.emplace(device_);
    std::string error = scope ? scope->error() : "";
    if (error.empty()) {
      if (dtype_ == "float32") {
        error = function(float{});
      } else if (dtype_ == "float64") {
        error = function(double{});
      } else if (dtype_ == "float16") {
        error = function(Half{});
      } else if (dtype_ == "bfloat16") {
        error = function(BFloat16{});
      } else {
        throw py::type_error("arrays must be float16, bfloat16, float32 or float64; got " +
                             dtype_ + ".");
      }
    }
    if (!error.empty()) throw std::runtime_error(error);
  }

  void* stream() const { return reinterpret_cast<void*>(stream_); }

 private:
  void CheckDevice(const DeviceArray& taken, const std::string& name) {
    if (taken.device < 0) return;
    if (device_ < 0) device_ = taken.device;
    if (taken.device != device_) {
      throw py::value_error("`" + name + "` must be on CUDA device " + std::to_string(device_) +
                            " as the others; got device " + std::to_string(taken.device) + ".");
    }
  }

  uintptr_t stream_;
  std::string dtype_;
  int device_ = -1;
};

std::vector<Dims> ToDims(const std::vector<DeviceArray>& arrays) {
  std::vector<Dims> dims;
  for (const DeviceArray& array : arrays) dims.push_back(array.sizes);
  return dims;
}

template <typename T>
std::vector<T*> Data(const std::vector<DeviceArray>& arrays) {
  std::vector<T*> data;
  for (const DeviceArray& array : arrays) data.push_back(static_cast<T*>(array.data));
  return data;
}

void Crop(const std::vector<py::object>& features, const py::object& boxes,
          const py::object& crops, uintptr_t stream) {
  Arrays arrays(stream);
  const auto sources = arrays.TakeAll(features, "features");
  const auto box = arrays.TakeBoxes(boxes, "boxes");
  const auto target = arrays.Take(crops, "crops", true);
  if (target.sizes.size() != 5) {
    throw py::value_error("`crops` must have shape [B, K, S_h, S_w, C]; got " +
                          Format(target.sizes) + ".");
  }
  RoiCropShape shape;
  Require(ResolveShape(ToDims(sources), box.sizes, target.sizes[2], target.sizes[3], &shape));
  if (target.sizes != CropsDims(shape)) {
    throw py::value_error("`crops` must have shape " + Format(CropsDims(shape)) + "; got " +
                          Format(target.sizes) + ".");
  }
  arrays.Run([&](auto element) {
    using T = decltype(element);
    return RoiCropCuda<T>(shape, Data<const T>(sources).data(),
                          static_cast<const float*>(box.data), static_cast<T*>(target.data),
                          arrays.stream());
  });
}

void GradFeatures(const py::object& boxes, const py::object& crops_gradient,
                  const std::vector<py::object>& features_gradient, uintptr_t stream) {
  Arrays arrays(stream);
  const auto box = arrays.TakeBoxes(boxes, "boxes");
  const auto source = arrays.Take(crops_gradient, "crops_gradient");
  const auto targets = arrays.TakeAll(features_gradient, "features_gradient", true);
  RoiCropShape shape;
  Require(ResolveGradientShape(ToDims(targets), box.sizes, source.sizes, &shape));
  arrays.Run([&](auto element) {
    using T = decltype(element);
    return RoiCropGradFeaturesCuda<T>(shape, static_cast<const float*>(box.data),
                                      static_cast<const T*>(source.data), Data<T>(targets).data(),
                                      arrays.stream());
  });
}

void GradBoxes(const std::vector<py::object>& features, const py::object& boxes,
               const py::object& crops_gradient, const py::object& boxes_gradient,
               uintptr_t stream) {
  Arrays arrays(stream);
  const auto sources = arrays.TakeAll(features, "features");
  const auto box = arrays.TakeBoxes(boxes, "boxes");
  const auto gradient = arrays.Take(crops_gradient, "crops_gradient");
  const auto target = arrays.TakeBoxes(boxes_gradient, "boxes_gradient", true);
  RoiCropShape shape;
  Require(ResolveGradientShape(ToDims(sources), box.sizes, gradient.sizes, &shape));
  if (target.sizes != box.sizes) {
    throw py::value_error("`boxes_gradient` must have the shape of `boxes`, " + Format(box.sizes) +
                          "; got " + Format(target.sizes) + ".");
  }
  arrays.Run([&](auto element) {
    using T = decltype(element);
    return RoiCropGradBoxesCuda<T>(
        shape, Data<const T>(sources).data(), static_cast<const float*>(box.data),
        static_cast<const T*>(gradient.data), static_cast<float*>(target.data), arrays.stream());
  });
}

#else

[[noreturn]] void NotBuilt() {
  throw std::runtime_error(
      "cephray was built without CUDA; rebuild it where nvcc is: pip install "
      "--no-build-isolation --force-reinstall --no-deps -C cmake.define.CEPHRAY_CUDA=on .");
}

void Crop(const std::vector<py::object>&, const py::object&, const py::object&, uintptr_t) {
  NotBuilt();
}

void GradFeatures(const py::object&, const py::object&, const std::vector<py::object>&,
                  uintptr_t) {
  NotBuilt();
}

void GradBoxes(const std::vector<py::object>&, const py::object&, const py::object&,
               const py::object&, uintptr_t) {
  NotBuilt();
}

#endif

}  // namespace

void AddCudaFunctions(py::module_& m) {
  m.def("roi_crop_cuda", &Crop, py::arg("features"), py::arg("boxes"), py::arg("crops"),
        py::arg("stream") = 0);
  m.def("roi_crop_grad_features_cuda", &GradFeatures, py::arg("boxes"), py::arg("crops_gradient"),
        py::arg("features_gradient"), py::arg("stream") = 0);
  m.def("roi_crop_grad_boxes_cuda", &GradBoxes, py::arg("features"), py::arg("boxes"),
        py::arg("crops_gradient"), py::arg("boxes_gradient"), py::arg("stream") = 0);
}

}  // namespace cephray
