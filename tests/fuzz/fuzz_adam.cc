// Random steps of Adam: the CPU's kernel against a plain loop in long double, on one thread and on
// blocks in any order, and the CUDA kernels' code on the CPU against both, to the bit.
//   fuzz_adam [STEPS [SEED]]

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "cpu/adam.h"
#include "cuda/adam_block.h"
#include "kernels/adam.h"

namespace cephray {
namespace {

using Random = std::mt19937_64;

int64_t Draw(Random& random, int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(random);
}

struct Failure {
  std::string what;
};

// The values of all variables, and pointers to them.
template <typename T>
struct State {
  std::vector<std::vector<T>> gradient, weights, momentum, velocity, average;
  std::vector<bool> is_kernel;
  bool has_average = false;

  std::vector<AdamVariable<T>> Variables() {
    std::vector<AdamVariable<T>> variables(weights.size());
    for (size_t i = 0; i < weights.size(); ++i) {
      variables[i] = {gradient[i].data(),
                      weights[i].data(),
                      momentum[i].data(),
                      velocity[i].data(),
                      has_average ? average[i].data() : nullptr,
                      static_cast<int64_t>(weights[i].size()),
                      -1,
                      is_kernel[i]};
    }
    return variables;
  }
};

template <typename T>
State<T> DrawState(Random& random) {
  std::normal_distribution<double> normal;
  State<T> state;
  state.has_average = Draw(random, 0, 1) == 1;
  const int64_t count = Draw(random, 1, 6);
  for (int64_t i = 0; i < count; ++i) {
    int64_t size = Draw(random, 0, 40);
    if (Draw(random, 0, 2) == 0) size = kAdamChunk * Draw(random, 1, 3) + Draw(random, -1, 1);
    const auto values = [&](double scale, bool positive) {
      std::vector<T> drawn(size);
      for (T& value : drawn) {
        const double one = scale * normal(random);
        value = static_cast<T>(positive ? std::abs(one) : one);
      }
      return drawn;
    };
    state.gradient.push_back(values(1, false));
    state.weights.push_back(values(1, false));
    state.momentum.push_back(values(0.3, false));
    state.velocity.push_back(values(0.3, true));
    state.average.push_back(values(1, false));
    state.is_kernel.push_back(Draw(random, 0, 1) == 1);
  }
  return state;
}

// Runs the blocks from the last to the first.
void Backwards(int64_t total, int64_t, const RangeBody& body) {
  for (int64_t i = total - 1; i >= 0; --i) body(i, i + 1);
}

void AtOnce(int64_t total, int64_t, const RangeBody& body) { body(0, total); }

template <typename T>
void RunGpuCode(const AdamSettings& settings, std::vector<AdamVariable<T>>* variables,
                T learning_rate, T step) {
  constexpr int32_t kThreads = 32;  // few, so that they take several turns
  AdamProblem<T> problem = {};
  problem.settings = settings;
  problem.count = static_cast<int64_t>(variables->size());
  problem.chunks = SetAdamChunks(variables->data(), problem.count);
  problem.variables = variables->data();
  problem.learning_rate = &learning_rate;
  problem.step = &step;
  AdamFactors<T> factors;
  problem.factors = &factors;
  std::vector<double> sums(problem.chunks);
  double lanes[kAdamLanes];
  const auto add = [&lanes] {
    for (int32_t half = kAdamLanes / 2; half > 0; half /= 2) {
      for (int32_t lane = kAdamLanes - 1; lane >= 0; --lane) AdamPhaseAdd(half, lane, lanes);
    }
    return lanes[0];
  };
  if (std::isfinite(settings.clip_norm)) {
    problem.sums = sums.data();
    for (int64_t chunk = problem.chunks - 1; chunk >= 0; --chunk) {
      for (int32_t lane = 0; lane < kAdamLanes; ++lane) {
        lanes[lane] = AdamChunkLane(problem, chunk, lane);
      }
      sums[chunk] = add();
    }
  }
  for (int32_t lane = 0; lane < kAdamLanes; ++lane) lanes[lane] = AdamTotalLane(problem, lane);
  factors = AdamFactorsOf(settings, add(), learning_rate, step);
  for (int64_t chunk = problem.chunks - 1; chunk >= 0; --chunk) {
    for (int32_t thread = kThreads - 1; thread >= 0; --thread) {
      AdamUpdateThread(problem, chunk, thread, kThreads);
    }
  }
}

// The formulas, value by value.
template <typename T>
void RunReference(const AdamSettings& settings, State<T>* state, T learning_rate, T step) {
  using Wide = long double;
  Wide squares = 0;
  for (const auto& gradient : state->gradient) {
    for (const T value : gradient) squares += static_cast<Wide>(value) * value;
  }
  const Wide norm = std::sqrt(squares);
  const Wide scale = norm > settings.clip_norm ? settings.clip_norm / norm : 1;
  const Wide lr = learning_rate;
  const Wide t = step;
  const Wide decay = std::min<Wide>(settings.average_decay, t / (t + 9));
  for (size_t i = 0; i < state->weights.size(); ++i) {
    for (size_t k = 0; k < state->weights[i].size(); ++k) {
      const Wide g = scale * state->gradient[i][k];
      const Wide m = settings.beta_1 * state->momentum[i][k] + (1 - settings.beta_1) * g;
      const Wide v = settings.beta_2 * state->velocity[i][k] + (1 - settings.beta_2) * g * g;
      Wide w = state->weights[i][k];
      if (state->is_kernel[i]) w *= 1 - lr * settings.kernel_decay;
      const Wide rate = lr * std::sqrt(1 - std::pow<Wide>(settings.beta_2, t)) /
                        (1 - std::pow<Wide>(settings.beta_1, t));
      w -= rate * m / (std::sqrt(v) + settings.epsilon);
      state->momentum[i][k] = static_cast<T>(m);
      state->velocity[i][k] = static_cast<T>(v);
      state->weights[i][k] = static_cast<T>(w);
      if (!state->has_average) continue;
      state->average[i][k] = static_cast<T>(decay * state->average[i][k] + (1 - decay) * w);
    }
  }
}

template <typename T>
void Require(const State<T>& actual, const State<T>& wanted, double tolerance, const char* what) {
  const auto compare = [&](const std::vector<std::vector<T>>& a,
                           const std::vector<std::vector<T>>& b) {
    for (size_t i = 0; i < a.size(); ++i) {
      for (size_t k = 0; k < a[i].size(); ++k) {
        if (!(std::abs(a[i][k] - b[i][k]) <= tolerance * (1 + std::abs(b[i][k])))) {
          throw Failure{std::string(what) + ": " + std::to_string(a[i][k]) + " instead of " +
                        std::to_string(b[i][k])};
        }
      }
    }
  };
  compare(actual.weights, wanted.weights);
  compare(actual.momentum, wanted.momentum);
  compare(actual.velocity, wanted.velocity);
  compare(actual.average, wanted.average);
}

template <typename T>
void CheckOnce(Random& random) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const AdamSettings settings = {0.9,
                                 0.999,
                                 Draw(random, 0, 1) == 0 ? 1e-7 : 1.0,
                                 Draw(random, 0, 1) == 0 ? 0.0 : 0.3,
                                 Draw(random, 0, 2) == 0 ? kInfinity : Draw(random, 1, 200) / 10.0,
                                 Draw(random, 0, 999) / 1000.0};
  const auto learning_rate = static_cast<T>(Draw(random, 0, 100) / 1000.0);
  const auto step = static_cast<T>(Draw(random, 1, 2000));
  const State<T> start = DrawState<T>(random);
  State<T> on_cpu = start, backwards = start, on_gpu = start, reference = start;
  auto variables = on_cpu.Variables();
  const auto count = static_cast<int64_t>(variables.size());
  if (!AdamUpdate(settings, variables.data(), count, learning_rate, step, AtOnce)) {
    throw Failure{"out of memory"};
  }
  variables = backwards.Variables();
  AdamUpdate(settings, variables.data(), count, learning_rate, step, Backwards);
  variables = on_gpu.Variables();
  RunGpuCode(settings, &variables, learning_rate, step);
  RunReference(settings, &reference, learning_rate, step);
  Require(on_cpu, reference, sizeof(T) == 4 ? 3e-6 : 1e-14, "the CPU's kernel");
  Require(backwards, on_cpu, 0, "blocks from the last to the first");
  Require(on_gpu, on_cpu, 0, "the CUDA kernels");
}

int Fuzz(int64_t steps, uint64_t seed) {
  for (int64_t turn = 0; turn < steps; ++turn) {
    Random random(seed + static_cast<uint64_t>(turn));
    try {
      turn % 2 == 0 ? CheckOnce<float>(random) : CheckOnce<double>(random);
    } catch (const Failure& failure) {
      std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed + turn),
                  failure.what.c_str());
      return 1;
    }
  }
  std::printf("%lld random steps agree with the reference\n", static_cast<long long>(steps));
  return 0;
}

}  // namespace
}  // namespace cephray

int main(int count, char** arguments) {
  const int64_t steps = count > 1 ? std::atoll(arguments[1]) : 1000;
  const uint64_t seed = count > 2 ? std::strtoull(arguments[2], nullptr, 10) : 0;
  return cephray::Fuzz(steps, seed);
}
