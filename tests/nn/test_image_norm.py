from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperconv.data import canvas
from hyperconv.nn.image_norm import image_norm

SIZES = torch.tensor([[3, 5], [4, 2], [4, 5], [2, 4]])


def counts_of(kind, height=4, width=5):
    """None; of a canvas with images of several sizes; or whatever numbers, as of an image larger than it was in training."""
    if kind == "alike":
        return None
    if kind == "masked":
        return canvas.mask(SIZES, height, width)
    return torch.rand(len(SIZES), 1, height, width, generator=torch.Generator().manual_seed(1))


def plainly(x, gain, shift, counts=None):
    """Written as it is said."""
    counts = torch.ones_like(x[:, :1]) if counts is None else counts.to(x.dtype)
    counts = counts / counts.sum(dim=(2, 3), keepdim=True)
    rows = len(x) // len(gain)
    mean = (counts * x).sum(dim=(2, 3), keepdim=True)
    variance = (counts * (x - mean).square()).sum(dim=(2, 3), keepdim=True)
    gain, shift = (each.repeat_interleave(rows, dim=0)[:, :, None, None] for each in (gain, shift))
    return (x - mean) / (variance + 1e-5).sqrt() * gain + shift


def arguments(samples=4, sets=2, channels=3, height=4, width=5, dtype=torch.float64):
    source = torch.Generator().manual_seed(samples + 10 * channels)
    shapes = (samples, channels, height, width), (sets, channels), (sets, channels)
    return [torch.randn(shape, generator=source, dtype=dtype, requires_grad=True) for shape in shapes]


def penalised(norm, x, gain, shift):
    """Gradients of a penalty on those of a norm's output, which also reads the output's gradients by gain and shift."""
    grads = torch.autograd.grad(norm(x, gain, shift).sin().sum(), (x, gain, shift), create_graph=True)
    return torch.autograd.grad(sum(grad.square().sum() for grad in grads), (x, gain, shift))


@pytest.mark.parametrize("kind", ["alike", "masked", "any"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_value_gradients_and_penalty_are_those_of_the_plain_formula(kind, dtype):
    counts, exact = counts_of(kind), arguments()
    norm, reference = partial(image_norm, counts=counts), partial(plainly, counts=counts)
    given = [each.detach().to(dtype).requires_grad_() for each in exact]
    bounds = {"atol": 1e-4, "rtol": 1e-4} if dtype == torch.float32 else {}
    close = partial(torch.testing.assert_close, check_dtype=False, **bounds)
    close(norm(*given), reference(*exact))
    for take in (lambda f, a: torch.autograd.grad(f(*a).sin().sum(), a), lambda f, a: penalised(f, *a)):
        for own, wanted in zip(take(norm, given), take(reference, exact)):
            close(own, wanted)


@pytest.mark.parametrize("kind", ["alike", "masked", "any"])
def test_gradients(kind):
    norm = partial(image_norm, counts=counts_of(kind))
    assert torch.autograd.gradcheck(norm, arguments())
    assert torch.autograd.gradgradcheck(norm, arguments())


@settings(max_examples=20)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 6), st.integers(1, 6), st.booleans())
def test_shapes(sets, rows, channels, height, width, channels_last):
    x, gain, shift = arguments(sets * rows, sets, channels, height, width)
    x = x.detach().contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    torch.testing.assert_close(image_norm(x, gain, shift), plainly(x, gain, shift))


def test_is_batch_norm_of_one_image_whatever_is_beside_it():
    x, gain, shift = arguments(sets=4)
    counts = counts_of("masked")
    together = canvas.crop(image_norm(x, gain, shift, counts), SIZES)
    for i, alone in enumerate(canvas.crop(x, SIZES)):
        wanted = F.batch_norm(alone[None], None, None, gain[i], shift[i], training=True)
        torch.testing.assert_close(together[i], wanted[0])


def test_low_precision_is_computed_in_float32_and_returned_as_it_came():
    x, gain, shift = arguments(dtype=torch.bfloat16)
    own = image_norm(x, gain, shift)
    assert own.dtype == torch.bfloat16
    assert torch.equal(own, image_norm(x.float(), gain.float(), shift.float()).bfloat16())


def test_a_large_mean_costs_no_more_precision_than_it_has_to():
    x, gain, shift = (each.detach() for each in arguments())
    for kind in ("alike", "masked"):
        counts = counts_of(kind)
        own = image_norm((x + 100).float(), gain.float(), shift.float(), counts)
        wanted = plainly((x + 100).float().double(), gain, shift, counts)
        torch.testing.assert_close(own.double(), wanted, atol=2e-4, rtol=1e-4)


def test_a_third_derivative_is_refused_where_pixels_do_not_count_alike():
    x, gain, shift = arguments()
    (grad,) = torch.autograd.grad(image_norm(x, gain, shift, counts_of("masked")).sin().sum(), x, create_graph=True)
    (grad,) = torch.autograd.grad(grad.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()
