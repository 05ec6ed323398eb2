// 16-bit floats as bit patterns, with their conversions from and to float.
// The conversions round to nearest even and never touch a denormal float, so they give the same
// bits in threads that flush denormals (TensorFlow's do) and in threads that do not.
// A GPU converts by its own instructions, which differ in the payload of a NaN alone. Before
// compute capability 8.0 it has none to bfloat16. Knows no framework; NumPy's, Eigen's and
// ml_dtypes' 16-bit types have the same layout.

#ifndef CEPHRAY_KERNELS_HALF_H_
#define CEPHRAY_KERNELS_HALF_H_

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/host_device.h"

namespace cephray {

struct Half {  // IEEE 754 binary16
  uint16_t bits;
};

struct BFloat16 {  // the upper half of a binary32
  uint16_t bits;
};

// What values of type T are interpolated and added in.
template <typename T>
using Accumulator = std::conditional_t<std::is_same_v<T, double>, double, float>;

// The types of features and crops, to instantiate templates for.
#define CEPHRAY_FOR_EACH_TYPE(USE) USE(float) USE(double) USE(Half) USE(BFloat16)

CEPHRAY_HOST_DEVICE inline float FloatOfBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

CEPHRAY_HOST_DEVICE inline uint32_t BitsOfFloat(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

CEPHRAY_HOST_DEVICE inline float Widen(float value) { return value; }
CEPHRAY_HOST_DEVICE inline double Widen(double value) { return value; }

CEPHRAY_HOST_DEVICE inline float Widen(BFloat16 value) {
  return FloatOfBits(static_cast<uint32_t>(value.bits) << 16);
}

CEPHRAY_HOST_DEVICE inline float Widen(Half value) {
#if defined(__CUDA_ARCH__)
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
  return wide;
#else
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(value.bits & 0x7fffu) << 13;
  const uint32_t rebiased = magnitude + (112u << 23);
  // A denormal half is a normal float: give it an implicit one, then subtract that one again.
  const float with_one = FloatOfBits(rebiased + (1u << 23));
  const uint32_t denormal = BitsOfFloat(with_one - FloatOfBits(113u << 23));
  const uint32_t special = rebiased + (112u << 23);  // infinity, NaN
  const uint32_t wide = magnitude < (1u << 23)     ? denormal
                        : magnitude >= (31u << 23) ? special
                                                   : rebiased;
  return FloatOfBits(wide | sign);
#endif
}

template <typename T>
CEPHRAY_HOST_DEVICE T Narrow(float value);

template <typename T>
CEPHRAY_HOST_DEVICE T Narrow(double value);

template <>
CEPHRAY_HOST_DEVICE inline float Narrow<float>(float value) {
  return value;
}

template <>
CEPHRAY_HOST_DEVICE inline double Narrow<double>(double value) {
  return value;
}

template <>
CEPHRAY_HOST_DEVICE inline BFloat16 Narrow<BFloat16>(float value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  BFloat16 narrow;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(value));
  return narrow;
#else
  const uint32_t bits = BitsOfFloat(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t quiet_nan = (bits >> 16) | 0x40u;  // rounding could carry a NaN into infinity
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return {static_cast<uint16_t>(is_nan ? quiet_nan : rounded)};
#endif
}

template <>
CEPHRAY_HOST_DEVICE inline Half Narrow<Half>(float value) {
#if defined(__CUDA_ARCH__)
  Half narrow;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(value));
  return narrow;
#else
  const uint32_t bits = BitsOfFloat(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  // 0.5f has the spacing of denormal halves in its last bit: adding it rounds to that spacing.
  const uint32_t denormal = BitsOfFloat(FloatOfBits(magnitude) + 0.5f) - BitsOfFloat(0.5f);
  const uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  const uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  const uint32_t narrow = magnitude < (113u << 23)    ? denormal
                          : magnitude >= (143u << 23) ? special
                                                      : normal;
  return {static_cast<uint16_t>(narrow | sign)};
#endif
}

}  // namespace cephray

#endif  // CEPHRAY_KERNELS_HALF_H_
