// See channel_loops.h. Each loop is written once, plainly, for the compiler to vectorise; the
// instruction sets only compile it again.

#include "cpu/channel_loops.h"

#include <atomic>
#include <cstring>

#include "kernels/roi_crop.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define CEPHRAY_X86 1
#include <immintrin.h>
#else
#define CEPHRAY_X86 0
#endif

namespace cephray {
namespace {

// Channels that are summed side by side: separate partial sums let the compiler use vector
// registers without reordering additions.
constexpr int64_t kLanes = 32;
constexpr int64_t kSumLanes = 64;

// More than most last-level caches keep until it is read.
std::atomic<int64_t> streamed_bytes{int64_t{32} << 20};

#define CEPHRAY_INLINE inline __attribute__((always_inline))

template <typename T>
CEPHRAY_INLINE void BlendLoop(const Cells<T>& cells, int64_t channels, float weight_y,
                              float weight_x, T* __restrict__ crop) {
  using A = Accumulator<T>;
  const T* top_left = cells.top_left;
  const T* top_right = cells.top_right;
  const T* bottom_left = cells.bottom_left;
  const T* bottom_right = cells.bottom_right;
  for (int64_t c = 0; c < channels; ++c) {
    crop[c] = Narrow<T>(Blend<A>(Widen(top_left[c]), Widen(top_right[c]), Widen(bottom_left[c]),
                                 Widen(bottom_right[c]), weight_y, weight_x));
  }
}

// Sums up to kSumLanes channels, which the compiler holds in vector registers.
template <typename T>
CEPHRAY_INLINE void SumLanes(const Contribution<T>* first, int64_t channel, int64_t lanes,
                             T* __restrict__ sum) {
  using A = Accumulator<T>;
  A sums[kSumLanes] = {};
  for (const Contribution<T>* part = first; part != nullptr; part = part->next) {
    const T* __restrict__ source = part->source + channel;
    const A scale = part->scale;
    for (int64_t lane = 0; lane < lanes; ++lane) sums[lane] += scale * Widen(source[lane]);
  }
  for (int64_t lane = 0; lane < lanes; ++lane) sum[lane] = Narrow<T>(sums[lane]);
}

template <typename T>
CEPHRAY_INLINE void SumScaledLoop(const Contribution<T>* first, int64_t channels, T* target) {
  int64_t c = 0;
  for (; c + kSumLanes <= channels; c += kSumLanes) SumLanes(first, c, kSumLanes, target + c);
  if (c < channels) SumLanes(first, c, channels - c, target + c);
}

template <typename T>
CEPHRAY_INLINE void AddSlopes(const Cells<T>& cells, int64_t channel, Accumulator<T> weight_y,
                              Accumulator<T> weight_x, const T* gradient, Accumulator<T>* y,
                              Accumulator<T>* x) {
  using A = Accumulator<T>;
  const A top_left = Widen(cells.top_left[channel]);
  const A top_right = Widen(cells.top_right[channel]);
  const A bottom_left = Widen(cells.bottom_left[channel]);
  const A bottom_right = Widen(cells.bottom_right[channel]);
  const A g = Widen(gradient[channel]);
  *y += g * SlopeY<A>(top_left, top_right, bottom_left, bottom_right, weight_x);
  *x += g * SlopeX<A>(top_left, top_right, bottom_left, bottom_right, weight_y);
}

template <typename T>
CEPHRAY_INLINE Slope<Accumulator<T>> SumSlopesLoop(const Cells<T>& cells, int64_t channels,
                                                   float weight_y, float weight_x,
                                                   const T* gradient) {
  using A = Accumulator<T>;
  A y[kLanes] = {};
  A x[kLanes] = {};
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      AddSlopes<T>(cells, c + lane, weight_y, weight_x, gradient, &y[lane], &x[lane]);
    }
  }
  for (int64_t lane = 0; c + lane < channels; ++lane) {
    AddSlopes<T>(cells, c + lane, weight_y, weight_x, gradient, &y[lane], &x[lane]);
  }
  Slope<A> sum = {};
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    sum.y += y[lane];
    sum.x += x[lane];
  }
  return sum;
}

template <typename T>
void Clear(T* target, int64_t count) {
  std::memset(target, 0, count * sizeof(T));
}

// The loops for one instruction set; `flatten` inlines all that they call into it.
#define CEPHRAY_CHANNEL_LOOPS(NAME, TARGET)                                                   \
  template <typename T>                                                                       \
  struct NAME {                                                                               \
    using A = Accumulator<T>;                                                                 \
    TARGET static void Blend(const Cells<T>& cells, int64_t channels, float weight_y,         \
                             float weight_x, T* crop) {                                       \
      BlendLoop<T>(cells, channels, weight_y, weight_x, crop);                                \
    }                                                                                         \
    TARGET static void SumScaled(const Contribution<T>* first, int64_t channels, T* target) { \
      SumScaledLoop<T>(first, channels, target);                                              \
    }                                                                                         \
    TARGET static Slope<A> SumSlopes(const Cells<T>& cells, int64_t channels, float weight_y, \
                                     float weight_x, const T* gradient) {                     \
      return SumSlopesLoop<T>(cells, channels, weight_y, weight_x, gradient);                 \
    }                                                                                         \
    static constexpr ChannelLoops<T> kTable = {Blend, SumScaled, Clear<T>, SumSlopes, [] {}}; \
  };

