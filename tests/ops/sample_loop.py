"""The meaning of the operators, sample by sample: a loop of `F.conv2d`, and random calls to compare."""

import dataclasses

import torch
import torch.nn.functional as F
from hypothesis import strategies as st

from hyperconv.ops import native

ACTIVATE = {
    None: lambda z, slope: z,
    "relu": lambda z, slope: torch.relu(z),
    "leaky_relu": F.leaky_relu,
    "tanh": lambda z, slope: torch.tanh(z),
}
CODES = {None: 0, "relu": 1, "leaky_relu": 2, "tanh": 3}
# All operators but the forward convolution.
FAMILY = ("masked_conv2d", "input_gradient", "weight_gradient", "bias_gradient", "parameter_gradients")


def convolve_each(input, weight, bias, *geometry):
    """Sample n with weight set n // (N // B), one `F.conv2d` each."""
    samples, sets = input.shape[0], weight.shape[0]
    outputs = [
        F.conv2d(
            input[n : n + 1],
            weight[n * sets // samples],
            None if bias is None else bias[n * sets // samples],
            *geometry,
        )
        for n in range(samples)
    ]
    return torch.cat(outputs)


def tensors_of(result) -> tuple[torch.Tensor, ...]:
    """The outputs of an operator, one or several."""
    return (result,) if isinstance(result, torch.Tensor) else tuple(result)


def mask_values(mask, negative_slope):
    return (mask > 0).to(mask.dtype) * (1 - negative_slope) + negative_slope


@dataclasses.dataclass
class Call:
    """Arguments of one call of the family; `geometry` is (stride, padding, dilation, groups)."""

    input: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor | None
    geometry: tuple
    grad: torch.Tensor
    mask: torch.Tensor | None
    negative_slope: float

    def to(self, dtype):
        """The same call in another dtype; layouts of the tensors are kept."""
        tensors = {name: getattr(self, name) for name in ("input", "weight", "bias", "grad", "mask")}
        return dataclasses.replace(self, **{n: t if t is None else t.to(dtype) for n, t in tensors.items()})

    def arguments(self, operation: str) -> tuple:
        sets, kernel, tail = (
            self.weight.shape[0],
            tuple(self.weight.shape[3:]),
            (*self.geometry, self.negative_slope),
        )
        return {
            "masked_conv2d": (self.input, self.weight, self.bias, self.mask, *tail),
            "input_gradient": (self.grad, self.weight, self.mask, tuple(self.input.shape[2:]), *tail),
            "weight_gradient": (self.grad, self.input, self.mask, sets, kernel, *tail),
            "bias_gradient": (self.grad, self.mask, sets, self.negative_slope),
            "parameter_gradients": (self.grad, self.input, self.mask, sets, kernel, *tail),
        }[operation]

    def expected(self, operation: str) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """What the operator must return, from the loop and PyTorch's own derivatives of it."""
        return self.all_expected((operation,))[operation]

    def all_expected(self, operations=FAMILY) -> dict[str, torch.Tensor | tuple[torch.Tensor, torch.Tensor]]:
        """The same of several operators, whose gradients take one backward pass."""
        m = 1.0 if self.mask is None else mask_values(self.mask, self.negative_slope)
        expected = {}
        if "masked_conv2d" in operations:
            expected["masked_conv2d"] = m * convolve_each(self.input, self.weight, self.bias, *self.geometry)
        if expected.keys() != set(operations):
            bias = self.weight.new_zeros(self.weight.shape[:2])
            variables = [t.detach().clone().requires_grad_() for t in (self.input, self.weight, bias)]
            output = convolve_each(*variables, *self.geometry)
            by_input, by_weight, by_bias = torch.autograd.grad(output, variables, m * self.grad)
            expected |= {
                "input_gradient": by_input,
                "weight_gradient": by_weight,
                "bias_gradient": by_bias,
                "parameter_gradients": (by_weight, by_bias),
            }
        return expected


def laid_out(values, layout: str):
    """The same values in another memory layout."""
    if layout == "channels_last":
        return values.contiguous(memory_format=torch.channels_last)
    if layout == "sliced":
        padded = F.pad(values, (1, 2, 0, 1))
        return padded[..., : values.shape[-2], 1 : 1 + values.shape[-1]]
    if layout == "transposed":
        return values.transpose(2, 3).contiguous().transpose(2, 3)
    return values.contiguous()


def weights_laid_out(weight, layout: str):
    """(B, ...) weights as a view into a flat (B, P) buffer, one set expanded to all, or permuted."""
    if layout == "flat":
        flat = torch.randn(weight.shape[0], weight[0:1].numel() + 7, dtype=weight.dtype)
        flat[:, 3 : 3 + weight[0:1].numel()] = weight.flatten(1)
        return flat[:, 3 : 3 + weight[0:1].numel()].unflatten(1, weight.shape[1:])
    if layout == "expanded":
        return weight[:1].expand_as(weight)
    if layout == "permuted":
        return weight.transpose(1, 2).contiguous().transpose(1, 2)
    return weight.contiguous()


@st.composite
def calls(draw, dtype=torch.float64):
    small = st.integers(1, 3)
    sets, shared, groups = draw(small), draw(small), draw(st.integers(1, 2))
    channels_in, channels_out = draw(small), draw(small)
    kernel, stride = draw(st.tuples(st.integers(1, 4), small)), draw(st.tuples(small, small))
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 3)))
    smallest = [max(1, d * (k - 1) + 1 - 2 * p) for d, k, p in zip(dilation, kernel, padding)]
    size = [least + draw(st.integers(0, 7)) for least in smallest]
    out = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in zip(size, padding, dilation, kernel, stride)]

    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    random = lambda *shape: torch.randn(*shape, generator=generator, dtype=dtype)
    layouts = st.sampled_from(["contiguous", "channels_last", "sliced", "transposed"])
    weights = st.sampled_from(["contiguous", "flat", "expanded", "permuted"])
    weight = random(sets, groups * channels_out, channels_in, *kernel)
    outputs = (sets * shared, groups * channels_out, *out)
    return Call(
        input=laid_out(random(sets * shared, groups * channels_in, *size), draw(layouts)),
        weight=weights_laid_out(weight, draw(weights)),
        bias=random(sets, groups * channels_out) if draw(st.booleans()) else None,
        geometry=(stride, padding, dilation, groups),
        grad=laid_out(random(*outputs), draw(layouts)),
        mask=laid_out(random(*outputs), draw(layouts)) if draw(st.booleans()) else None,
        negative_slope=draw(st.sampled_from([0.0, 0.2])),
    )


