"""bfloat16 on matrix tiles: bit for bit where sums are exact, within PyTorch's error where they are not.

The kernels over AMX, AVX512-BF16 and their emulations are the same.
"""

import os
import platform
import subprocess
from unittest import mock

import fresh_process
import pytest
import test_low_precision
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_loop import ACTIVATE, CODES, FAMILY, Call, convolve_each, laid_out, tensors_of, weights_laid_out
from setup_script import ROOT, script

from hyperconv import use_backend
from hyperconv.ops import cpu_rule, native, results

SAME = ((1, 1), (1, 1), (1, 1), 1)
LAYOUTS = ["contiguous", "channels_last", "sliced", "transposed"]


def whole_call(
    channels,
    size,
    kernel,
    geometry,
    sets=2,
    shared=1,
    layouts=("contiguous",) * 3,
    weights="flat",
    has_bias=True,
    has_mask=True,
    seed=0,
):
    """A call of (in, out) channels per group in small whole numbers: every sum and masked value of it is exact."""
    stride, padding, dilation, groups = geometry
    generator = torch.Generator().manual_seed(seed)

    def whole(*shape):
        return torch.randint(-2, 3, shape, generator=generator).to(torch.float64)

    out = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(size, padding, dilation, kernel, stride, strict=True)
    ]
    outputs = (sets * shared, groups * channels[1], *out)
    return Call(
        input=laid_out(whole(sets * shared, groups * channels[0], *size), layouts[0]),
        weight=weights_laid_out(whole(sets, groups * channels[1], channels[0], *kernel), weights),
        bias=whole(sets, groups * channels[1]) if has_bias else None,
        geometry=geometry,
        grad=laid_out(whole(*outputs), layouts[1]),
        mask=laid_out(whole(*outputs), layouts[2]) if has_mask else None,
        negative_slope=0.25,
    )


@st.composite
def edge_calls(draw):
    """Channels around whole tiles and pairs of them, images around whole tiles of pixels; any geometry and layout."""
    channels = st.sampled_from([1, 2, 15, 16, 17, 31, 32, 33, 48, 49, 63, 64, 65, 70])
    two = lambda *values: st.tuples(st.sampled_from(values), st.sampled_from(values))
    kernel, stride, dilation = draw(two(3, 1, 2, 4)), draw(two(1, 2, 3)), draw(two(1, 2))
    padding = draw(two(1, 0, 2))
    least = [max(1, d * (k - 1) + 1 - 2 * p) for d, k, p in zip(dilation, kernel, padding, strict=True)]
    size = [n + draw(st.sampled_from([0, 1, 3, 7])) for n in least[:1]]
    size += [n + draw(st.sampled_from([0, 1, 13, 14, 15, 16, 17, 30, 33])) for n in least[1:]]
    return whole_call(
        (draw(channels), draw(channels)),
        size,
        kernel,
        (stride, padding, dilation, draw(st.integers(1, 2))),
        sets=draw(st.integers(1, 2)),
        shared=draw(st.integers(1, 2)),
        layouts=[draw(st.sampled_from(LAYOUTS)) for _ in range(3)],
        weights=draw(st.sampled_from(["contiguous", "flat", "expanded", "permuted"])),
        has_bias=draw(st.booleans()),
        has_mask=draw(st.booleans()),
        seed=draw(st.integers(0, 999)),
    )


def check_exact(call):
    """All six operations; every result is the exact one, rounded once."""
    low = call.to(torch.bfloat16)
    for name in FAMILY:
        pairs = zip(tensors_of(getattr(native, name)(*low.arguments(name))), tensors_of(call.expected(name)))
        assert all(torch.equal(output, exact.to(torch.bfloat16)) for output, exact in pairs), name
    sums = convolve_each(call.input, call.weight, call.bias, *call.geometry)
    for name in (None, "relu", "leaky_relu"):
        output = native.conv2d(low.input, low.weight, low.bias, *low.geometry, CODES[name], 0.25)
        assert torch.equal(output, ACTIVATE[name](sums, 0.25).to(torch.bfloat16)), name


