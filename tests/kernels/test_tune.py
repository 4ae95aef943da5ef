"""The tuner, in Triton's interpreter with a clock of its own, and the cache that it leaves."""

import json
from dataclasses import asdict, replace
from functools import partial

import pytest
import torch

from hyperconv.cli.main import main
from hyperconv.kernels import configurations, measured, operations, tune
from hyperconv.kernels.arithmetic import ARITHMETICS
from hyperconv.kernels.checked_calls import calls_of
from hyperconv.kernels.configurations import Tiles
from hyperconv.kernels.workers import Workers
from hyperconv.ops import reference

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="stands in for a GPU that is not there")

CASE = tune.Case("correlate", 4, 3, 3, "float32", batch=2, device="cpu")
GPU = "Test GPU"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """A cache folder of the test's own; nothing read from it stays in memory."""
    monkeypatch.setenv("HYPERCONV_CACHE", str(tmp_path / "cache"))
    forget()
    yield tmp_path / "cache" / "tiles.json"
    forget()


def forget():
    configurations.measured_here.cache_clear()
    measured.best.cache_clear()
    operations.forget_plans()


@pytest.fixture
def gpu(monkeypatch):
    """A GPU by name; tensors stay on the CPU."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=None: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _=None: GPU)
    return measured.title(GPU, "9.0")


def wants(pixels, pairs):
    """A clock on which the tiles of these sizes are the quickest."""

    def clock(case, tiles):
        seconds = 1 + abs(tiles.pixels - pixels) / 16 + abs(tiles.pairs - pairs)
        return lambda: seconds

    return clock


def all_right(case, candidates, seconds):
    return dict.fromkeys(candidates)


def run(cases, clock, check=all_right, seconds=60.0, **options):
    return {known.case: known for known in tune.tune(cases, seconds, check, clock, **options)}


def test_candidates_run_and_the_quickest_is_kept_and_used():
    """Some candidates of every round go through the kernels; afterwards the operators take what was found."""

    def check(case, candidates, seconds):
        return {**all_right(case, candidates, seconds), **tune.one_by_one(case, candidates[:1], seconds)}

    found = run([CASE], wants(32, 2), check, 600)[CASE]
    assert found.finished and not found.faults and len(found.tried) > 3
    assert (found.best.pixels, found.best.pairs) == (32, 2) != (found.default.pixels, found.default.pairs)
    assert found.right[found.best] > 1 == found.right[found.default]

    [record] = measured.read()[CASE.title()].values()
    assert Tiles(**record["tiles"]) == found.best and record["finished"]


def test_what_is_found_is_looked_up_before_the_rule(gpu):
    record = {"tiles": asdict(Tiles(32, 2, 4, 2, 2))}
    assert configurations.tiles("9.0", "float32", CASE.layer, 4) == CASE.default()
    measured.keep(gpu, CASE.name, record)
    forget()
    assert configurations.tiles("9.0", "float32", CASE.layer, 2) == Tiles(32, 2, 4, 2, 2)
    assert configurations.tiles("9.0", "float64", CASE.layer, 4) == CASE.default()
    assert configurations.tiles("8.0", "float32", CASE.layer, 4) == CASE.default()


def test_shipped_tiles_are_the_default_and_come_after_the_users_own(gpu, monkeypatch):
    shipped, own = Tiles(128, 4, 4), Tiles(32, 2, 4)
    monkeypatch.setitem(configurations.SHIPPED, ("9.0", "float32", str(CASE.layer)), shipped)
    assert CASE.default() == shipped == configurations.tiles("9.0", "float32", CASE.layer, 4)
    assert configurations.tiles("9.0", "float32", CASE.layer, 2) == replace(shipped, pairs=2)
    measured.keep(gpu, CASE.name, {"tiles": asdict(own)})
    forget()
    assert configurations.tiles("9.0", "float32", CASE.layer, 2) == own


def by_reference(name, factor, *arguments):
    return getattr(reference, name)(*arguments) * factor


def test_a_finished_class_is_not_measured_again_unless_asked():
    run([CASE], wants(32, 2))
    checked = []

    def watching(case, candidates, seconds):
        checked.extend(candidates)
        return all_right(case, candidates, seconds)

    assert run([CASE], wants(512, 1), watching)[CASE].best.pixels == 32 and not checked
    assert run([CASE], wants(512, 1), watching, again=True)[CASE].best.pixels == 512 and checked


def test_an_interrupted_run_goes_on_where_it_was():
    steps = tune.tune([CASE], 60, all_right, wants(512, 1))
    known = next(steps)
    before = dict(known.tried)
    steps.close()
    assert before and not known.finished
    checked = []

    def watching(case, candidates, seconds):
        checked.extend(candidates)
        return all_right(case, candidates, seconds)

    found = run([CASE], wants(512, 1), watching)[CASE]
    assert found.finished and found.best.pixels == 512
    assert not set(checked) & set(before) and before.items() <= found.tried.items()


def test_measurements_beside_another_default_are_not_continued(monkeypatch):
    run([CASE], wants(32, 2))
    monkeypatch.setitem(configurations.SHIPPED, ("9.0", "float32", str(CASE.layer)), Tiles(128, 4, 4))
    assert tune.begin(CASE).tried == {}


def test_what_is_wrong_is_left_out_with_its_reason():
    default = CASE.default()

    def check(case, candidates, seconds):
        return {tiles: "wrong result" if tiles.pixels == 32 else None for tiles in candidates}

    def clock(case, tiles):
        if tiles.pairs == 2:
            raise RuntimeError("out of resources: shared memory\nmore")
        return wants(32, 2)(case, tiles)

    found = run([CASE], clock, check)[CASE]
    assert found.finished and found.best == default
    assert "wrong result" in found.faults.values()
    assert "RuntimeError: out of resources: shared memory" in found.faults.values()
    assert all(tiles.pixels == 32 or tiles.pairs == 2 for tiles in found.faults)


def test_where_the_default_does_not_run_another_is_found():
    default = CASE.default()

    def check(case, candidates, seconds):
        return {tiles: "does not compile" if tiles == default else None for tiles in candidates}

    found = run([CASE], wants(256, 4), check)[CASE]
    assert found.finished and found.best.pixels == 256 and found.faults == {default: "does not compile"}
    assert found.base in found.right


def test_noise_does_not_replace_the_default():
    assert run([CASE], lambda case, tiles: lambda: 1 - 1e-3 * (tiles.pixels == 128))[CASE].best == CASE.default()


def test_no_time_left_keeps_what_there_is():
    assert run([CASE], wants(32, 2), seconds=0)[CASE].tried == {}
    assert measured.read() == {}


@pytest.mark.parametrize("operator", ["conv2d", "input_gradient", "masked_conv2d"])
def test_a_wrong_result_is_found(monkeypatch, operator):
    for name in ("conv2d", "input_gradient", "masked_conv2d"):
        monkeypatch.setattr(operations, name, partial(by_reference, name, 1.01 if name == operator else 1))
    tune.problems.cache_clear()
    assert f"wrong result of {operator}" in tune.fault(CASE, CASE.default())
    tune.problems.cache_clear()


@pytest.mark.parametrize(
    "channels, outputs, layout, arithmetic",
    [(3, 9, "nchw", "tf32"), (12, 10, "nhwc", "bfloat16"), (3, 3, "nchw", "bfloat16"), (3, 9, "nhwc", "float64")],
)
def test_weight_gradients_of_every_kind(channels, outputs, layout, arithmetic):
    case = tune.Case("accumulate", channels, outputs, 4, arithmetic, layout, 2, "cpu")
    assert tune.fault(case, case.default()) is None


def test_exceptions_of_a_candidate_are_its_faults(monkeypatch):
    def explode(*_):
        raise ValueError("first line\nsecond line")

    monkeypatch.setattr(tune, "fault_in", explode)
    assert tune.fault(CASE, CASE.default()) == "ValueError: first line"


def test_tiles_are_tried_inside_only():
    key = ("float32", str(CASE.layer))
    odd = Tiles(32, 1, 4, 2)
    switch = torch.backends.cudnn.conv.fp32_precision
    with tune.trying(replace(CASE, arithmetic="tf32"), odd), tune.trying(CASE, odd):
        assert torch.backends.cudnn.conv.fp32_precision == "ieee"
        assert configurations.tiles(stand_in(), *key[:1], CASE.layer, 2) == odd
    assert torch.backends.cudnn.conv.fp32_precision == switch
    assert configurations.tiles(stand_in(), *key[:1], CASE.layer, 4) == CASE.default()


def stand_in():
    return tune.capability(torch.device("cpu"))


def test_cases_cover_forward_and_backward_of_a_layer_once():
    cases = tune.cases_of([(64, 64), (3, 64), (64, 3)], (128, 25), ("tf32", "bfloat16"))
    names = [case.name for case in cases]
    assert len(names) == len(set(names))
    for kind in (
        "correlate/wide/64",
        "correlate/flat/64",
        "correlate/thin/4",
        "accumulate/wide/64",
        "accumulate/flat/64",
    ):
        for size in ("large", "small"):
            assert f"tf32 {kind}/{size}/nchw" in names and f"bfloat16 {kind}/{size}/nchw" in names


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_candidates_are_sizes_that_kernels_take(arithmetic, layout):
    layers = [(64, 64), (3, 64), (64, 3), (64, 1), (1, 1), (17, 33), (128, 256)]
    for case in tune.cases_of(layers, (128, 25), (arithmetic,), (layout,), device="cpu"):
        near = tune.neighbours(case, case.default(), 227 << 10)
        assert near and case.default() not in near
        for tiles in near:
            assert measured.usable(asdict(tiles))
            if case.layer.kind != "thin":
                assert min(tiles.pixels, tiles.pairs) >= 16 and tiles.outputs >= 8


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"devices": {}}',
        '{"format": 0, "devices": {}}',
        '{"format": 1, "devices": []}',
        '{"format": 1, "devices": {"a": 3}}',
        '{"format": 1, "devices": {"a": {"b": []}}}',
        "\0\0",
    ],
)
def test_a_broken_cache_counts_as_none_and_is_written_anew(own_cache, gpu, content, caplog):
    own_cache.parent.mkdir()
    own_cache.write_text(content)
    assert measured.read() == {} and "hyperconv tune" in caplog.text
    assert configurations.tiles("9.0", "float32", CASE.layer, 4) == CASE.default()
    measured.keep(gpu, CASE.name, {"tiles": asdict(Tiles(32, 2, 4))})
    assert list(json.loads(own_cache.read_text())["devices"]) == [gpu]


@pytest.mark.parametrize(
    "tiles",
    [
        None,
        3,
        {},
        {"pixels": 32},
        {**asdict(Tiles(32, 2, 4)), "more": 1},
        asdict(Tiles(33, 2, 4)),
        asdict(Tiles(32, 2, 4, warps=0)),
        asdict(Tiles(32, 2, 4, stages="2")),
        asdict(Tiles(32, 2, True)),
        asdict(Tiles(32, 2, 4, pack=1)),
    ],
)
def test_records_that_are_no_tiles_are_left_out(gpu, tiles):
    measured.keep(gpu, CASE.name, {"tiles": tiles})
    forget()
    assert measured.best("9.0") == {}
    assert configurations.tiles("9.0", "float32", CASE.layer, 4) == CASE.default()


@pytest.mark.parametrize("words", [("Test GPU", "Other GPU"), ("triton ", "triton 1."), ("hyperconv ", "hyperconv 9.")])
def test_measurements_of_other_hardware_and_versions_are_left_alone(gpu, words):
    measured.keep(gpu.replace(*words), CASE.name, {"tiles": asdict(Tiles(32, 2, 4))})
    forget()
    assert configurations.tiles("9.0", "float32", CASE.layer, 4) == CASE.default()
    measured.keep(gpu, CASE.name, {"tiles": asdict(Tiles(64, 2, 4))})
    assert len(measured.read()) == 2


def test_an_unreadable_cache_folder_is_no_error(monkeypatch, tmp_path, gpu):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HYPERCONV_CACHE", str(tmp_path / "file"))
    assert configurations.tiles("9.0", "float32", CASE.layer, 4) == CASE.default()


def test_workers_answer_and_survive_what_does_not_return():
    workers = Workers(dict.get, 1)
    try:
        assert workers.check({"b": "wrong"}, ["a", "b"], 60) == {"a": None, "b": "wrong"}
        assert workers.check({"a": "CUDA error: misaligned address"}, ["a"], 60)["a"].startswith("CUDA error")
        assert workers.pool is None
        workers.judge = print  # too quick to be late, but there is no time at all
        assert workers.check({}, ["a"], -1) == {} and workers.pool is None
    finally:
        workers.stop()


def answer(capsys, *arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(["tune", *arguments])
    return left.value.code, *capsys.readouterr()


def test_without_a_gpu_the_command_says_so(capsys):
    code, _, error = answer(capsys)
    assert code == 2 and len(error.splitlines()) == 1 and "sees no CUDA GPU" in error


@pytest.fixture
def command(monkeypatch, gpu):
    """The command with a small class on the CPU and a clock of its own."""
    from hyperconv.cli import tune as command

    measure = tune.tune
    monkeypatch.setattr(command, "backends", lambda: {"triton": {"cuda": None}})
    monkeypatch.setattr(tune, "cases_of", lambda *_: [CASE, replace(CASE, channels=3, outputs=1)])
    monkeypatch.setattr(Workers, "check", lambda self, *call: all_right(*call))
    monkeypatch.setattr(tune, "tune", lambda *call, again: measure(*call, wants(32, 2), again))


def test_the_command_prints_a_table_and_lines_to_ship(command, capsys):
    code, out, error = answer(capsys, "--budget", "1", "--print-shipped")
    assert code == 0, error
    assert "default" in out and "32x2x4, 4 warps" in out and "tiles.json" in out and "not finished" not in out
    assert f"('9.0', 'float32', '{CASE.layer}'): Tiles(pixels=32, pairs=2, outputs=4" in out
    assert "times the rule's pace" in out


@pytest.mark.parametrize(
    "option, value", [("--layers", "64x64"), ("--layers", "0:3"), ("--dtypes", "int8"), ("--layouts", "nwhc")]
)
def test_bad_options_are_one_line(command, capsys, option, value):
    code, _, error = answer(capsys, option, value)
    assert code == 2 and len(error.splitlines()) == 1 and value in error


def test_float64_by_plain_pytorch_is_the_loop_over_samples():
    """What candidates are compared with, compared with the gradients of a loop."""
    sample = calls_of(tune.Case("correlate", 3, 5, 6, "float64", batch=2, device="cpu"), 0)
    sums = calls_of(tune.Case("accumulate", 3, 5, 6, "float64", batch=2, device="cpu"), 0)
    assert [call.name for call in (*sample, *sums)] == [
        "conv2d",
        "input_gradient",
        "masked_conv2d",
        "parameter_gradients",
        "parameter_gradients",
    ]
    for call in (*sample, *sums):
        results = getattr(reference, call.name)(*call.run.args)
        for result, exact in zip(results if isinstance(results, tuple) else (results,), call.expected, strict=True):
            torch.testing.assert_close(result, exact)
