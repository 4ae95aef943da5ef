"""Plans for the correlations: conv2d and masked_conv2d in one launch, input_gradient in one for each residue."""

import math
from typing import NamedTuple

from torch import Tensor

from hyperconv.activations import NONE
from hyperconv.kernels import call
from hyperconv.kernels.arithmetic import arithmetic_of
from hyperconv.kernels.checks import check_layer, check_tensor, convolved
from hyperconv.kernels.configurations import MANY_TAPS, classify, tiles
from hyperconv.kernels.correlate import correlate, correlate_thin
from hyperconv.kernels.launch import Launch, capability
from hyperconv.kernels.preparation import Preparation
from hyperconv.memory_format import channels_last

NO_MASK, MASK_RESULT, MASK_SOURCE = 0, 1, 2


class Axis(NamedTuple):
    """How a correlation runs along one axis: destination pixel t and tap j read t * step + j * spacing + first.

    The destination's pixels are every `destination_step`-th from `residue` on, `size` of them, and the taps every
    `tap_step`-th from `first_tap` on.
    """

    size: int
    taps: int
    step: int
    spacing: int
    first: int
    residue: int = 0
    destination_step: int = 1
    first_tap: int = 0
    tap_step: int = 1

    @property
    def destinations(self) -> slice:
        return slice(self.residue, None, self.destination_step)

    @property
    def weights(self) -> slice:
        return slice(self.first_tap, None, self.tap_step)


def forward_axis(size: int, taps: int, stride: int, padding: int, dilation: int) -> Axis:
    return Axis(size, taps, stride, dilation, -padding)


