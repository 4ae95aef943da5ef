#!/usr/bin/env bash
# Builds, tests and measures on a machine with a CUDA GPU; needs no network and installs nothing.
#
#   benchmarks/gpu.sh [tests] [machine] [launches] [step] [operator] [inductor] [suite]
#
# Without names: tests, machine, launches, step, operator. `inductor` adds max-autotune to a few layers
# (compiling takes a minute for each), `suite` runs all of tests/. Every part has a time limit of its own, so
# that one that hangs or fails costs no other. Written to benchmarks/results/<gpu>-<date>/: results.json,
# results.md, log.txt.
#
#   BUDGET  seconds for everything (530)
#   PYTHON  the interpreter (python3)
#   OUT     a folder that gets a copy of the results
set -u
cd "$(dirname "$0")/.."
BUDGET=${BUDGET:-530}
PYTHON=${PYTHON:-python3}
export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-8}
PARTS=("$@")
[ $# -gt 0 ] || PARTS=(tests machine launches step operator)

declare -A WEIGHT=([tests]=110 [machine]=25 [launches]=80 [step]=80 [operator]=200 [inductor]=150 [suite]=150)
PYTEST=("$PYTHON" -m pytest -p no:cacheprovider --tb=short)
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
LOG=$WORK/log.txt
VERDICTS=()

say() { echo "$@" | tee -a "$LOG"; }
fail() { echo "gpu.sh: $2" >&2; exit "$1"; }

# script LIMIT NAME OPTIONS...: one of the scripts, its figures into the working folder
script() { run "$1" "$2" "$PYTHON" -m "benchmarks.$2" --device cuda --out "$WORK/$2.json" "${@:3}"; }

# run LIMIT NAME COMMAND...: interrupted at the limit, so that pytest still writes what it has; then killed
run() {
    local limit=$1 name=$2 begun=$SECONDS status
    shift 2
    say "== $name, at most $limit s: $*"
    timeout --signal=INT --kill-after=15 "$limit" "$@" 2>&1 | tee -a "$LOG" "$WORK/$name.log"
    status=${PIPESTATUS[0]}
    VERDICTS+=("$name: exit code $status after $((SECONDS - begun)) s")
}

# limit PART: its share, by weight, of the time that is left for it and the parts after it
limit() {
    local total=0 seen=
    for part in "${PARTS[@]}"; do
        [ "$part" = "$1" ] && seen=1
        [ -n "$seen" ] && total=$((total + WEIGHT[$part]))
    done
    echo $(((BUDGET - 15 - SECONDS) * WEIGHT[$1] / total))
}

# operator NAME PRECISION LIMIT RESERVE OPTIONS...: begins no layer in the last RESERVE seconds
operator() {
    local name=$1 precision=$2 limit=$3 reserve=$4
    shift 4
    run "$limit" "$name" "${PYTEST[@]}" benchmarks/test_operator.py --device cuda --precision "$precision" \
        --deadline $((limit - reserve)) --benchmark-quiet --benchmark-json="$WORK/$name.json" "$@"
}

for part in "${PARTS[@]}"; do
    [ -n "${WEIGHT[$part]:-}" ] || fail 2 "no part is called '$part': choose from ${!WEIGHT[*]}"
done
"$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || fail 1 "torch sees no CUDA GPU"
GPU=$("$PYTHON" -c 'import torch; print(torch.cuda.get_device_name().lower().replace(" ", "-"))')
ARCHITECTURE=$("$PYTHON" -c 'import torch; print("{}.{}".format(*torch.cuda.get_device_capability()))')
TORCH_CUDA_ARCH_LIST=$ARCHITECTURE run 150 build "$PYTHON" setup.py build_ext --inplace
"$PYTHON" -c 'import hyperconv; print(hyperconv.backends())' 2>&1 | tee -a "$LOG"

for part in "${PARTS[@]}"; do
    seconds=$(limit "$part")
    case $part in
    tests) run "$seconds" tests-gpu "${PYTEST[@]}" tests/gpu ;;
    suite) run "$seconds" tests-all "${PYTEST[@]}" -n 8 tests ;;
    machine | launches) script "$seconds" "$part" ;;
    step) script "$seconds" step --seconds 2 ;;
    operator)
        operator operator-tf32 tf32 $((seconds / 2)) 15
        operator operator-bf16 bf16 $((seconds / 2)) 15
        ;;
    inductor)
        operator operator-tf32-inductor tf32 "$seconds" 60 --inductor -k "64to64-64x64-b16 or 3to64-64x64-b16"
        ;;
    esac
done

say
"$PYTHON" -m benchmarks.collect "$WORK" > "$WORK/short.txt" 2>&1
printf '%s\n' "${VERDICTS[@]}" "" >> "$LOG"
RESULTS=benchmarks/results/$GPU-$(date +%Y-%m-%d)
for folder in "$RESULTS" ${OUT:+"$OUT"}; do
    mkdir -p "$folder"
    cp "$WORK"/results.json "$WORK"/results.md "$LOG" "$folder"/
done
printf '%s\n' "${VERDICTS[@]}"
cat "$WORK/short.txt"
