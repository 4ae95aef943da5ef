"""Plans for the sums over pixels: weight_gradient with or without the bias's, and bias_gradient alone."""

import torch
from torch import Tensor

from hyperconv.kernels import call
from hyperconv.kernels.accumulate import accumulate, combine, sum_pixels
from hyperconv.kernels.configurations import classify, tiles
from hyperconv.kernels.launch import Launch, capability, multiprocessors

PROGRAMS_PER_MULTIPROCESSOR = 2
LEAST_TILES = 4
"""Pixel tiles a split should have at least, or its total costs more to write than to sum."""


class Accumulation:
    """The weight gradient's launch, and where pixels are split the one that adds the splits.

    Where a layer has fewer output than input channels (and stride 1), the input is the fixed tensor and the gradient the
    moving one, so that the thin side is the one flattened with the taps.
    """

    def __init__(
        self, grad: Tensor, input: Tensor, mask: Tensor | None, result: Tensor, stride, padding, dilation, groups: int,
        negative_slope: float, with_bias: bool,
    ):
        sets, channels_out, channels, *kernel = result.shape
        outputs = channels_out // groups
        self.flipped = tuple(stride) == (1, 1) and outputs <= 8 and outputs < channels
        self.with_bias = with_bias and not self.flipped
        self.sums = BiasSum(grad, mask, sets, negative_slope) if with_bias and self.flipped else None
        fixed, moving = (input, grad) if self.flipped else (grad, input)
        rows, columns = (channels, outputs) if self.flipped else (outputs, channels)
        reach = (1, 1, *(-d for d in dilation), *padding) if self.flipped else (*stride, *dilation, *(-p for p in padding))
        samples, taps, pixels = grad.shape[0] // sets, kernel[0] * kernel[1], fixed.shape[2] * fixed.shape[3]
        arithmetic = call.arithmetic(grad)
        layer = classify("accumulate", arithmetic, columns, rows, taps, pixels, call.channels_last(input))
        flat = layer.kind != "wide"
        chosen = tiles(capability(grad.device), arithmetic, layer, columns * taps if flat else columns)

        blocks = -(-rows // chosen.outputs) * (
            -(-columns * taps // chosen.pairs) if flat else -(-columns // chosen.pairs) * taps
        )
        self.splits = self._splits(sets * groups * blocks, -(-samples * pixels // chosen.pixels), grad.device)
        self.partial = call.partial_type(grad.dtype)
        self.weights, self.biases = result.numel(), sets * channels_out if self.with_bias else 0
        arguments = (
            fixed.stride(), moving.stride(), call.strides(mask), self._result_strides(result, outputs),
            self._bias_strides(channels_out),
            samples, rows, columns, groups, self.splits, tuple(fixed.shape[2:]), tuple(moving.shape[2:]), reach,
        )
        constants = (
            *kernel, flat, negative_slope, 0 if mask is None else 2 if self.flipped else 1,
            call.matrix_operand(grad.dtype),
            None if layer.kind == "thin" else "tf32" if arithmetic == "tf32" else "ieee",
            call.total_type(grad.dtype), call.index_type(samples * pixels, grad, input, mask),
            chosen.pixels, chosen.outputs, chosen.pairs,
        )
        programs = sets * groups * blocks * self.splits
        self.launch = Launch(accumulate, programs, arguments, constants, chosen.warps, chosen.stages)
        count = self.weights + self.biases
        self.combine = Launch(combine, -(-count // 1024), (self.weights, count, self.splits),
                              (call.total_type(grad.dtype), 1024), 4, 2)

    def __call__(self, grad: Tensor, input: Tensor, mask: Tensor | None, result: Tensor, bias: Tensor | None) -> None:
        fixed, moving = (input, grad) if self.flipped else (grad, input)
        own_bias = bias if self.with_bias else None
        if self.splits == 1:
            self.launch(fixed, moving, mask, result, own_bias)
        else:
            partial = torch.empty(self.splits * (self.weights + self.biases), dtype=self.partial, device=grad.device)
            self.launch(fixed, moving, mask, partial, partial[self.weights:] if self.with_bias else None)
            self.combine(partial, result, own_bias)
        if self.sums is not None:
            self.sums(grad, mask, bias)

    @staticmethod
    def _splits(programs: int, pixel_tiles: int, device: torch.device) -> int:
        wanted = -(-PROGRAMS_PER_MULTIPROCESSOR * multiprocessors(device) // programs)
        splits = max(1, min(wanted, pixel_tiles // LEAST_TILES))
        share = -(-pixel_tiles // splits)
        return -(-pixel_tiles // share)

    def _result_strides(self, result: Tensor, outputs: int) -> tuple[int, ...]:
        """(split, set, group, row, channel, tap row, tap column); a split's weights are followed by its biases."""
        of_set, out, into, *taps = result.stride()
        row, column = (into, out) if self.flipped else (out, into)
        return (self.weights + self.biases, of_set, outputs * out, row, column, *taps)

    def _bias_strides(self, channels_out: int) -> tuple[int, int]:
        return (self.weights + self.biases, channels_out)


class BiasSum:
    """bias_gradient's launch: a program for each channel of each weight set."""

    def __init__(self, grad: Tensor, mask: Tensor | None, sets: int, negative_slope: float):
        samples, pixels = grad.shape[0] // sets, grad.shape[2] * grad.shape[3]
        arguments = (grad.stride(), call.strides(mask), samples, tuple(grad.shape[2:]), grad.shape[1])
        constants = (negative_slope, mask is not None, call.total_type(grad.dtype),
                     call.index_type(samples * pixels, grad, mask), 1024)
        self.launch = Launch(sum_pixels, sets * grad.shape[1], arguments, constants, 4, 2)

    def __call__(self, grad: Tensor, mask: Tensor | None, result: Tensor) -> None:
        self.launch(grad, mask, result)
