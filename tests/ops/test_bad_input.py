"""Arguments that do not fit raise one line that names them, with the numbers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.fx.experimental.proxy_tensor import make_fx

from hyperconv import hyper_conv2d


def zeros(*shape, **options):
    return torch.zeros(shape, **options)


INPUT, WEIGHT, BIAS = zeros(4, 3, 8, 8), zeros(2, 6, 3, 3, 3), zeros(2, 6)

BAD = {
    "channels": (
        (zeros(4, 5, 8, 8), WEIGHT),
        {},
        ValueError,
        r"\(4, 5, 8, 8\).*\(2, 6, 3, 3, 3\).*3 channels.*has 5",
    ),
    "sets": ((zeros(5, 3, 8, 8), WEIGHT), {}, ValueError, "N = 5 .*multiple of the weight's B = 2"),
    "no_sets": ((INPUT, zeros(0, 6, 3, 3, 3)), {}, ValueError, "N = 4 .*B = 0"),
    "fewer_samples": ((zeros(1, 3, 8, 8), WEIGHT), {}, ValueError, "N = 1 .*B = 2"),
    "unbatched": ((zeros(3, 8, 8), WEIGHT), {}, ValueError, r"input must be \(N, C_in, H, W\).*\(3, 8, 8\)"),
    "input_dims": ((zeros(8, 8), WEIGHT[0]), {}, ValueError, r"input must be .*\(8, 8\)"),
    "weight_dims": ((INPUT, zeros(6, 3, 3)), {}, ValueError, r"weight must be .*\(6, 3, 3\)"),
    "bias": (
        (INPUT, WEIGHT, zeros(2, 5)),
        {},
        ValueError,
        r"bias must be \(B, C_out\) = \(2, 6\), got \(2, 5\)",
    ),
    "bias_dims": (
        (INPUT, WEIGHT, zeros(6)),
        {},
        ValueError,
        r"bias must be \(B, C_out\) = \(2, 6\), got \(6,\)",
    ),
    "shared_bias": ((INPUT, WEIGHT[0], BIAS), {}, ValueError, r"bias must be \(6,\) .*got \(2, 6\)"),
    "groups": ((INPUT, WEIGHT), {"groups": 4}, ValueError, "groups = 4 does not divide .*3.*6"),
    "groups_0": ((INPUT, WEIGHT), {"groups": 0}, ValueError, "groups = 0"),
    "groups_fit": (
        (INPUT, WEIGHT),
        {"groups": 3},
        ValueError,
        "with groups = 3 this weight takes 9 channels",
    ),
    "too_small": ((zeros(4, 3, 2, 8), WEIGHT), {}, ValueError, r"no output pixel.*\(2, 8\).*\(3, 3\)"),
    "dilated": ((INPUT, WEIGHT), {"dilation": (1, 4)}, ValueError, r"no output pixel.*\(8, 8\).*\(1, 4\)"),
    "stride_0": ((INPUT, WEIGHT), {"stride": 0}, ValueError, "stride .*at least 1, got 0"),
    "dilation_0": ((INPUT, WEIGHT), {"dilation": (1, 0)}, ValueError, r"dilation .*at least 1, got \(1, 0\)"),
    "padding": ((INPUT, WEIGHT), {"padding": -1}, ValueError, "padding .*at least 0, got -1"),
    "padding_3": ((INPUT, WEIGHT), {"padding": (1, 1, 1)}, ValueError, r"padding .*two.*\(1, 1, 1\)"),
    "padding_name": ((INPUT, WEIGHT), {"padding": "full"}, ValueError, "'full'.*'same', 'valid'"),
    "same_stride": ((INPUT, WEIGHT), {"padding": "same", "stride": 2}, ValueError, r"'same'.*\(2, 2\)"),
    "activation": ((INPUT, WEIGHT), {"activation": "gelu"}, ValueError, "'gelu'.*'leaky_relu'"),
    "kernel_0": ((INPUT, zeros(2, 6, 3, 0, 3)), {}, ValueError, r"\(2, 6, 3, 0, 3\)"),
    "integers": ((INPUT.int(), WEIGHT.int()), {}, TypeError, "torch.int32"),
    "complex": ((INPUT.cfloat(), WEIGHT.cfloat()), {}, TypeError, "torch.complex64"),
    "dtypes": ((INPUT, WEIGHT.double()), {}, TypeError, "input is torch.float32 and weight torch.float64"),
    "bias_dtype": (
        (INPUT, WEIGHT, BIAS.half()),
        {},
        TypeError,
        "input is torch.float32 and bias torch.float16",
    ),
    "stride_kind": ((INPUT, WEIGHT), {"stride": 1.5}, TypeError, "stride must be one int or two, got 1.5"),
    "strides_kind": ((INPUT, WEIGHT), {"stride": (1, 1.5)}, TypeError, r"stride must be .* got \(1, 1.5\)"),
    "padding_kind": ((INPUT, WEIGHT), {"padding": None}, TypeError, "padding must be one int or two, got None"),
    "groups_kind": ((INPUT, WEIGHT), {"groups": 1.0}, TypeError, "groups must be an int, got 1.0"),
    "input_kind": (([[1.0]], WEIGHT), {}, TypeError, "input must be a Tensor, got list"),
    "array": ((INPUT.numpy(), WEIGHT), {}, TypeError, "input must be a Tensor, got ndarray"),
    "weight_kind": ((INPUT, [1.0]), {}, TypeError, "weight must be a Tensor, got list"),
    "weight_none": ((INPUT, None), {}, TypeError, "weight must be a Tensor, got NoneType"),
    "bias_kind": ((INPUT, WEIGHT, 1.0), {}, TypeError, "bias must be a Tensor, got float"),
    "shared_bias_kind": ((INPUT, WEIGHT[0], True), {}, TypeError, "bias must be a Tensor, got bool"),
    "slope": ((INPUT, WEIGHT), {"negative_slope": None}, TypeError, "negative_slope must be a real number.* NoneType"),
    "learned_slope": (
        (INPUT, WEIGHT),
        {"activation": "leaky_relu", "negative_slope": torch.nn.Parameter(torch.tensor(0.1))},
        TypeError,
        "negative_slope must be a real number, got Parameter",
    ),
    "activations": ((INPUT, WEIGHT), {"activation": ["relu"]}, ValueError, r"\['relu'\]; choose .*'leaky_relu'"),
    "sparse": ((INPUT.to_sparse(), WEIGHT), {}, TypeError, "input is torch.sparse_coo.*to_dense"),
    "sparse_weight": ((INPUT, WEIGHT.to_sparse()), {}, TypeError, "weight is torch.sparse_coo.*to_dense"),
    "no_pixels": ((zeros(2, 3, 0, 8), WEIGHT), {"padding": 2}, ValueError, r"\(2, 3, 0, 8\).*only N and B may be 0"),
    "devices": ((INPUT, WEIGHT.to("meta")), {}, ValueError, "weight is on meta and input on cpu"),
}


@pytest.mark.parametrize("case", BAD)
def test_raises_with_the_numbers(case):
    arguments, options, error, message = BAD[case]
    with pytest.raises(error, match=message) as raised:
        hyper_conv2d(*arguments, **options)
    assert "\n" not in str(raised.value)


def test_float64_and_float32_do_not_mix_under_autocast_either():
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(TypeError, match="float64"):
        hyper_conv2d(INPUT.double(), WEIGHT)


def test_numbers_of_other_kinds_do_as_in_pytorch():
    input, weight = torch.randn(2, 3, 9, 9), torch.randn(4, 3, 3, 3)
    two = np.int64(2)
    for options in ({"stride": two}, {"padding": (two, 1), "dilation": [two, two]}, {"groups": np.int64(1)}):
        torch.testing.assert_close(hyper_conv2d(input, weight, **options), F.conv2d(input, weight, **options))
    ours = hyper_conv2d(input, weight, activation="leaky_relu", negative_slope=np.float32(0.5))
    torch.testing.assert_close(ours, F.leaky_relu(F.conv2d(input, weight), 0.5))


def test_a_symbolic_padding_is_traced():
    def padded(input, weight, like):
        return hyper_conv2d(input, weight, padding=like.shape[0])

    tensors = torch.randn(2, 3, 9, 9), torch.randn(2, 4, 3, 3, 3), torch.zeros(2)
    traced = make_fx(padded, tracing_mode="symbolic")(*tensors)
    torch.testing.assert_close(traced(*tensors), padded(*tensors))
