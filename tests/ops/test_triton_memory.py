"""What the Triton kernels read and write: only elements of their tensors, and every element of the results.

The interpreter reads and writes raw memory, so a stray access is silent. Here every address is looked up among those
of the launch's tensors; and memory outside of them is NaN or a guard, in case that an access passes by the look-up.
"""

import collections
import types

import numpy as np
import pytest
import torch
from sample_loop import FAMILY
from triton_check import SAME, UNIT, check, random_call

pytest.importorskip("triton", reason="Triton is not installed")

from triton.runtime.interpreter import InterpreterBuilder

from hyperconv import kernels
from hyperconv.kernels import launch, operations

GUARD = 256  # elements; keeps results aligned as they would be
SENTINEL = 12345.0


@pytest.fixture(autouse=True)
def interpreted(triton_backend):
    """Every test of this file runs the kernels in the interpreter."""
    operations.forget_plans()


@pytest.fixture
def allocations(monkeypatch):
    """Results and partial sums come full of NaN, between guards; (buffer, elements) of each."""
    made = []

    def allocate(shape, strides, dtype):
        span = sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) + 1
        buffer = torch.full((span + 2 * GUARD,), SENTINEL, dtype=dtype)
        buffer[GUARD : GUARD + span] = float("nan")
        made.append((buffer, span))
        return buffer.as_strided(shape, strides, GUARD)

    def dense(shape, dtype):
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        return allocate(shape, torch.empty(shape, device="meta").stride(), dtype)

    def new_empty(like, shape, new=torch.Tensor.new_empty, **options):
        return new(like, shape, **options) if options else dense(shape, like.dtype)  # the interpreter's own, or ours

    monkeypatch.setattr(torch.Tensor, "new_empty", new_empty)
    monkeypatch.setattr(torch.Tensor, "new_empty_strided", lambda like, *layout: allocate(*layout, like.dtype))
    partial = types.SimpleNamespace(empty=lambda count, dtype, device: dense(count, dtype))
    monkeypatch.setattr("hyperconv.kernels.accumulation.torch", partial)
    return made


@pytest.fixture
def accesses(monkeypatch):
    """How many elements were read and written; each must be one of a tensor of its launch."""
    counts, own, launch_of = collections.Counter(), None, launch.Launch.__call__

    def note(self, *tensors):
        nonlocal own
        own = torch.cat([addresses(tensor) for tensor in tensors if tensor is not None])
        launch_of(self, *tensors)

    def look_up(kind, pointers, mask):
        touched = pointers.data[mask.data].astype(np.int64)
        assert np.isin(touched, own.numpy()).all(), f"{kind} outside of the tensors"
        counts[kind] += touched.size

    builder = InterpreterBuilder
    load, store = builder.create_masked_load, builder.create_masked_store

    def checked_load(self, pointers, mask, *rest):
        look_up("read", pointers, mask)
        return load(self, pointers, mask, *rest)

    def checked_store(self, pointers, values, mask, *rest):
        look_up("write", pointers, mask)
        return store(self, pointers, values, mask, *rest)

    monkeypatch.setattr(launch.Launch, "__call__", note)
    monkeypatch.setattr(builder, "create_masked_load", checked_load)
    monkeypatch.setattr(builder, "create_masked_store", checked_store)
    return counts


def addresses(tensor):
    """Of all elements."""
    offsets = torch.zeros(tensor.shape, dtype=torch.int64)
    for dim, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        offsets += (torch.arange(size) * stride).view(-1, *[1] * (tensor.dim() - dim - 1))
    return tensor.data_ptr() + tensor.element_size() * offsets.flatten().unique()


def surrounded(tensor):
    """(the same values with NaN before, after and between them along every dimension, the buffer that holds them)."""
    shape = [2 * size + 1 if dim == tensor.dim() - 1 else size + 2 for dim, size in enumerate(tensor.shape)]
    buffer = torch.full(shape, float("nan"), dtype=tensor.dtype)
    if tensor.dim() == 4 and tensor.stride(1) == 1:
        buffer = buffer.contiguous(memory_format=torch.channels_last)
    inner = (*(slice(1, -1) for _ in shape[:-1]), slice(1, None, 2))
    view = buffer[inner]
    view.copy_(tensor)
    return view, buffer


