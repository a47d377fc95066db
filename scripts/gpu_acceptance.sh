#!/usr/bin/env bash
# Everything that only a machine with an NVIDIA GPU can tell, in one call: builds against that machine's CUDA libtorch,
# then judges kernels, golden cases, C++ tests and full-size networks on the GPU. Needs no Node, no network, no weights.
#   [LIBTORCH=DIR] [OUT=DIR] [STAGES="versions build kernels golden tests full_size"] scripts/gpu_acceptance.sh
# LIBTORCH is the torch folder of a CUDA build; without it that of python3. Each stage has its own time limit and goes on
# after a failure; correctness comes first, so that a machine lost on the way still tells something. Standard output:
# JSON lines, then one table of verdicts. OUT (build/gpu_acceptance) keeps every stage's whole output.
# Exit status: 0 all passed, 1 something failed or could not be judged.
set -u
cd "$(dirname "$0")/.."
OUT=${OUT:-build/gpu_acceptance}
BUILD=${BUILD:-build/cuda}
STAGES=${STAGES:-"versions build kernels golden tests full_size"}
JOBS=${DRM_JOBS:-$(nproc)}
mkdir -p "$OUT" "$BUILD/kernels"
LIBTORCH=${LIBTORCH:-$(python3 -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])" 2>/dev/null)}
VERDICTS=$OUT/verdicts
: >"$VERDICTS"
TESTS="branch_test fused_test sampler_test stepwise_test reward_test policy_test train_test pipeline_test"

wanted() { [[ " $STAGES " == *" $1 "* ]]; }

# verdict NAME ok|FAIL|MISSING SECONDS NOTE
verdict() {
  local note=${4//\\/\\\\}
  note=${note//\"/\\\"}
  printf '{"stage":"%s","verdict":"%s","seconds":%s,"note":"%s"}\n' "$1" "$2" "$3" "${note//[$'\t\r\n']/ }"
  printf '%-34s %-8s %5s s  %s\n' "$1" "$2" "$3" "${4:0:160}" >>"$VERDICTS"
}

# judged NAME LIMIT_S COMMAND...: JSON lines of its output are passed on; the verdict is its exit status.
judged() {
  local name=$1 limit=$2 from=$SECONDS code note
  shift 2
  timeout -k 5 "$limit" bash -c '"$@"' _ "$@" >"$OUT/$name.log" 2>&1
  code=$?
  grep -a '^{' "$OUT/$name.log"
  note=$(grep -av '^{' "$OUT/$name.log" | grep -aE 'error|FAIL|passed|SUMMARY' | tail -n 1)
  ((code == 124 || code == 137)) && note="not done within $limit s; $note"
  if ((code == 0)); then
    verdict "$name" ok $((SECONDS - from)) "$note"
  else
    verdict "$name" FAIL $((SECONDS - from)) "exit status $code; ${note:-$(tail -n 1 "$OUT/$name.log")}"
  fi
  return $code
}

versions() {
  local status=0
  nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv,noheader || status=1
  nvidia-smi | sed -n 3,4p
  python3 -c "import torch; print('torch', torch.__version__, 'cuda', torch.version.cuda, 'cudnn', torch.backends.cudnn.version(), 'nccl', torch.cuda.nccl.version(), torch.cuda.get_device_name(0))"
  nvcc --version | tail -n 2
  cmake --version | head -n 1
  c++ --version | head -n 1
  printf 'ninja %s; %s jobs; LIBTORCH=%s\n' "$(ninja --version)" "$JOBS" "$LIBTORCH"
  ls /usr/local/cuda/bin | tr '\n' ' '
  git log -1 --format='commit %h %s' 2>/dev/null
  return $status
}

configure() {
  local generator="Unix Makefiles"
  command -v ninja >/dev/null && generator=Ninja
  cmake -S csrc -B "$BUILD" -G "$generator" -DLIBTORCH="$LIBTORCH" -DCMAKE_CUDA_ARCHITECTURES="$ARCH" -DDRM_WERROR=OFF
}

build() {
  local go_on=-k
  [ -e "$BUILD/build.ninja" ] && go_on="-k 0"
  # shellcheck disable=SC2086
  cmake --build "$BUILD" --parallel "$JOBS" --target "$@" -- $go_on
}

# The programs that judge kernels alone: neither libtorch nor a model.
compile_check() {
  nvcc -std=c++20 -O3 -lineinfo -arch="sm_$ARCH" -Xcompiler -ffp-contract=off -I csrc -I csrc/cuda \
    "csrc/cuda/$1_check.cu" "csrc/cuda/$1.cu" -o "$BUILD/kernels/$1_check"
}

kernels() {
  local kernel tool sanitizer
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
  for check in csrc/cuda/*_check.cu; do
    kernel=$(basename "$check" _check.cu)
    judged "compile_${kernel}_check" 120 compile_check "$kernel" || continue
    judged "${kernel}_check" 90 "$BUILD/kernels/${kernel}_check"
    for tool in memcheck racecheck; do
      if [ -n "$sanitizer" ]; then
        judged "${kernel}_$tool" 60 "$sanitizer" --tool "$tool" --error-exitcode 9 "$BUILD/kernels/${kernel}_check" --small
      else
        verdict "${kernel}_$tool" MISSING 0 "compute-sanitizer is not installed"
      fi
    done
  done
}

export -f versions configure build compile_check
export BUILD LIBTORCH JOBS ARCH=${ARCH:-90}

if wanted versions; then
  judged versions 60 versions
  cat "$OUT/versions.log"
fi
building=
if wanted build && judged configure 240 configure; then
  grep -aE '^-- (CUDA|NCCL)' "$OUT/configure.log"
  targets="drm_core drm_parity $TESTS"
  grep -qs drm_full_size csrc/CMakeLists.txt && targets="$targets drm_full_size"
  # Kernels are judged on the GPU while the CPUs compile.
  # shellcheck disable=SC2086
  judged build 420 build $targets &
  building=$!
fi
wanted kernels && kernels
[ -n "$building" ] && wait "$building"
wanted golden && judged golden 240 python3 test/gpu/golden.py "$BUILD/drm_parity" --device cuda --json
if wanted tests; then
  for test in $TESTS; do
    DRM_TEST_DEVICE=cuda judged "$test" 120 "$BUILD/$test"
  done
fi
if wanted full_size; then
  if [ -x "$BUILD/drm_full_size" ]; then
    judged full_size 240 "$BUILD/drm_full_size"
  else
    verdict full_size MISSING 0 "$BUILD/drm_full_size was not built"
  fi
fi

echo
cat "$VERDICTS"
bad=$(grep -cE '^[^ ]+ +(FAIL|MISSING) ' "$VERDICTS")
echo "$(grep -cE '^[^ ]+ +ok ' "$VERDICTS") passed, $bad failed or missing, $SECONDS s"
[ "$bad" -eq 0 ]
