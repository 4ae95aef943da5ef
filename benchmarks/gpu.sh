#!/usr/bin/env bash
# Builds, tests and measures on a machine with a CUDA GPU; needs no network and installs nothing.
#
#   benchmarks/gpu.sh [PART...]
#
#   tests      tests/gpu: every operator and derivative against float64, by every backend
#   selftest   hyperconv selftest: the table for bug reports
#   machine    the machine's own limits: copies, matrix products, launches
#   operator   the layer list beside every peer, in TF32 and bfloat16, with the tiles as shipped
#   gpu_operators  each operator by each backend: what the table of ops/results.py goes by
#   sanitizer  compute-sanitizer's memcheck and racecheck, every kernel once
#   graph      a gradient penalty in a CUDA graph: replays checked and timed
#   overhead   the host's time per call
#   launches   kernels of a gradient penalty as the batch grows, and shares of a training step
#   tune       hyperconv tune: the quickest tiles of the usual layers
#   tuned      the operator part again, with what tune found
#   train_step a training step at scales 0, 3 and 6, part by part, beside the published one
#   singles    ConSinGAN's iterations, 1, 4 and 16 photos side by side, beside the published one
#   suite      all of tests/ (not without being named)
#   headline   a whole training at the published settings, going on where the last call stopped (not without being named)
#   published  ConSinGANs of the photos in PHOTOS at the published settings, as long as there is time, and their scores beside
#              those of the published samples (not without being named)
#
# Without names: all but the last three, the most telling first. Every part has a time limit of its own, so that one that
# hangs or fails costs no other; time that a part leaves over goes to those after it. The summary comes last, and the
# exit code is 1 where any part failed. Written to benchmarks/results/<gpu>-<date>.json, .md and .log; a second call on
# the same day adds its parts to the first one's. For more than ten minutes in all, call it for a few parts at a time.
#
#   BUDGET  seconds for everything (570)
#   PYTHON  the interpreter (python3)
#   OUT     a folder that gets a copy of the results
#   PHOTOS  a folder: what the headline trains on (the bundled examples), or published; RUN the run it goes on with
#           (build/headline, build/published)
#   BUILD   0: the libraries that are there are of this source, and are built again only where they do not run
#   DEVICE  cuda; cpu rehearses the parts on the tiniest layers, without building, and writes to $OUT alone
set -u
cd "$(dirname "$0")/.." || exit 1
BUDGET=${BUDGET:-570}
PYTHON=${PYTHON:-python3}
DEVICE=${DEVICE:-cuda}
export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-8}
PARTS=("$@")
[ $# -gt 0 ] || PARTS=(tests selftest machine operator gpu_operators sanitizer graph overhead launches train_step singles tune tuned)

declare -A WEIGHT=([tests]=220 [selftest]=60 [machine]=15 [operator]=130 [gpu_operators]=40 [sanitizer]=80 [graph]=25 [overhead]=10
    [launches]=30 [tune]=140 [tuned]=60 [train_step]=40 [singles]=40
    [suite]=150 [headline]=500 [published]=450)
PYTEST=("$PYTHON" -m pytest -p no:cacheprovider --tb=short)
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
# Tiles and checks of earlier runs on this machine play no part.
export HYPERCONV_CACHE=$WORK/cache
LOG=$WORK/log.txt
SUMMARY=()
FAILED=0

say() { echo "$@" | tee -a "$LOG"; }
fail() { echo "gpu.sh: $2" >&2; exit "$1"; }
verdict() { SUMMARY+=("$(printf '%-28s %s' "$1" "$2")"); }

# run LIMIT NAME COMMAND...: interrupted at the limit, so that pytest still writes what it has; then killed
run() {
    local limit=$1 name=$2 begun=$SECONDS status
    shift 2
    if [ "$limit" -lt 3 ]; then
        verdict "$name" "NOT RUN: no time left"
        FAILED=1
        return 1
    fi
    say "== $name, at most $limit s: $*"
    timeout --signal=INT --kill-after=15 "$limit" "$@" 2>&1 | tee -a "$LOG" "$WORK/$name.log"
    status=${PIPESTATUS[0]}
    case $status in
    0) verdict "$name" "ok, $((SECONDS - begun)) s" ;;
    124 | 137) verdict "$name" "OUT OF TIME after $((SECONDS - begun)) s" ;;
    *) verdict "$name" "FAILED with exit code $status after $((SECONDS - begun)) s" ;;
    esac
    [ "$status" -eq 0 ] || FAILED=1
    return "$status"
}

