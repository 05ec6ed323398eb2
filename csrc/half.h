// 16-bit floats as bit patterns, with their conversions from and to float.
// The conversions round to nearest even and never touch a denormal float, so they give the same
// bits in threads that flush denormals (TensorFlow's do) and in threads that do not.
// Knows no framework; NumPy's, Eigen's and ml_dtypes' 16-bit types have the same layout.

#ifndef CEPHRAY_HALF_H_
#define CEPHRAY_HALF_H_

#include <cstdint>
#include <cstring>

namespace cephray {

struct Half {  // IEEE 754 binary16
  uint16_t bits;
};

struct BFloat16 {  // the upper half of a binary32
  uint16_t bits;
};

inline float FloatOfBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

inline uint32_t BitsOfFloat(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

inline float Widen(float value) { return value; }
inline double Widen(double value) { return value; }

inline float Widen(BFloat16 value) { return FloatOfBits(static_cast<uint32_t>(value.bits) << 16); }

inline float Widen(Half value) {
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
}

template <typename T>
T Narrow(float value);

template <typename T>
T Narrow(double value);

template <>
inline float Narrow<float>(float value) {
  return value;
}

template <>
inline double Narrow<double>(double value) {
  return value;
}

template <>
inline BFloat16 Narrow<BFloat16>(float value) {
  const uint32_t bits = BitsOfFloat(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t quiet_nan = (bits >> 16) | 0x40u;  // rounding could carry a NaN into infinity
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return {static_cast<uint16_t>(is_nan ? quiet_nan : rounded)};
}

template <>
inline Half Narrow<Half>(float value) {
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
}

}  // namespace cephray

#endif  // CEPHRAY_HALF_H_
