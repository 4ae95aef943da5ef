"""Per-sample convolution beside every peer, layer by layer and phase by phase.

    OMP_NUM_THREADS=1 python -m pytest benchmarks/test_operator.py --benchmark-json=operator.json
    python -m benchmarks.report operator.json --out operator.md
    python -m benchmarks.plot operator.json --out operator.svg

Results are checked against float64 first; a wrong one is not timed. Then all rivals run in turn in every
round, each once before it is timed: memory that another one gave back has to be had from the system again, which
takes longer than many a layer. pytest-benchmark's own columns show this package's clock readings, and the medians of
all rivals, in seconds per call, are in `extra_info`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch

from benchmarks.environment import PRECISIONS
from benchmarks.inductor import inductor_run
from benchmarks.layers import layers
from benchmarks.timing import in_a_graph, rotating
from hyperconv.bench.layer import Layer, problem
from hyperconv.bench.phases import PHASES
from hyperconv.bench.race import Race, seconds
from hyperconv.bench.rivals import OURS, check, rivals

pytestmark = pytest.mark.timeout(0)  # the largest layers take minutes on a CPU

GRAPH_LIMIT = 64  # pixels: up to this height launches weigh as much as the work, and CUDA graphs are timed too


def pytest_generate_tests(metafunc):
    options = metafunc.config.option
    cells = layers(options.device, options.full)
    metafunc.parametrize("layer", cells, ids=str)
    metafunc.parametrize("phase", PHASES)


def test_layer(
    benchmark, layer, phase, device, dtype, precision, limits, each_backend, inductor, cell_seconds, records
):
    problems = [problem(layer, dtype, device, seed) for seed in range(problem_sets(layer, dtype, device))]
    right, wrong = check(rivals(phase, device, each_backend), phase, problems[0], PRECISIONS[precision])
    if inductor.left > 0:
        with inductor.spending():
            compiled = check({"inductor": inductor_run(phase)}, phase, problems[0], PRECISIONS[precision])
        right, wrong = {**compiled[0], **right}, {**wrong, **compiled[1]}
    own = next((name for name in right if name.startswith(OURS)), None)
    assert own, f"{OURS} is not to be timed: {wrong[OURS]}"

    calls = {name: [partial(run, p) for p in problems] for name, run in right.items()}
    runners = {name: rotating(functions) for name, functions in calls.items()}
    race = Race(runners, device, cell_seconds, own)
    others = [name for name in race.names if name != own]

    def run_the_others() -> None:
        turn = len(race.samples[own]) % max(1, len(others))
        for name in others[turn:] + others[:turn]:
            race.time(name)

    benchmark.pedantic(race.time, args=(own,), setup=run_the_others, rounds=race.rounds)
    benchmark.extra_info.update(
        phase=phase,
        device=device,
        precision=precision,
        layer=vars(layer),
        operations=layer.forward_operations,
        bytes=layer.bytes_moved(dtype.itemsize),
        limits=limits,
        seconds=race.medians(),
        least_seconds=race.least(),
        graph_seconds=graph_times(calls, layer) if device == "cuda" else {},
        not_timed=wrong,
    )
    records.append(dict(benchmark.extra_info))
    assert OURS in right, f"{OURS} by its own choice is not to be timed: {wrong[OURS]}"


def problem_sets(layer: Layer, dtype: torch.dtype, device: str) -> int:
    """How many sets of tensors to rotate among, so that a GPU's second-level cache does not hold them all."""
    if device == "cpu":
        return 1
    cache = torch.cuda.get_device_properties(0).L2_cache_size
    return min(8, 1 + 2 * cache // layer.bytes_moved(dtype.itemsize))


def graph_times(calls: dict[str, list[Callable]], layer: Layer) -> dict[str, float]:
    """Seconds per call inside a CUDA graph: what is left when launching costs nothing."""
    if layer.height > GRAPH_LIMIT:
        return {}
    times = {}
    for name, functions in calls.items():
        if name == "inductor":  # max-autotune captures its own graphs
            continue
        try:
            replay = in_a_graph(functions)
        except RuntimeError:  # what cannot be captured has no time in a graph
            continue
        seconds(replay, "cuda", 3)
        times[name] = min(seconds(replay, "cuda", 5) for _ in range(3)) / len(functions)
    return times
