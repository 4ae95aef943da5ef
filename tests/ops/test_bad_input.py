"""Arguments that do not fit raise one line that names them, with the numbers."""

import pytest
import torch

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