@settings(max_examples=40, deadline=None, database=None, derandomize=True)
@given(edge_calls())
def check_edges(call):
    check_exact(call)


def check_several_blocks_and_chunks():
    check_exact(whole_call((64, 17), (45, 130), (3, 3), SAME, sets=1))
    check_exact(whole_call((17, 33), (31, 90), (3, 3), ((2, 1), (1, 1), (1, 2), 1), sets=1, shared=2))


def check_error_is_at_most_twice_that_of_pytorch():
    torch.manual_seed(0)
    with use_backend("native"):
        for channels in ((3, 32), (32, 32), (70, 40)):
            for activation in ACTIVATE:
                test_low_precision.test_forward("native", torch.bfloat16, channels, activation)
            for operation in FAMILY:
                test_low_precision.test_masked_and_gradients("native", torch.bfloat16, channels, operation)


def check_results_do_not_depend_on_the_number_of_threads():
    torch.manual_seed(0)
    calls = [
        whole_call((40, 20), (11, 33), (3, 3), SAME, sets=1, shared=3),
        whole_call((20, 40), (9, 9), (3, 3), ((2, 1), (1, 1), (1, 1), 2), shared=2),
    ]
    for call in calls:
        for name in ("input", "weight", "bias", "grad", "mask"):
            setattr(call, name, torch.randn_like(getattr(call, name)).bfloat16())
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            outputs = [t for name in FAMILY for t in tensors_of(getattr(native, name)(*call.arguments(name)))]
            results.append([*outputs, native.conv2d(call.input, call.weight, call.bias, *call.geometry, 3, 0.0)])
        torch.set_num_threads(1)
        assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


def check_nan_and_infinity_appear_where_they_should_and_only_there():
    input, weight = torch.randn(2, 33, 21, 18).bfloat16(), (torch.rand(2, 17, 33, 3, 3) + 0.1).bfloat16()
    input[0, 1, 10, 17] = float("nan")
    input[1, 32, 0, 0] = float("inf")
    output = native.conv2d(input, weight, None, *SAME, 0, 0.0)
    expected = convolve_each(input.float(), weight.float(), None, *SAME)
    assert torch.equal(output.isnan(), expected.isnan())
    assert torch.equal(output.isinf(), expected.isinf())
    grad = torch.randn(2, 17, 21, 18).bfloat16()
    gradient = native.weight_gradient(grad, input, None, 2, (3, 3), *SAME, 0.0)
    clean = torch.ones(2, 33, dtype=torch.bool)
    clean[0, 1] = clean[1, 32] = False
    assert gradient.transpose(1, 2)[clean].isfinite().all()
    assert gradient[0, :, 1].isnan().any()


def check_denormals_count_as_zero():
    """As the instructions have it, in both factors; and so this is no other kernel."""
    small, one = torch.full((1, 32, 4, 4), 1e-39).bfloat16(), torch.ones(1, 32, 32, 1, 1).bfloat16()
    assert small.float().min() > 0
    geometry = ((1, 1), (0, 0), (1, 1), 1)
    assert (native.conv2d(small, one, None, *geometry, 0, 0.0) == 0).all()
    assert (native.conv2d(torch.ones_like(small), one * 1e-39, None, *geometry, 0, 0.0) == 0).all()
    assert (native.weight_gradient(small, torch.ones_like(small), None, 1, (1, 1), *geometry, 0.0) == 0).all()


@pytest.fixture(scope="module")
def tiles():
    """The kinds of tiles that this machine runs."""
    return fresh_process.instruction_sets(tiles=True)


CHECKS = {name: check for name, check in globals().items() if name.startswith("check_") and name != "check_exact"}


@pytest.mark.parametrize("check", CHECKS)
def test_tiles(native_backend, tiles, check):
    assert {"amx-emulated", "avx512-bf16-emulated"} <= set(tiles)
    for name in tiles:
        fresh_process.call(CHECKS[check], instruction_set=name, algorithm="tiles")


