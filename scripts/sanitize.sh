#!/usr/bin/env bash
# Builds the op with AddressSanitizer and UndefinedBehaviorSanitizer; runs the fuzzers, then the op's
# test files against that build. The first finding ends it.
#   PYTHON   python of an environment that cephray builds in (default: python3)
#   CALLS    random calls of the crop's fuzzer (default: 1000000)
#   BUILD    folder to build in (default: build/sanitize)
#   TF       OFF where TensorFlow is absent: then the tests are left out
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
CALLS=${CALLS:-1000000}
BUILD=${BUILD:-build/sanitize}
TF=${TF:-ON}

"$PYTHON" -m cmake -S . -B "$BUILD" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCEPHRAY_SANITIZE=ON \
  -DCEPHRAY_CUDA=off -DCEPHRAY_TF="$TF" -DSKBUILD_PROJECT_VERSION=0 \
  -DPython_EXECUTABLE="$("$PYTHON" -c 'import sys; print(sys.executable)')" \
  -Dpybind11_DIR="$("$PYTHON" -m pybind11 --cmakedir)"
"$PYTHON" -m cmake --build "$BUILD" --parallel "$(nproc)"

export UBSAN_OPTIONS=print_stacktrace=1
"$BUILD/fuzz_roi_crop" "$CALLS"
"$BUILD/fuzz_adam"

[ "$TF" = OFF ] && exit
# Python itself is not built with the sanitizers: they are loaded before it, and its own leaks at
# exit are not ours to report.
COMPILER=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$BUILD/CMakeCache.txt")
LD_PRELOAD="$("$COMPILER" -print-file-name=libasan.so) $("$COMPILER" -print-file-name=libubsan.so) \
$("$COMPILER" -print-file-name=libstdc++.so)" \
ASAN_OPTIONS=detect_leaks=0 \
  "$PYTHON" tests/fuzz/run_tests.py "$BUILD" tests/ops -m "not gpu" -p no:cacheprovider