def gradient_axes(size: int, taps: int, stride: int, padding: int, dilation: int) -> list[Axis]:
    """The correlations that make an input gradient of `size` pixels: input pixel i = residue + stride * t gets
    tap j from the gradient at (i + padding - j * dilation) / stride, where that is whole."""
    axes = []
    tap_step = stride // math.gcd(stride, dilation)
    for residue in range(min(stride, size)):
        reached = [j for j in range(min(taps, tap_step)) if (residue + padding - j * dilation) % stride == 0]
        first_tap = reached[0] if reached else taps
        axes.append(
            Axis(
                size=-(-(size - residue) // stride),
                taps=len(range(first_tap, taps, tap_step)),
                step=1,
                spacing=-tap_step * dilation // stride,
                first=(residue + padding - first_tap * dilation) // stride,
                residue=residue,
                destination_step=stride,
                first_tap=first_tap,
                tap_step=tap_step,
            )
        )
    return axes


class Correlation:
    """One launch on views of the weight and the destination; `transposed` exchanges the weight's channel axes."""

    def __init__(
        self,
        rows: Axis,
        columns: Axis,
        source: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        mask: Tensor | None,
        destination: Tensor,
        groups: int,
        transposed: bool,
        mask_at: int,
        activation: int,
        negative_slope: float,
    ):
        self.whole = rows.destination_step == columns.destination_step == 1
        self.weight_slices = (..., rows.weights, columns.weights)
        self.destination_slices = (..., rows.destinations, columns.destinations)
        self.transposed = transposed
        self.launch, self.preparation, self.pack, self.mask_at = None, None, False, mask_at
        if rows.taps * columns.taps:
            target = self._target(destination)
            self._plan(
                rows, columns, source, self._weights(weight), bias, mask, target, groups, activation, negative_slope
            )

    def run(
        self, source: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor | None, destination: Tensor
    ) -> None:
        target = self._target(destination)
        if self.launch is None:
            target.zero_()
        else:
            weights = self._weights(weight)
            if self.preparation is not None:
                source = self.preparation.run(source, mask)
            if self.mask_at == NO_MASK:
                mask = None
            self.launch(source, packed(weights, self.transposed) if self.pack else weights, bias, mask, target)

    def _weights(self, weight: Tensor) -> Tensor:
        return weight if self.whole else weight[self.weight_slices]

    def _target(self, destination: Tensor) -> Tensor:
        return destination if self.whole else destination[self.destination_slices]

    def _plan(self, rows, columns, source, weight, bias, mask, target, groups, activation, slope) -> None:
        outputs, channels = weight.shape[1] // groups, weight.shape[2]
        if self.transposed:
            outputs, channels = channels, outputs
        samples = source.shape[0] // weight.shape[0]
        taps, pixels = rows.taps * columns.taps, rows.size * columns.size
        arithmetic, last = arithmetic_of(source), channels_last(source)
        layer = classify("correlate", arithmetic, channels, outputs, taps, pixels, last)
        chosen = tiles(
            capability(source.device), arithmetic, layer, channels * taps if layer.kind == "flat" else channels
        )
        if chosen.relaid:
            layer = classify("correlate", arithmetic, channels, outputs, taps, pixels, not last)
        flat, thin, relaid = layer.kind == "flat", layer.kind == "thin", chosen.relaid and layer.kind == "wide"
        masked = mask if self.mask_at == MASK_SOURCE and self.whole and taps >= MANY_TAPS else None
        if masked is not None or relaid:
            self.preparation = Preparation(source, masked, last != relaid, slope)
            source = self.preparation.result(source)
        if masked is not None:
            mask, self.mask_at = None, NO_MASK
        self.pack = chosen.pack
        if self.pack:
            weight = packed(weight, self.transposed)
        arguments = (
            source.stride(),
            weight_strides(weight, groups, self.transposed),
            call.strides(bias, 2),
            call.strides(mask, 4),
            target.stride(),
            samples,
            channels,
            outputs,
            groups,
            (rows.size, columns.size),
            tuple(source.shape[2:]),
            (rows.step, columns.step, rows.spacing, columns.spacing, rows.first, columns.first),
        )
        products = (
            (call.total_type(source.dtype),)
            if thin
            else (call.matrix_operand(source.dtype), "tf32" if arithmetic == "tf32" else "ieee")
        )
        constants = (
            rows.taps,
            columns.taps,
            *(() if thin else (flat,)),
            activation,
            slope,
            self.mask_at,
            *products,
            call.index_type(samples * pixels, source, weight, mask, target),
            chosen.pixels,
            chosen.pairs,
            chosen.outputs,
        )
        programs = weight.shape[0] * groups * -(-outputs // chosen.outputs) * -(-samples * pixels // chosen.pixels)
        kernel = correlate_thin if thin else correlate
        self.launch = Launch(kernel, programs, arguments, constants, chosen.warps, chosen.stages)


class Convolution:
    """conv2d and masked_conv2d: one correlation, none where the result is empty."""

    def __init__(self, input, weight, bias, mask, stride, padding, dilation, groups, activation, negative_slope):
        sets, outputs, _, *kernel = weight.shape
        geometry = (stride, padding, dilation)
        check_tensor("input", input, input, input.shape)
        height, width = size = convolved(input.shape[2:], kernel, *geometry)
        check_layer(input, input.shape[2:], weight.shape, size, input.shape[0], groups, *geometry)
        check_tensor("weight", weight, input, weight.shape)
        check_tensor("bias", bias, input, (sets, outputs))
        check_tensor("mask", mask, input, (input.shape[0], outputs, *size))
        output = call.new(input, input.shape[0], weight.shape[1], height, width)
        self.shape, self.strides = output.shape, output.stride()
        self.correlation = None
        if output.numel():
            rows, columns = map(forward_axis, (height, width), weight.shape[3:], stride, padding, dilation)
            self.correlation = Correlation(
                rows,
                columns,
                input,
                weight,
                bias,
                mask,
                output,
                groups,
                False,
                NO_MASK if mask is None else MASK_RESULT,
                activation,
                negative_slope,
            )

    def run(self, input, weight, bias, mask, output) -> None:
        if self.correlation is not None:
            self.correlation.run(input, weight, bias, mask, output)


class InputGradient:
    """input_gradient: a correlation for each residue of its pixels by the stride."""

    def __init__(self, grad, weight, mask, input_size, stride, padding, dilation, groups, negative_slope):
        geometry = (stride, padding, dilation)
        check_layer(None, input_size, weight.shape, grad.shape[2:], grad.shape[0], groups, *geometry)
        check_tensor("weight", weight, grad, weight.shape)
        check_tensor("grad", grad, grad, (grad.shape[0], weight.shape[1], *grad.shape[2:]))
        check_tensor("mask", mask, grad, grad.shape)
        result = call.new(grad, grad.shape[0], weight.shape[2] * groups, *input_size)
        self.shape, self.strides = result.shape, result.stride()
        self.correlations = []
        if result.numel():
            vertical, horizontal = map(gradient_axes, input_size, weight.shape[3:], stride, padding, dilation)
            settings = (groups, True, NO_MASK if mask is None else MASK_SOURCE, NONE, negative_slope)
            self.correlations = [
                Correlation(rows, columns, grad, weight, None, mask, result, *settings)
                for rows in vertical
                for columns in horizontal
            ]

    def run(self, grad, weight, mask, result) -> None:
        for correlation in self.correlations:
            correlation.run(grad, weight, None, mask, result)


def weight_strides(weight: Tensor, groups: int, transposed: bool) -> tuple[int, ...]:
    """(set, group, out, in, row, column) of the correlation's own channels."""
    of_set, out, into, *taps = weight.stride()
    group = weight.shape[1] // groups * out
    return (of_set, group, into, out, *taps) if transposed else (of_set, group, out, into, *taps)


def packed(weight: Tensor, transposed: bool) -> Tensor:
    """The same weight with the channels summed over innermost in memory; one set where all sets are the same."""
    order, back = ((0, 3, 4, 2, 1), (0, 4, 3, 1, 2)) if transposed else ((0, 3, 4, 1, 2), (0, 3, 4, 1, 2))
    one = weight[:1] if weight.stride(0) == 0 else weight
    return one.permute(order).contiguous().permute(back).expand(weight.shape)
