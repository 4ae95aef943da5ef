"""A call that does not fit is refused before a kernel could read beyond a tensor's end."""

import pytest
import torch

from hyperconv.kernels import operations

GEOMETRY = ([1, 1], [0, 0], [1, 1], 1)
INPUT, WEIGHT, BIAS = torch.randn(2, 3, 5, 5), torch.randn(2, 4, 3, 3, 3), torch.randn(2, 4)
OUTPUT = torch.randn(2, 4, 3, 3)


@pytest.fixture(autouse=True)
def no_kernel_runs(monkeypatch):
    def refuse(self, *tensors):
        raise AssertionError("a kernel was sent off")

    monkeypatch.setattr("hyperconv.kernels.launch.Launch.__call__", refuse)
    operations.forget_plans()
    yield
    operations.forget_plans()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"weight": torch.randn(2, 4, 2, 3, 3)}, "input has 3 channels"),
        ({"weight": torch.randn(3, 4, 3, 3, 3)}, "2 samples are not a multiple of 3 weight sets"),
        ({"weight": WEIGHT.double()}, "weight is torch.float64 on cpu"),
        ({"weight": torch.randn(2, 4, 3, 6, 6)}, r"a 6x6 kernel leaves \[0, 0\]"),
        ({"weight": WEIGHT.to("meta")}, "weight is torch.float32 on meta"),
        ({"bias": torch.randn(2, 3)}, r"bias has shape \(2, 3\), and the call needs \(2, 4\)"),
        ({"bias": BIAS.half()}, "bias is torch.float16"),
        ({"mask": torch.randn(2, 4, 3, 2)}, r"mask has shape \(2, 4, 3, 2\), and the call needs \(2, 4, 3, 3\)"),
        ({"mask": OUTPUT.bfloat16()}, "mask is torch.bfloat16"),
        ({"input": INPUT.int()}, "torch.int32 is not supported"),
        ({"geometry": ([1, 1], [0, 0], [1, 1], 3)}, "4 output channels are not a multiple of 3 groups"),
        ({"geometry": ([0, 1], [0, 0], [1, 1], 1)}, "out of range"),
        ({"geometry": ([1, 1], [0, -1], [1, 1], 1)}, "out of range"),
    ],
)
def test_a_convolution_that_does_not_fit(changed, message):
    call = {"input": INPUT, "weight": WEIGHT, "bias": BIAS, "mask": OUTPUT, "geometry": GEOMETRY} | changed
    with pytest.raises(ValueError, match=message):
        operations.masked_conv2d(call["input"], call["weight"], call["bias"], call["mask"], *call["geometry"], 0.1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"grad": torch.randn(2, 5, 3, 3)}, r"grad has shape \(2, 5, 3, 3\)"),
        (
            {"grad": torch.randn(2, 4, 4, 3)},
            r"a 3x3 kernel leaves \[3, 3\] of \[5, 5\] pixels, and the call has \[4, 3\]",
        ),
        ({"mask": torch.randn(2, 4, 3, 4)}, "mask has shape"),
        ({"size": [6, 5]}, r"a 3x3 kernel leaves \[4, 3\]"),
        ({"weight": WEIGHT.double()}, "weight is torch.float64"),
    ],
)
def test_an_input_gradient_that_does_not_fit(changed, message):
    call = {"grad": OUTPUT, "weight": WEIGHT, "mask": OUTPUT, "size": [5, 5]} | changed
    with pytest.raises(ValueError, match=message):
        operations.input_gradient(call["grad"], call["weight"], call["mask"], call["size"], *GEOMETRY, 0.1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"input": torch.randn(1, 3, 5, 5)}, "input has shape"),
        ({"input": INPUT.double()}, "input is torch.float64"),
        ({"mask": torch.randn(1, 4, 3, 3)}, "mask has shape"),
        ({"sets": 3}, "2 samples are not a multiple of 3 weight sets"),
        ({"kernel": [2, 3]}, r"a 2x3 kernel leaves \[4, 3\]"),
    ],
)
def test_parameter_gradients_that_do_not_fit(changed, message):
    call = {"input": INPUT, "mask": OUTPUT, "sets": 2, "kernel": [3, 3]} | changed
    with pytest.raises(ValueError, match=message):
        operations.parameter_gradients(
            OUTPUT, call["input"], call["mask"], call["sets"], call["kernel"], *GEOMETRY, 0.1
        )


@pytest.mark.parametrize(("mask", "sets"), [(torch.randn(2, 4, 3, 1), 2), (OUTPUT.double(), 2), (OUTPUT, 3)])
def test_a_bias_gradient_that_does_not_fit(mask, sets):
    with pytest.raises(ValueError, match="mask|multiple"):
        operations.bias_gradient(OUTPUT, mask, sets, 0.1)


def test_a_plan_is_of_every_argument_s_dtype(monkeypatch):
    """A second call with another dtype must not find the first one's compiled kernel."""
    monkeypatch.setattr("hyperconv.kernels.launch.Launch.__call__", lambda self, *tensors: None)
    operations.masked_conv2d(INPUT, WEIGHT, BIAS, OUTPUT, *GEOMETRY, 0.1)
    with pytest.raises(ValueError, match=r"mask is torch\.bfloat16"):
        operations.masked_conv2d(INPUT, WEIGHT, BIAS, OUTPUT.bfloat16(), *GEOMETRY, 0.1)


def test_plans_are_not_kept_without_end(monkeypatch):
    monkeypatch.setattr("hyperconv.kernels.launch.Launch.__call__", lambda self, *tensors: None)
    monkeypatch.setattr(operations, "MOST_PLANS", 3)
    for size in range(3, 12):
        operations.conv2d(torch.randn(2, 3, size, size), WEIGHT, None, *GEOMETRY, 0, 0.0)
    assert len(operations._plans) <= 3
