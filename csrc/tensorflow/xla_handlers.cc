// The functions that XLA's custom calls run: the crop and its two gradients, over XLA's buffers,
// on XLA's threads or on its stream on a GPU. xla.cc emits the calls. Computes nothing itself, and
// needs no CUDA header.

#include "tensorflow/xla_handlers.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/shape.h"
#include "tensorflow/devices.h"
#include "tensorflow/threads.h"
#include "xla/ffi/api/c_api.h"
#include "xla/ffi/api/ffi.h"

namespace cephray {
namespace {

namespace ffi = ::xla::ffi;

ffi::Error Invalid(std::string message) {
  return ffi::Error(ffi::ErrorCode::kInvalidArgument, std::move(message));
}

// A tensor in XLA's memory.
struct Buffer {
  void* data;
  Dims dims;
  ffi::DataType type;
};

Buffer ToBuffer(const ffi::AnyBuffer& buffer) {
  const auto sizes = buffer.dimensions();
  return {buffer.untyped_data(), std::vector<int64_t>(sizes.begin(), sizes.end()),
          buffer.element_type()};
}

using Buffers = std::vector<Buffer>;

Buffers ToBuffers(const ffi::RemainingArgs& args) {
  Buffers buffers;
  for (size_t i = 0; i < args.size(); ++i) {
    buffers.push_back(ToBuffer(args.get<ffi::AnyBuffer>(i).value()));
  }
  return buffers;
}

Buffers ToBuffers(const ffi::RemainingRets& rets) {
  Buffers buffers;
  for (size_t i = 0; i < rets.size(); ++i) {
    buffers.push_back(ToBuffer(*rets.get<ffi::AnyBuffer>(i).value()));
  }
  return buffers;
}

std::vector<Dims> DimsOf(const Buffers& buffers, size_t count) {
  std::vector<Dims> dims;
  for (size_t i = 0; i < count; ++i) dims.push_back(buffers[i].dims);
  return dims;
}

template <typename T>
T* Data(const Buffer& buffer) {
  return static_cast<T*>(buffer.data);
}

template <typename T>
std::vector<T*> AllData(const Buffers& buffers, size_t count) {
  std::vector<T*> data;
  for (size_t i = 0; i < count; ++i) data.push_back(Data<T>(buffers[i]));
  return data;
}

ffi::Error ToError(const Outcome& outcome) {
  switch (outcome.kind) {
    case Outcome::kDone:
      return ffi::Error::Success();
    case Outcome::kNoMemory:
      return ffi::Error(ffi::ErrorCode::kResourceExhausted, outcome.message);
    case Outcome::kFailed:
      break;
  }
  return ffi::Error(ffi::ErrorCode::kInternal, outcome.message);
}

// The device that a call runs on.
OnCpu DeviceOf(ffi::ThreadPool threads) {
  return OnCpu(OnThreads(
      std::max<int64_t>(threads.num_threads(), 1),
      [threads](std::function<void()> work) mutable { threads.Schedule(std::move(work)); }));
}

#if defined(CEPHRAY_CUDA)
// XLA has made the device of the stream the thread's current one.
OnGpu DeviceOf(void* stream) { return OnGpu(stream); }
#endif

// Calls use(T{}) with the element type of a tensor.
template <typename Use>
ffi::Error WithType(ffi::DataType type, const Use& use) {
  switch (type) {
    case ffi::DataType::F16:
      return use(Half{});
    case ffi::DataType::BF16:
      return use(BFloat16{});
    case ffi::DataType::F32:
      return use(float{});
    case ffi::DataType::F64:
      return use(double{});
    default:
      return Invalid("features must be float16, bfloat16, float32 or float64.");
  }
}

// features (L), boxes -> crops
template <typename Device>
ffi::Error CropHandler(const Device& device, const Buffers& args, const Buffers& rets) {
  const size_t levels = args.size() - 1;
  const Buffer& boxes = args[levels];
  const Buffer& crops = rets[0];
  RoiCropShape shape;
  const std::string error =
      ResolveShape(DimsOf(args, levels), boxes.dims, (*crops.dims)[2], (*crops.dims)[3], &shape);
  if (!error.empty()) return Invalid(error);
  return WithType(crops.type, [&](auto zero) {
    using T = decltype(zero);
    return ToError(device.Crop(shape, AllData<const T>(args, levels).data(),
                               Data<const float>(boxes), Data<T>(crops)));
  });
}

// boxes, crops_gradient -> features_gradient (L)
template <typename Device>
ffi::Error GradFeaturesHandler(const Device& device, const Buffers& args, const Buffers& rets) {
  const Buffer& boxes = args[0];
  const Buffer& crops_gradient = args[1];
  RoiCropShape shape;
  const std::string error =
      ResolveGradientShape(DimsOf(rets, rets.size()), boxes.dims, crops_gradient.dims, &shape);
  if (!error.empty()) return Invalid(error);
  return WithType(crops_gradient.type, [&](auto zero) {
    using T = decltype(zero);
    return ToError(device.GradFeatures(shape, Data<const float>(boxes),
                                       Data<const T>(crops_gradient),
                                       AllData<T>(rets, rets.size()).data()));
  });
}

// features (L), boxes, crops_gradient -> boxes_gradient
template <typename Device>
ffi::Error GradBoxesHandler(const Device& device, const Buffers& args, const Buffers& rets) {
  const size_t levels = args.size() - 2;
  const Buffer& boxes = args[levels];
  const Buffer& crops_gradient = args[levels + 1];
  RoiCropShape shape;
  const std::string error =
      ResolveGradientShape(DimsOf(args, levels), boxes.dims, crops_gradient.dims, &shape);
  if (!error.empty()) return Invalid(error);
  return WithType(crops_gradient.type, [&](auto zero) {
    using T = decltype(zero);
    return ToError(device.GradBoxes(shape, AllData<const T>(args, levels).data(),
                                    Data<const float>(boxes), Data<const T>(crops_gradient),
                                    Data<float>(rets[0])));
  });
}

#define CEPHRAY_REGISTER_ON(PLATFORM, WHERE, CONTEXT, TRAITS, NAME, HANDLER)                \
  XLA_FFI_DEFINE_HANDLER(                                                                   \
      HANDLER##WHERE, ([](auto context, ffi::RemainingArgs args, ffi::RemainingRets rets) { \
        return HANDLER(DeviceOf(context), ToBuffers(args), ToBuffers(rets));                \
      }),                                                                                   \
      ffi::Ffi::Bind().Ctx<CONTEXT>().RemainingArgs().RemainingRets(), TRAITS);             \
  XLA_FFI_REGISTER_HANDLER(XLA_FFI_GetApi(), NAME, PLATFORM, HANDLER##WHERE)

#define CEPHRAY_REGISTER(PLATFORM, WHERE, CONTEXT, TRAITS)                                      \
  CEPHRAY_REGISTER_ON(PLATFORM, WHERE, CONTEXT, TRAITS, kXlaRoiCrop, CropHandler);              \
  CEPHRAY_REGISTER_ON(PLATFORM, WHERE, CONTEXT, TRAITS, kXlaGradFeatures, GradFeaturesHandler); \
  CEPHRAY_REGISTER_ON(PLATFORM, WHERE, CONTEXT, TRAITS, kXlaGradBoxes, GradBoxesHandler)

CEPHRAY_REGISTER("Host", OnCpu, ffi::ThreadPool, {});
#if defined(CEPHRAY_CUDA)
// The kernels are launched on the stream and nothing else is done, so that a CUDA graph can hold
// them.
CEPHRAY_REGISTER("CUDA", OnGpu, ffi::PlatformStream<void*>, {ffi::Traits::kCmdBufferCompatible});
#endif

#undef CEPHRAY_REGISTER
#undef CEPHRAY_REGISTER_ON

}  // namespace
}  // namespace cephray