def call_of(draw, sets, shared, channels, kernel, size, geometry):
    """A call of these shapes in float64, weights of a network's size, every tensor in a layout drawn for it."""
    (channels_in, channels_out), groups = channels, geometry[3]
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    random = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    layouts = st.sampled_from(["contiguous", "channels_last", "sliced", "transposed"])
    input = random(sets * shared, groups * channels_in, *size)
    weight = random(sets, groups * channels_out, channels_in, *kernel) / (channels_in * kernel[0] * kernel[1]) ** 0.5
    shape = convolve_each(input, weight, None, *geometry).shape
    return Call(
        input=laid_out(input, draw(layouts)),
        weight=weights_laid_out(weight, draw(st.sampled_from(["contiguous", "flat", "expanded", "permuted"]))),
        bias=random(sets, groups * channels_out) if draw(st.booleans()) else None,
        geometry=geometry,
        grad=laid_out(random(*shape), draw(layouts)),
        mask=laid_out(random(*shape), draw(layouts)) if draw(st.booleans()) else None,
        negative_slope=0.2,
    )


def largest_errors(backend, call, dtype):
    """{operator: largest error of a backend, relative to the largest value} of `call` in `dtype`, beside this loop."""
    low = call.to(dtype)
    exact = low.to(torch.float64)
    family = exact.all_expected()
    pairs = {name: (getattr(backend, name)(*low.arguments(name)), right) for name, right in family.items()}
    sums = convolve_each(exact.input, exact.weight, exact.bias, *exact.geometry)
    for activation, code in CODES.items():
        output = backend.conv2d(low.input, low.weight, low.bias, *low.geometry, code, 0.2)
        pairs[f"conv2d, {activation}"] = output, ACTIVATE[activation](sums, 0.2)
    return {
        name: max(
            ((one.double() - right).abs().max() / right.abs().max().clamp(min=1)).item()
            for one, right in zip(tensors_of(ours), tensors_of(expected), strict=True)
        )
        for name, (ours, expected) in pairs.items()
    }


def check_every_dtype(call):
    """Native is right to the precision of each dtype."""
    tolerances = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2**-7, torch.float16: 2**-10}
    for dtype, tolerance in tolerances.items():
        for name, error in largest_errors(native, call, dtype).items():
            assert error <= tolerance, f"{name} in {dtype}: error {error:.1e}, expected at most {tolerance:.0e}"


def check_errors(channels, size, kernel=3, geometry=((1, 1), (1, 1), (1, 1), 1), shared=1):
    """float32 errs by at most twice what PyTorch does, by root mean square, on inputs and weights such as a network has."""
    torch.manual_seed(0)
    channels_in, channels_out = channels
    input, weight = (
        torch.randn(2 * shared, channels_in, *size),
        torch.randn(2, channels_out, channels_in, kernel, kernel),
    )
    weight *= (2 / (kernel**2 * channels_in)) ** 0.5
    grad = torch.randn_like(convolve_each(input, weight, None, *geometry))
    call = Call(input, weight, None, geometry, grad, None, 0.0)
    for name in ("masked_conv2d", "input_gradient", "weight_gradient"):
        exact = call.to(torch.float64).expected(name)
        error, pytorchs = (
            (result.double() - exact).square().mean().sqrt()
            for result in (getattr(native, name)(*call.arguments(name)), call.expected(name))
        )
        # PyTorch has several algorithms; a last place of the result's own size is nobody's error.
        least = torch.finfo(torch.float32).eps * exact.square().mean().sqrt()
        assert error <= 2 * torch.maximum(pytorchs, least), f"{name}: {error:.2e}, and PyTorch's is {pytorchs:.2e}"
