"""The layer that runs CUDA kernels on the CPU: it computes what a GPU does, and reports what a GPU would not."""

import ctypes
import re
import subprocess
import sys

import numpy as np
import pytest
from host_library import LAYER, HostLibrary, build, sanitized_environment
from setup_script import nvcc_or_skip, script

SOURCE = LAYER / "layer_kernels.cu"
MISTAKES = re.search(r"enum Mistake \{(.*?)\}", SOURCE.read_text(), re.DOTALL).group(1)
MISTAKES = {name: number for number, name in enumerate(re.findall(r"\w+", MISTAKES))}


@pytest.fixture(scope="module")
def layer(tmp_path_factory):
    return HostLibrary(str(build(SOURCE, tmp_path_factory.mktemp("layer"))))


def pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)


def uniform(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def test_tiled_product(layer):
    a, b, c = uniform(2, 48, 48)[0], uniform(3, 48, 48)[2], np.empty((48, 48), np.float32)
    layer.run_tiled_product(pointer(a), pointer(b), pointer(c), 48)
    np.testing.assert_allclose(c, a @ b, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("blocks", "threads"), [(1, 1024), (8, 128)])
def test_reduction_by_shuffles(layer, blocks, threads):
    values, total = uniform(1000), np.zeros(1, np.float32)
    layer.run_reduce(pointer(values), 1000, blocks, threads, pointer(total))
    assert total[0] == pytest.approx(values.sum(), abs=1e-4)


def test_warp_operations(layer):
    results = np.zeros((13, 32), np.int32)
    layer.run_warp_operations(pointer(results))
    lanes = np.arange(32)
    expected = [
        np.full(32, 5),
        lanes // 8 * 8 + 3,
        np.where(lanes < 3, lanes, lanes - 3),
        np.where(lanes % 16 + 3 > 15, lanes, lanes + 3),
        np.where((lanes ^ 9) < lanes // 8 * 8 + 8, lanes ^ 9, lanes),
        np.full(32, sum(1 << lane for lane in range(0, 32, 3))).astype(np.uint32).astype(np.int32),
        np.ones(32),
        np.zeros(32),
        np.where(lanes < 8, 7, 31),
        np.where(lanes % 2 == 0, lanes + 1, 30),
        np.full(32, 5),
        np.ones(32),
        np.ones(32),
    ]
    np.testing.assert_array_equal(results, np.stack(expected))


def run_pipeline(layer, waits):
    values, sums = uniform(10, 64), np.empty(64, np.float32)
    layer.run_pipeline(waits, pointer(values), 10, 7, pointer(sums))
    return sums, np.roll(values[:7].sum(axis=0), -1)


def test_asynchronous_copies(layer):
    sums, expected = run_pipeline(layer, waits=True)
    np.testing.assert_allclose(sums, expected, rtol=0, atol=1e-5)


def test_a_missing_wait_shows(layer):
    sums, _ = run_pipeline(layer, waits=False)
    assert np.isnan(sums).all()


def run_stencil(layer, buffers):
    values = np.arange(64, dtype=np.float32)
    expected = values
    for _ in range(5):
        expected = np.roll(expected, 1) + np.roll(expected, -1)
    layer.run_stencil(buffers, pointer(values), 5)
    return values, expected


def test_two_buffers_need_one_barrier_and_one_buffer_needs_two(layer):
    values, expected = run_stencil(layer, buffers=2)
    np.testing.assert_array_equal(values, expected)
    values, expected = run_stencil(layer, buffers=1)
    assert (values != expected).any()


def sixteen_bits(values, is_half):
    """The bits of values rounded to the type, and the rounded values."""
    if is_half:
        rounded = values.astype(np.float16)
        return rounded.view(np.uint16), rounded.astype(np.float32)
    bits = values.view(np.uint32)
    bits = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return bits, (bits.astype(np.uint32) << 16).view(np.float32)


@pytest.mark.parametrize("is_half", [False, True], ids=["bfloat16", "float16"])
def test_matrix_instructions_of_16_bits(layer, is_half):
    a, exact_a = sixteen_bits(uniform(16, 32), is_half)
    b, exact_b = sixteen_bits(uniform(8, 32), is_half)
    d = np.empty((16, 8), np.float32)
    layer.run_product_16_bits(is_half, pointer(a), pointer(b), pointer(d))
    np.testing.assert_allclose(d, exact_a @ exact_b.T, rtol=0, atol=1e-5)


def test_matrix_instruction_of_tf32(layer):
    a, b, d = uniform(16, 8), uniform(8, 8), np.empty((16, 8), np.float32)
    layer.run_product_tf32(pointer(a), pointer(b), pointer(d))
    exact = [((values.view(np.uint32) + 0x1000) & 0xFFFFE000).view(np.float32) for values in (a, b)]
    np.testing.assert_allclose(d, exact[0] @ exact[1], rtol=0, atol=1e-6)
    assert np.abs(d - a @ b).max() > 1e-5


def test_conversions_round_as_cuda_does(layer):
    bits = np.random.default_rng(1).integers(0, 2**32, 20000, dtype=np.uint32)
    edges = [0, 0x80000000, 0x7F800000, 0xFF800000, 0x477FEFFF, 0x477FF000, 0x33000000, 0x33000001]
    near_half = np.arange(0x38000000, 0x48000000, 0x1801, dtype=np.uint32)
    values = np.concatenate([bits, np.array(edges, np.uint32), near_half]).view(np.float32)
    values = values[~np.isnan(values)]
    halves, bfloats = np.empty(values.size, np.uint16), np.empty(values.size, np.uint16)
    back = np.empty((values.size, 2), np.float32)
    layer.run_conversions(pointer(values), values.size, pointer(halves), pointer(bfloats), pointer(back))
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(halves, values.astype(np.float16).view(np.uint16))
    np.testing.assert_array_equal(back[:, 0], halves.view(np.float16).astype(np.float32))
    expected, exact = sixteen_bits(values, is_half=False)
    np.testing.assert_array_equal(bfloats, expected)
    np.testing.assert_array_equal(back[:, 1], exact)


def run_mistaken(layer, mistake, blocks=1):
    values = np.zeros(64, np.float32)
    layer.run_mistaken(MISTAKES[mistake], blocks, pointer(values))
    return values


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("kSomeReturn", r"deadlock: 40 threads from 0 on wait in __syncthreads at .*layer_kernels.cu:\d+; "),
        ("kSomeReturn", r"24 threads from 40 on returned, in block \(0, 0, 0\)"),
        ("kTwoBarriers", r"different barriers: 32 threads from 0 on wait .*; 1 thread from 32 on wait"),
        ("kLaneMissing", r"deadlock: 62 threads from 0 on wait in __shfl_sync .*; 2 threads from 3 on"),
        ("kMisalignedCopy", r"cp.async with a misaligned end, in thread \(1, 0, 0\)"),
        ("kCopyBeyond", r"cp.async to an address outside shared memory"),
    ],
)
def test_a_mistake_is_an_error_and_the_next_launch_runs(layer, mistake, message):
    with pytest.raises(RuntimeError, match=message):
        run_mistaken(layer, mistake)
    test_tiled_product(layer)


