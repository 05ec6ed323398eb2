// See channel_loops.h. Each loop is written once, plainly, for the compiler to vectorise; the
// instruction sets only compile it again.

#include "channel_loops.h"

#include <atomic>

#include "roi_crop.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define CEPHRAY_X86 1
#include <immintrin.h>
#else
#define CEPHRAY_X86 0
#endif

namespace cephray {
namespace {

// Channels that are summed side by side: separate partial sums let the compiler use vector registers
// without reordering additions.
constexpr int64_t kLanes = 32;
constexpr int64_t kSumLanes = 64;

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

// Up to kSumLanes channels, which the compiler holds in vector registers.
template <typename T>
CEPHRAY_INLINE void SumLanes(const Contribution<T>* first, int64_t channel, int64_t lanes,
                             T* __restrict__ target) {
  using A = Accumulator<T>;
  A sums[kSumLanes] = {};
  for (const Contribution<T>* part = first; part != nullptr; part = part->next) {
    const T* __restrict__ source = part->source + channel;
    const A scale = part->scale;
    for (int64_t lane = 0; lane < lanes; ++lane) sums[lane] += scale * Widen(source[lane]);
  }
  for (int64_t lane = 0; lane < lanes; ++lane) target[channel + lane] = Narrow<T>(sums[lane]);
}

template <typename T>
CEPHRAY_INLINE void SumScaledLoop(const Contribution<T>* first, int64_t channels, T* target) {
  int64_t c = 0;
  for (; c + kSumLanes <= channels; c += kSumLanes) SumLanes(first, c, kSumLanes, target);
  if (c < channels) SumLanes(first, c, channels - c, target);
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

// The loops for one instruction set; `flatten` inlines all that they call into it.
#define CEPHRAY_CHANNEL_LOOPS(NAME, TARGET)                                                     \
  template <typename T>                                                                         \
  struct NAME {                                                                                 \
    using A = Accumulator<T>;                                                                   \
    TARGET static void Blend(const Cells<T>& cells, int64_t channels, float weight_y,           \
                             float weight_x, T* crop) {                                         \
      BlendLoop<T>(cells, channels, weight_y, weight_x, crop);                                  \
    }                                                                                           \
    TARGET static void SumScaled(const Contribution<T>* first, int64_t channels, T* target) {   \
      SumScaledLoop<T>(first, channels, target);                                                \
    }                                                                                           \
    TARGET static Slope<A> SumSlopes(const Cells<T>& cells, int64_t channels, float weight_y,   \
                                     float weight_x, const T* gradient) {                       \
      return SumSlopesLoop<T>(cells, channels, weight_y, weight_x, gradient);                   \
    }                                                                                           \
    static constexpr ChannelLoops<T> kTable = {Blend, nullptr, nullptr, SumScaled,             \
                                               SumSlopes};                                      \
  };

CEPHRAY_CHANNEL_LOOPS(Portable, )

#if CEPHRAY_X86
#define CEPHRAY_AVX2 __attribute__((target("avx2"), flatten))
#define CEPHRAY_AVX512                                                                        \
  __attribute__((                                                                             \
      target("avx2,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512"), flatten))
CEPHRAY_CHANNEL_LOOPS(Avx2, CEPHRAY_AVX2)
CEPHRAY_CHANNEL_LOOPS(Avx512, CEPHRAY_AVX512)

template <typename T>
CEPHRAY_AVX512 void BlendStreaming(const Cells<T>& cells, int64_t channels, float weight_y,
                                   float weight_x, T* crop) {
  constexpr int64_t kChunk = 4096 / sizeof(T);
  constexpr int64_t kVector = 64 / sizeof(T);
  alignas(64) T chunk[kChunk];
  for (int64_t c = 0; c < channels; c += kChunk) {
    const int64_t count = channels - c < kChunk ? channels - c : kChunk;
    BlendLoop<T>({cells.top_left + c, cells.top_right + c, cells.bottom_left + c,
                  cells.bottom_right + c},
                 count, weight_y, weight_x, chunk);
    for (int64_t i = 0; i < count; i += kVector) {
      _mm512_stream_si512(reinterpret_cast<__m512i*>(crop + c + i),
                          _mm512_load_si512(reinterpret_cast<const __m512i*>(chunk + i)));
    }
  }
}

void FinishStreams() { _mm_sfence(); }

template <typename T>
ChannelLoops<T> WithStreams(ChannelLoops<T> loops) {
  loops.blend_streaming = BlendStreaming<T>;
  loops.finish_streams = FinishStreams;
  return loops;
}
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

template <typename T>
const ChannelLoops<T>& ChannelLoopsInUse() {
#if CEPHRAY_X86
  static const ChannelLoops<T> avx512 = WithStreams(Avx512<T>::kTable);
  if (InUse() == InstructionSet::kAvx512) return avx512;
  if (InUse() == InstructionSet::kAvx2) return Avx2<T>::kTable;
#endif
  return Portable<T>::kTable;
}

template const ChannelLoops<float>& ChannelLoopsInUse<float>();
template const ChannelLoops<double>& ChannelLoopsInUse<double>();
template const ChannelLoops<Half>& ChannelLoopsInUse<Half>();
template const ChannelLoops<BFloat16>& ChannelLoopsInUse<BFloat16>();

}  // namespace cephray
