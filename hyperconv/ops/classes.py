"""From a call of an operator to the class of kernel that computes it: the unit in which trust is earned and noted.

`hyperconv.kernels.configurations` defines the classes. A bias gradient, whose kernel it has no choice for, is 'sum'.
"""

from hyperconv.kernels.configurations import SMALL, Layer, classify, exchanged
from hyperconv.memory_format import channels_last

Shape = tuple[str, int, int, int, int, bool]
"""(kernel, channels summed over and outputs per group, taps, pixels per image, channels_last)."""


def shape_of(operation: str, args: tuple) -> Shape:
    """What decides the class of a call with these arguments, cheap enough for every call.

    An input gradient with a stride is several launches; the one with the most pixels stands for all.
    """
    first = args[0]
    if operation == "bias_gradient":
        _, outputs, height, width = first.shape
        return "sum", 1, outputs, 1, height * width, channels_last(first)
    second = args[1]
    if operation == "weight_gradient" or operation == "parameter_gradients":
        outputs, channels, pixels = first.shape[1] // args[-2], second.shape[1] // args[-2], first.shape[2:]
        if exchanged(channels, outputs, args[5]):
            outputs, channels, pixels = channels, outputs, second.shape[2:]
        taps = args[4][0] * args[4][1]
        return "accumulate", channels, outputs, taps, pixels[0] * pixels[1], channels_last(second)
    _, outputs, channels, rows, columns = second.shape
    if operation == "input_gradient":
        (height, width), (vertical, horizontal) = args[3], args[4]
        pixels, outputs, channels = -(-height // vertical) * -(-width // horizontal), channels, outputs // args[-2]
    else:
        (stride, padding, dilation, groups), (height, width) = args[-6:-2], first.shape[2:]
        if operation == "masked_conv2d":
            stride, padding, dilation, groups = args[-5:-1]
        outputs //= groups
        height = (height + 2 * padding[0] - dilation[0] * (rows - 1) - 1) // stride[0] + 1
        width = (width + 2 * padding[1] - dilation[1] * (columns - 1) - 1) // stride[1] + 1
        pixels = height * width
    return "correlate", channels, outputs, rows * columns, pixels, channels_last(first)


def layer_of(arithmetic: str, shape: Shape) -> Layer:
    """The class of a call with this shape."""
    kernel, channels, outputs, taps, pixels, channels_last = shape
    if kernel == "sum":
        return Layer("sum", "bias", 1, "small" if pixels < SMALL else "large", "nhwc" if channels_last else "nchw")
    return classify(kernel, arithmetic, channels, outputs, taps, pixels, channels_last)