@pytest.mark.skipif((platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="of Linux on x86-64")
@pytest.mark.parametrize(
    ("name", "trap", "flags", "emulation_flags", "instructions"),
    [
        ("amx", "amx_trap.cpp", ["-mamx-tile", "-mamx-bf16"], [], 28),
        ("avx512bf16", "dot_trap.cpp", ["-DHYPERCONV_VDPBF16PS"], ["-DHYPERCONV_EMULATE_VDPBF16PS"], 12 * 304),
    ],
)
def test_instructions_do_what_their_emulation_does(
    tmp_path, monkeypatch, name, trap, flags, emulation_flags, instructions
):
    """Bit for bit, with a handler in the place of a processor that lacks them: see trap.h."""
    monkeypatch.setattr(script, "WORK", tmp_path)
    compiler, here = script.find_compiler(), ROOT / "tests" / "ops"
    if name not in script.tile_sets(compiler):
        pytest.skip("the compiler does not know these instructions")
    command = [*compiler, "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-I", ROOT / "csrc" / "cpu"]
    objects = {tmp_path / f"{name}.o": flags, tmp_path / f"{name}_emulated.o": emulation_flags}
    for target, more in objects.items():
        own = [f"-DHYPERCONV_ISA={target.stem}", *more, "-c", here / "tile_exercise.cpp", "-o", target]
        subprocess.run([*command, *own], check=True)
    subprocess.run([*command, here / trap, *objects, "-o", tmp_path / "trap"], check=True)
    finished = subprocess.run(tmp_path / "trap", check=False, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert int(finished.stdout.split()[0]) in (0, instructions)  # that the handler carried out: none, or all


def test_nothing_untimed_is_chosen_unless_it_is_named(native_backend):
    if not os.environ.get("HYPERCONV_CPU_ISA"):
        assert native.instruction_set()[0] in ("amx", "avx512", "avx2", "baseline")


def test_why_there_is_no_amx_or_that_there_is(native_backend, tiles):
    assert (native.why_no_amx() is None) == ("amx" in tiles)


def test_auto_goes_by_what_was_measured_on_amx():
    weight, geometry = torch.zeros(2, 64, 64, 3, 3, dtype=torch.bfloat16), SAME
    small, large = (torch.zeros(2, 64, side, side, dtype=torch.bfloat16) for side in (32, 64))
    choice = lambda input: cpu_rule.choice("conv2d", (input, weight, None, *geometry, 0, 0.0))
    measured = {("conv2d", "correlate/wide/64/small/nchw"): "native"}
    with mock.patch("hyperconv.ops.cpu_rule._has_amx", lambda: True):
        with mock.patch.object(results, "FASTEST_ON_AMX", {}):
            assert (choice(small), choice(large)) == ("reference", "reference")
        with mock.patch.object(results, "FASTEST_ON_AMX", measured):
            with mock.patch.object(native, "instruction_set", lambda: ("amx", None)):
                assert (choice(small), choice(large)) == ("native", "reference")
            with mock.patch.object(native, "instruction_set", lambda: ("avx512", None)):
                assert choice(small) == "reference"


def test_auto_leaves_few_bfloat16_pixels_to_torch_where_it_has_products_of_them(native_backend):
    def choice(side, stride=1, channels=64, layout=torch.contiguous_format):
        input = torch.zeros(2, channels, side, side, dtype=torch.bfloat16).contiguous(memory_format=layout)
        weight = torch.zeros(2, channels, channels, 3, 3, dtype=torch.bfloat16)
        return cpu_rule.choice("conv2d", (input, weight, None, (stride, stride), (1, 1), (1, 1), 1, 0, 0.0))

    with mock.patch("hyperconv.ops.cpu_rule._has_amx", lambda: False):
        with mock.patch("hyperconv.ops.cpu_rule._has_bfloat16_products", lambda: True):
            assert choice(16) == choice(64, stride=2) == choice(64, 2, layout=torch.channels_last) == "reference"
            assert choice(64) == choice(24, layout=torch.channels_last) == "native"
        with mock.patch("hyperconv.ops.cpu_rule._has_bfloat16_products", lambda: False):
            assert choice(16) == choice(64, stride=2) == "native"