CALLS = {
    "thin": (2, 2, (3, 2), (4, 5), (2, 3), SAME),
    "flat": (2, 1, (3, 9), (5, 4), (2, 2), SAME),
    "flat_exchanged": (1, 2, (9, 3), (5, 4), (2, 2), SAME),
    "wide": (2, 1, (17, 18), (3, 5), (1, 2), UNIT),
    "grouped_strided": (1, 2, (2, 5), (7, 6), (2, 3), ((2, 3), (1, 2), (1, 1), 2)),
    "unreached": (1, 1, (2, 3), (7, 5), (1, 2), ((3, 2), (0, 1), (1, 2), 1)),
    "several_splits": (1, 1, (2, 5), (15, 18), (1, 2), UNIT),
}


@pytest.mark.parametrize("where", ["contiguous", "channels_last"])
@pytest.mark.parametrize("case", CALLS)
def test_nothing_stray(case, where, allocations, accesses):
    call = random_call(*CALLS[case], where=where)
    buffers = {}
    for name in ("input", "weight", "bias", "grad", "mask"):
        view, buffers[name] = surrounded(getattr(call, name))
        setattr(call, name, view)
    before = {name: buffer.clone() for name, buffer in buffers.items()}
    check(call, "leaky_relu")
    for name, buffer in buffers.items():
        assert torch.equal(buffer.view(torch.int32), before[name].view(torch.int32)), f"{name} was written"
    for buffer, span in allocations:
        assert (buffer[:GUARD] == SENTINEL).all() and (buffer[GUARD + span :] == SENTINEL).all()
        assert not buffer[GUARD : GUARD + span].isnan().any()
    assert len(allocations) >= 1 + len(FAMILY)
    assert accesses["read"] > accesses["write"] > 0


def test_poisoned_results_of_an_empty_batch(allocations):
    weight, nothing = torch.randn(2, 4, 3, 3, 3), torch.randn(0, 4, 6, 6)
    gradients = kernels.parameter_gradients(nothing, torch.randn(0, 3, 8, 8), None, 2, (3, 3), *UNIT, 0.0)
    assert all(torch.equal(result, torch.zeros_like(result)) for result in gradients)
    assert torch.equal(kernels.bias_gradient(nothing, None, 2, 0.0), torch.zeros(2, 4))
    assert kernels.input_gradient(nothing, weight, None, (8, 8), *UNIT, 0.0).shape == (0, 3, 8, 8)


@pytest.mark.parametrize("case", ["thin", "flat", "wide"])
def test_nan_of_one_sample_stays_in_its_weight_set(case):
    """Samples share tiles of pixels only within their weight set, and there with a sum of their own."""
    sets, _, *rest = CALLS[case]
    call = random_call(sets, 2, *rest, masked=False)
    call.input[1], call.grad[1] = float("nan"), float("nan")
    for operation in FAMILY:
        result = getattr(kernels, operation)(*call.arguments(operation))
        for one in result if isinstance(result, tuple) else (result,):
            per_sample = one.shape[0] == call.input.shape[0]
            clean = [0, 2, 3] if per_sample else [1]
            assert one[clean].isfinite().all() and one[1 if per_sample else 0].isnan().any()


@pytest.mark.parametrize("channels", [(3, 4), (4, 3)], ids=str)
def test_nan_of_one_channel_stays_out_of_the_weight_gradient_of_others(channels):
    call = random_call(2, 1, channels, (5, 6), (2, 2), UNIT, masked=False)
    call.input[0, 1, 4, 5] = float("nan")
    gradient = kernels.weight_gradient(*call.arguments("weight_gradient"))
    clean = torch.ones(2, channels[0], dtype=torch.bool)
    clean[0, 1] = False
    assert gradient.transpose(1, 2)[clean].isfinite().all()
    assert gradient[0, :, 1].isnan().any()