CEPHRAY_CHANNEL_LOOPS(Portable, )

#if CEPHRAY_X86
#define CEPHRAY_AVX2 __attribute__((target("avx2"), flatten))
#define CEPHRAY_AVX512                                                                      \
  __attribute__((target("avx2,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512"), \
                 flatten))
CEPHRAY_CHANNEL_LOOPS(Avx2, CEPHRAY_AVX2)
CEPHRAY_CHANNEL_LOOPS(Avx512, CEPHRAY_AVX512)

template <typename T>
CEPHRAY_AVX512 void Stream(const T* values, int64_t count, T* target) {
  constexpr int64_t kVector = 64 / sizeof(T);
  for (int64_t i = 0; i < count; i += kVector) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(target + i),
                        _mm512_load_si512(reinterpret_cast<const __m512i*>(values + i)));
  }
}

template <typename T>
CEPHRAY_AVX512 void BlendStreaming(const Cells<T>& cells, int64_t channels, float weight_y,
                                   float weight_x, T* crop) {
  constexpr int64_t kChunk = 4096 / sizeof(T);
  alignas(64) T chunk[kChunk];
  for (int64_t c = 0; c < channels; c += kChunk) {
    const int64_t count = channels - c < kChunk ? channels - c : kChunk;
    BlendLoop<T>(
        {cells.top_left + c, cells.top_right + c, cells.bottom_left + c, cells.bottom_right + c},
        count, weight_y, weight_x, chunk);
    Stream(chunk, count, crop + c);
  }
}

template <typename T>
CEPHRAY_AVX512 void SumScaledStreaming(const Contribution<T>* first, int64_t channels, T* target) {
  alignas(64) T chunk[kSumLanes];
  int64_t c = 0;
  for (; c + kSumLanes <= channels; c += kSumLanes) {
    SumLanes(first, c, kSumLanes, chunk);
    Stream(chunk, kSumLanes, target + c);
  }
  if (c == channels) return;
  SumLanes(first, c, channels - c, chunk);
  Stream(chunk, channels - c, target + c);
}

template <typename T>
CEPHRAY_AVX512 void ClearStreaming(T* target, int64_t count) {
  constexpr int64_t kVector = 64 / sizeof(T);
  const __m512i zero = _mm512_setzero_si512();
  for (int64_t i = 0; i < count; i += kVector) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(target + i), zero);
  }
}

void FinishStreams() { _mm_sfence(); }

template <typename T>
constexpr ChannelLoops<T> kAvx512Streams = {BlendStreaming<T>, SumScaledStreaming<T>,
                                            ClearStreaming<T>, Avx512<T>::SumSlopes,
                                            FinishStreams};
#endif

std::atomic<InstructionSet>& InUse() {
  static std::atomic<InstructionSet> set{BestInstructionSet()};
  return set;
}

}  // namespace

InstructionSet BestInstructionSet() {
#if CEPHRAY_X86
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    return InstructionSet::kAvx512;
  }
  if (__builtin_cpu_supports("avx2")) return InstructionSet::kAvx2;
#endif
  return InstructionSet::kPortable;
}

InstructionSet InstructionSetInUse() { return InUse(); }

void UseInstructionSet(InstructionSet set) { InUse() = set; }

void StreamFrom(int64_t bytes) { streamed_bytes = bytes; }

template <typename T>
const ChannelLoops<T>& ChannelLoopsInUse() {
#if CEPHRAY_X86
  if (InUse() == InstructionSet::kAvx512) return Avx512<T>::kTable;
  if (InUse() == InstructionSet::kAvx2) return Avx2<T>::kTable;
#endif
  return Portable<T>::kTable;
}

template <typename T>
const ChannelLoops<T>& ChannelLoopsToWrite(int64_t bytes, bool is_aligned) {
#if CEPHRAY_X86
  const bool streams = is_aligned && bytes >= streamed_bytes;
  if (streams && InUse() == InstructionSet::kAvx512) return kAvx512Streams<T>;
#endif
  return ChannelLoopsInUse<T>();
}

#define CEPHRAY_INSTANTIATE(T)                            \
  template const ChannelLoops<T>& ChannelLoopsInUse<T>(); \
  template const ChannelLoops<T>& ChannelLoopsToWrite<T>(int64_t, bool);

CEPHRAY_FOR_EACH_TYPE(CEPHRAY_INSTANTIATE)

#undef CEPHRAY_INSTANTIATE

}  // namespace cephray
