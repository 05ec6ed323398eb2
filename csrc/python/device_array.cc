// See device_array.h.

#include "python/device_array.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

namespace py = pybind11;

namespace cephray {
namespace {

// DLPack's binary interface: https://dmlc.github.io/dlpack/latest/c_api.html
struct DlTensor {
  void* data;
  int32_t device_type;
  int32_t device_id;
  int32_t ndim;
  uint8_t type_code;
  uint8_t type_bits;
  uint16_t type_lanes;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};

// The functions that a library of arrays offers for its type, since DLPack 1.3. What this file
// does not call is not declared.
struct DlExchange {
  uint32_t major_version;
  uint32_t minor_version;
  const DlExchange* older;
  void* unused[3];
  int (*tensor_of)(void* object, DlTensor* tensor);
  int (*current_stream)(int32_t device_type, int32_t device_id, void** stream);
};

constexpr uint32_t kDlMajorVersion = 1;
constexpr int32_t kDlCuda = 2;
constexpr int32_t kDlCudaManaged = 13;
constexpr uint8_t kDlFloat = 2;
constexpr uint8_t kDlBFloat = 4;

[[noreturn]] void Refuse(const std::string& name, const std::string& rule) {
  throw py::value_error("`" + name + "` " + rule);
}

void RequireDense(const std::string& name, const std::vector<int64_t>& sizes,
                  const std::vector<int64_t>& strides, int64_t unit) {
  if (std::find(sizes.begin(), sizes.end(), 0) != sizes.end()) return;
  int64_t wanted = unit;
  for (size_t i = sizes.size(); i-- > 0;) {
    if (sizes[i] > 1 && strides[i] != wanted) {
      Refuse(name,
             "must be dense and row-major; make it so with `ascontiguousarray` or "
             "`.contiguous()`.");
    }
    wanted *= sizes[i];
  }
}

std::string DlTypeName(const DlTensor& tensor) {
  if (tensor.type_lanes == 1) {
    if (tensor.type_code == kDlBFloat && tensor.type_bits == 16) return "bfloat16";
    if (tensor.type_code == kDlFloat) return "float" + std::to_string(tensor.type_bits);
  }
  return "DLPack type " + std::to_string(tensor.type_code) + " of " +
         std::to_string(tensor.type_bits) + " bits";
}

void RequireCuda(const std::string& name, int32_t device_type) {
  if (device_type != kDlCuda && device_type != kDlCudaManaged) {
    Refuse(name, "must lie in a CUDA device's memory; DLPack says device type " +
                     std::to_string(device_type) + ".");
  }
}

DeviceArray FromTensor(const DlTensor& tensor, const std::string& name) {
  DeviceArray result;
  result.data = static_cast<char*>(tensor.data) + tensor.byte_offset;
  result.sizes.assign(tensor.shape, tensor.shape + tensor.ndim);
  result.dtype = DlTypeName(tensor);
  result.device = tensor.device_id;
  if (tensor.strides != nullptr) {
    RequireDense(name, result.sizes, {tensor.strides, tensor.strides + tensor.ndim}, 1);
  }
  return result;
}

// The functions of the array's type, or null if it has none of a version that is known here.
const DlExchange* ExchangeOf(const py::object& array) {
  const py::handle type = py::type::handle_of(array);
  const auto capsule = py::reinterpret_steal<py::object>(
      PyObject_GetAttrString(type.ptr(), "__dlpack_c_exchange_api__"));
  if (!capsule) {
    PyErr_Clear();
    return nullptr;
  }
  constexpr char kName[] = "dlpack_exchange_api";
  if (!PyCapsule_IsValid(capsule.ptr(), kName)) return nullptr;
  auto* exchange = static_cast<const DlExchange*>(PyCapsule_GetPointer(capsule.ptr(), kName));
  while (exchange != nullptr && exchange->major_version > kDlMajorVersion) {
    exchange = exchange->older;
  }
  const bool is_known = exchange != nullptr && exchange->major_version == kDlMajorVersion &&
                        exchange->tensor_of != nullptr && exchange->current_stream != nullptr;
  return is_known ? exchange : nullptr;
}

// Reads the array without a call of Python; nothing if its library cannot, or works on another
// stream, for which somebody would have to wait.
std::optional<DeviceArray> FromExchange(const py::object& array, const std::string& name,
                                        uintptr_t stream) {
  const DlExchange* exchange = ExchangeOf(array);
  if (exchange == nullptr) return std::nullopt;
  DlTensor tensor = {};
  if (exchange->tensor_of(array.ptr(), &tensor) != 0) throw py::error_already_set();
  RequireCuda(name, tensor.device_type);
  void* current = nullptr;
  if (exchange->current_stream(tensor.device_type, tensor.device_id, &current) != 0) {
    throw py::error_already_set();
  }
  if (reinterpret_cast<uintptr_t>(current) != stream) return std::nullopt;
  return FromTensor(tensor, name);
}

DeviceArray FromDlpack(const py::object& array, const std::string& name, uintptr_t stream) {
  const auto device = array.attr("__dlpack_device__")().cast<py::tuple>();
  RequireCuda(name, py::int_(device[0]).cast<int32_t>());
  // DLPack writes the default stream as 1.
  const py::object capsule =
      array.attr("__dlpack__")(py::arg("stream") = stream == 0 ? uintptr_t{1} : stream);
  // The capsule stays unconsumed: it gives the tensor back when it is dropped here.
  const auto* tensor =
      static_cast<const DlTensor*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
  if (tensor == nullptr) throw py::error_already_set();
  return FromTensor(*tensor, name);
}

DeviceArray FromInterface(const py::dict& interface, const std::string& name, uintptr_t stream,
                          bool is_written) {
  DeviceArray result;
  const auto data = interface["data"].cast<py::tuple>();
  result.data = reinterpret_cast<void*>(data[0].cast<uintptr_t>());
  if (is_written && data[1].cast<bool>()) Refuse(name, "must be writable.");
  result.sizes = interface["shape"].cast<std::vector<int64_t>>();
  const std::string type = interface["typestr"].cast<std::string>();
  result.dtype = type == "<f2"   ? "float16"
                 : type == "<f4" ? "float32"
                 : type == "<f8" ? "float64"
                                 : type;
  if (interface.contains("strides") && !interface["strides"].is_none()) {
    RequireDense(name, result.sizes, interface["strides"].cast<std::vector<int64_t>>(),
                 type.size() == 3 ? type[2] - '0' : 1);
  }
  // Without DLPack nobody makes our stream wait for the producer's, so they must be the same.
  if (interface.contains("stream") && !interface["stream"].is_none()) {
    const uintptr_t producer = interface["stream"].cast<uintptr_t>();
    const auto number = [](uintptr_t value) { return value == 0 ? uintptr_t{1} : value; };
    if (number(producer) != number(stream)) {
      Refuse(name, "is being written on CUDA stream " + std::to_string(producer) +
                       "; give that stream, or wait for it and hide it.");
    }
  }
  return result;
}

}  // namespace

DeviceArray ToDeviceArray(const py::object& array, const std::string& name, uintptr_t stream,
                          bool is_written) {
  if (auto taken = FromExchange(array, name, stream)) return *std::move(taken);
  if (py::hasattr(array, "__dlpack__") && py::hasattr(array, "__dlpack_device__")) {
    return FromDlpack(array, name, stream);
  }
  if (py::hasattr(array, "__cuda_array_interface__")) {
    return FromInterface(array.attr("__cuda_array_interface__").cast<py::dict>(), name, stream,
                         is_written);
  }
  throw py::type_error("`" + name + "` must be an array with DLPack or " +
                       "__cuda_array_interface__; got " +
                       std::string(py::str(py::type::of(array).attr("__name__"))) + ".");
}

}  // namespace cephray