native_runs() { "$PYTHON" -c 'import sys, hyperconv; sys.exit(hyperconv.backends()["native"]["cuda"] is not None)'; }

# limit PART: its share, by weight, of the time that is left for it and the parts after it
limit() {
    local total=0 seen='' part
    for part in "${PARTS[@]}"; do
        [ "$part" = "$1" ] && seen=1
        [ -n "$seen" ] && total=$((total + WEIGHT[$part]))
    done
    echo $(((BUDGET - 15 - SECONDS) * WEIGHT[$1] / total))
}

# script LIMIT NAME OPTIONS...: one of the scripts, its figures into the working folder
script() { run "$1" "$2" "$PYTHON" -m "benchmarks.$2" --device "$DEVICE" --out "$WORK/$2.json" "${@:3}"; }

# operator LIMIT NAME PRECISION OPTIONS...: begins no layer in the last part of its time
operator() {
    local limit=$1 name=$2 precision=$3 small=()
    shift 3
    [ "$DEVICE" = cuda ] || small=(-k "3to32-25x25-b4 and forward" --cell-seconds 0.1)
    run "$limit" "$name" "${PYTEST[@]}" -q benchmarks/test_operator.py --device "$DEVICE" --precision "$precision" \
        --deadline $((limit * 4 / 5)) --benchmark-quiet --benchmark-json="$WORK/$name.json" "${small[@]}" "$@"
}

# sanitizer SECONDS: compiled and checked unwatched, then under each tool
sanitizer() {
    local end=$((SECONDS + $1)) left=4 tool backend name
    run $(($1 / 4 + 2)) sanitizer-unwatched "$PYTHON" -m benchmarks.every_kernel --device "$DEVICE"
    if ! command -v compute-sanitizer > /dev/null; then
        verdict sanitizer "skipped: compute-sanitizer is not installed"
        return
    fi
    for backend in native triton; do
        for tool in memcheck racecheck; do
            name=sanitizer-$tool-$backend
            PYTORCH_NO_CUDA_MEMORY_CACHING=1 run $(((end - SECONDS) / left)) "$name" \
                compute-sanitizer --tool "$tool" --error-exitcode 9 --print-limit 20 \
                "$PYTHON" -m benchmarks.every_kernel --device "$DEVICE" --backend "$backend" --dtypes float32 bfloat16
            left=$((left - 1))
        done
    done
}

for part in "${PARTS[@]}"; do
    [ -n "${WEIGHT[$part]:-}" ] || fail 2 "no part is called '$part': choose from ${!WEIGHT[*]}"
    [ "$part" != published ] || [ -n "${PHOTOS:-}" ] || fail 2 "published needs photos: name their folder, PHOTOS=..."
done
if [ "$DEVICE" = cuda ]; then
    "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || fail 1 "torch sees no CUDA GPU"
    GPU=$("$PYTHON" -c 'import torch; print(torch.cuda.get_device_name().lower().replace(" ", "-").replace("/", "-"))')
    ARCHITECTURE=$("$PYTHON" -c 'import torch; print("{}.{}".format(*torch.cuda.get_device_capability()))')
    [ "${BUILD:-1}" = 0 ] && native_runs ||
        TORCH_CUDA_ARCH_LIST=$ARCHITECTURE run 170 build "$PYTHON" setup.py build_ext --inplace
    SMALL=()
    CHECKED=(--dtype tf32 --dtype bfloat16)
else
    GPU=rehearsal
    SMALL=(tiny)
    CHECKED=(--dtype float32)
fi
run 60 environment "$PYTHON" -m hyperconv.cli.main info
# Most of a test is compiling its kernel, on one core.
PARALLEL=()
"$PYTHON" -c 'import xdist' 2>/dev/null && [ "$DEVICE" = cuda ] && PARALLEL=(-n "$(env -u OMP_NUM_THREADS nproc)")

