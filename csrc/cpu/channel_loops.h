// The innermost loops: what happens to one run of channels. Compiled for several instruction sets,
// of which the processor's best is used; each gives the same bits, because nothing is contracted
// and every order of addition is fixed. Knows no shape and no thread.

#ifndef CEPHRAY_CPU_CHANNEL_LOOPS_H_
#define CEPHRAY_CPU_CHANNEL_LOOPS_H_

#include <cstdint>

#include "kernels/half.h"

namespace cephray {

// The four cells around a sample, each a run of channels.
template <typename T>
struct Cells {
  const T* top_left;
  const T* top_right;
  const T* bottom_left;
  const T* bottom_right;
};

template <typename A>
struct Slope {
  A y;
  A x;
};

// What one sample adds to a cell; the next one of the same cell, or null.
template <typename T>
struct Contribution {
  const T* source;
  Contribution* next;
  Accumulator<T> scale;
};

template <typename T>
struct ChannelLoops {
  using A = Accumulator<T>;

  // crop = the value between the cells.
  void (*blend)(const Cells<T>& cells, int64_t channels, float weight_y, float weight_x, T* crop);

  // target = the sum of scale * source over the list, in its order; it is not empty.
  void (*sum_scaled)(const Contribution<T>* first, int64_t channels, T* target);

  // target = 0, `count` values.
  void (*clear)(T* target, int64_t count);

  // The slopes between the cells, weighted with the gradient and added over the channels.
  Slope<A> (*sum_slopes)(const Cells<T>& cells, int64_t channels, float weight_y, float weight_x,
                         const T* gradient);

  // Lets other threads see what this one has written with this table; call it last.
  void (*finish)();
};

enum class InstructionSet { kPortable, kAvx2, kAvx512 };

// The best that this processor has.
InstructionSet BestInstructionSet();

// The one in use; at first the best. A test may set another that the processor has.
InstructionSet InstructionSetInUse();
void UseInstructionSet(InstructionSet set);

// The loops for the instruction set in use.
template <typename T>
const ChannelLoops<T>& ChannelLoopsInUse();

// The loops to write `bytes` of results with. Results that no cache would hold until they are read
// are written past the caches where the machine has such stores and every run of channels
// `is_aligned` to kStreamAlignment bytes in place and in length.
constexpr int64_t kStreamAlignment = 64;
template <typename T>
const ChannelLoops<T>& ChannelLoopsToWrite(int64_t bytes, bool is_aligned);

// A test may set how large such results are at least.
void StreamFrom(int64_t bytes);

}  // namespace cephray

#endif  // CEPHRAY_CPU_CHANNEL_LOOPS_H_