@pytest.mark.parametrize("mistake", ["kUnwrittenRead", "kUnwrittenObject", "kNextBlock"])
def test_what_no_thread_of_the_block_wrote_is_not_a_number(layer, mistake):
    assert np.isnan(run_mistaken(layer, mistake, blocks=2)).all()


def sanitized_run(library, sanitizer, call):
    """What a Python process prints that loads the sanitized library as `layer` and has 64 floats `values`."""
    setup = f"import ctypes; layer = ctypes.CDLL({str(library)!r}); values = (ctypes.c_float * 64)()"
    command, environment = [sys.executable, "-c", f"{setup}; {call}"], sanitized_environment(sanitizer)
    finished = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    return finished.returncode, finished.stderr


@pytest.fixture(scope="module")
def watched_memory(tmp_path_factory):
    return build(SOURCE, tmp_path_factory.mktemp("address"), "address")


@pytest.mark.parametrize(
    ("mistake", "report"),
    [
        ("kDynamicOverflow", "heap-buffer-overflow"),
        ("kObjectOverflow", "heap-buffer-overflow"),
        ("kInnerOverflow", "index 5 out of bounds"),
        ("kGlobalOverflow", "heap-buffer-overflow"),
        ("kMisalignedVector", "misaligned address"),
    ],
)
def test_the_address_sanitizer_sees_every_access(watched_memory, mistake, report):
    call = f"layer.run_mistaken({MISTAKES[mistake]}, 1, values)"
    code, text = sanitized_run(watched_memory, "address", call)
    assert code != 0
    assert report in text
    assert "in mistaken" in text or "layer_kernels.cu" in text


def test_the_address_sanitizer_is_content_after_a_deadlock(watched_memory):
    """An abandoned fiber leaves nothing behind that the next ones stumble over."""
    calls = f"layer.run_mistaken({MISTAKES['kSomeReturn']}, 1, values); layer.cuda_host_error(); "
    calls += "layer.run_stencil(2, values, 5); layer.run_barriers(3, 64, 9, values)"
    assert sanitized_run(watched_memory, "address", calls) == (0, "")


def test_the_thread_sanitizer_sees_a_missing_barrier(tmp_path):
    library = build(SOURCE, tmp_path, "thread")
    _, text = sanitized_run(library, "thread", "layer.run_stencil(1, values, 5)")
    assert "data race" in text
    assert sanitized_run(library, "thread", "layer.run_stencil(2, values, 5)") == (0, "")


def test_the_kernels_are_cuda(tmp_path):
    nvcc = nvcc_or_skip()
    flags = [*script.CUDA_FLAGS, *script.CODE_FLAGS, *script.gencode_flags(["8.0"])]
    headers = [*script.torch_headers(script.find_torch()), f"-I{LAYER.parents[1] / 'csrc' / 'cuda'}"]
    strict = ["-Werror", "all-warnings"]
    command = [*nvcc, *flags, *strict, *headers, "-c", SOURCE, "-o", tmp_path / "layer.o"]
    finished = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