for part in "${PARTS[@]}"; do
    seconds=$(limit "$part")
    case $part in
    tests) OMP_NUM_THREADS=1 run "$seconds" tests-gpu "${PYTEST[@]}" -q -rs --durations=12 "${PARALLEL[@]}" tests/gpu ;;
    suite) OMP_NUM_THREADS=1 run "$seconds" tests-all "${PYTEST[@]}" -q "${PARALLEL[@]}" tests ;;
    selftest)
        run "$seconds" selftest "$PYTHON" -m hyperconv.cli.main selftest --device "$DEVICE" \
            --json "$WORK/selftest.json" "${CHECKED[@]}"
        ;;
    machine) script "$seconds" machine ;;
    operator)
        operator $((seconds * 6 / 10)) operator-tf32 tf32 --inductor $((seconds / 8))
        operator $((seconds * 4 / 10)) operator-bf16 bf16
        ;;
    tuned)
        operator $((seconds * 6 / 10)) operator-tuned-tf32 tf32
        operator $((seconds * 4 / 10)) operator-tuned-bf16 bf16
        ;;
    gpu_operators) script "$seconds" gpu_operators --seconds $((seconds * 8 / 10)) ${SMALL:+--layers 1} ;;
    sanitizer) sanitizer "$seconds" ;;
    graph) script "$seconds" graphs ${SMALL:+--sides 8 --batch 2} ;;
    overhead) script "$seconds" overhead ${SMALL:+--calls 90} ;;
    launches)
        if [ "$DEVICE" = cuda ]; then
            script "$seconds" launches --scales 0 3 6
        else
            script "$seconds" launches --batch 2 --scales 0
        fi
        ;;
    train_step) script "$seconds" train_step --seconds 2 --scales 0 3 6 ${SMALL:+--batch 2 --scales 0} ;;
    singles) script "$seconds" singles --seconds 1.5 --stages 0 3 5 ${SMALL:+--max-size 24 --min-size 12 --photos 2 --stages 0} ;;
    headline)
        run "$seconds" headline "$PYTHON" -m benchmarks.headline ${PHOTOS:+"$PHOTOS"} --run "${RUN:-build/headline}" \
            --device "$DEVICE" --precision tf32 --seconds "$seconds" ${SMALL:+--preset tiny --iterations 2} \
            --out "$WORK/headline.json"
        ;;
    published)
        sizes=(--preset paper --max-size 250)
        [ "$DEVICE" = cuda ] || sizes=(--preset tiny --max-size 24 --iterations 2 --photos 2)
        run "$seconds" published "$PYTHON" -m benchmarks.published "$PHOTOS" "${sizes[@]}" \
            --device "$DEVICE" --precision "$([ "$DEVICE" = cuda ] && echo bf16 || echo fp32)" \
            --minutes "$(awk -v s="$seconds" 'BEGIN { print (s - 80) / 60 }')" --runs "${RUN:-build/published}" --out "${OUT:-$WORK}"
        ;;
    tune)
        # Spawning, the class in hand and the table need time of their own.
        run "$seconds" tune "$PYTHON" -m hyperconv.cli.main tune --print-shipped \
            --budget "$(awk -v s="$seconds" 'BEGIN { print (s > 40 ? s - 25 : s / 2) / 60 }')"
        ;;
    esac
done

say
RESULTS=benchmarks/results/$GPU-$(date +%Y-%m-%d)
[ "$DEVICE" = cuda ] || RESULTS=$WORK/$GPU
[ -f "$RESULTS.log" ] && cp "$RESULTS.log" "$WORK/whole.log"
"$PYTHON" -m benchmarks.collect "$WORK" --device "$DEVICE" --results "$RESULTS" > "$WORK/short.txt" 2>&1 || {
    verdict collect "FAILED"
    FAILED=1
}
{
    echo
    printf '%s\n' "${SUMMARY[@]}"
} | tee -a "$LOG" > "$WORK/summary.txt"
cat "$LOG" >> "$WORK/whole.log"
cp "$WORK/whole.log" "$RESULTS.log"
if [ -n "${OUT:-}" ]; then
    mkdir -p "$OUT"
    cp "$RESULTS".json "$RESULTS".md "$RESULTS".log "$OUT"/
    [ ! -f "$HYPERCONV_CACHE/tiles.json" ] || cp "$HYPERCONV_CACHE/tiles.json" "$OUT"/
fi
cat "$WORK/short.txt" "$WORK/summary.txt"
exit $FAILED
