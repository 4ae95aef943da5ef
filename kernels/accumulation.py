"""Plans for the sums over pixels: weight_gradient with or without the bias's, and bias_gradient alone."""

import math

import torch
from torch import Tensor

from hyperconv.kernels import call
from hyperconv.kernels.accumulate import accumulate, combine, sum_pixels
from hyperconv.kernels.arithmetic import arithmetic_of
from hyperconv.kernels.checks import check_layer, check_tensor
from hyperconv.kernels.configurations import classify, exchanged, tiles
from hyperconv.kernels.launch import Launch, capability, multiprocessors
from hyperconv.kernels.preparation import Preparation
from hyperconv.memory_format import channels_last

PROGRAMS_PER_MULTIPROCESSOR = 4
"""Three or four run at once. Measured on an H200: with 8 the best tiles are 6 % slower, with 16 17 %."""
ONE_TAP, TAPS_INNERMOST, CHANNELS_INNERMOST = 0, 1, 2  # what a tile of pairs holds, see `tiles.pairs`
LEAST_TILES = 4
"""Pixel tiles a split should have at least, or its total costs more to write than to sum."""


class Accumulation:
    """The weight gradient's launch, and where pixels are split the one that adds the splits.

    Where `configurations.exchanged` says so, the input is the fixed tensor and the gradient the moving one.
    """

    def __init__(
        self, grad, input, mask, weight_sets, kernel_size, stride, padding, dilation, groups, negative_slope, with_bias
    ):
        outputs, channels = grad.shape[1] // groups, input.shape[1] // groups
        self.shape = (weight_sets, grad.shape[1], channels, *kernel_size)
        geometry = (groups, stride, padding, dilation)
        check_layer(input, input.shape[2:], self.shape, grad.shape[2:], grad.shape[0], *geometry)
        check_tensor("input", input, grad, (grad.shape[0], *input.shape[1:]))
        check_tensor("mask", mask, grad, grad.shape)
        self.exchanged = exchanged(channels, outputs, stride)
        self.with_bias = with_bias and not self.exchanged
        self.sums = BiasSum(grad, mask, weight_sets, negative_slope) if with_bias and self.exchanged else None
        self.weights, self.biases = math.prod(self.shape), weight_sets * grad.shape[1] if self.with_bias else 0
        self.launch = self.of_grad = self.of_input = None
        self.masked = False
        if grad.numel() and self.weights:
            self._plan(grad, input, mask, stride, padding, dilation, groups, negative_slope)

    def _plan(self, grad, input, mask, stride, padding, dilation, groups, slope) -> None:
        sets, channels_out, channels, *kernel = self.shape
        rows, columns = channels_out // groups, channels
        fixed, moving = grad, input
        reach = (*stride, *dilation, *(-p for p in padding))
        if self.exchanged:
            rows, columns, fixed, moving = columns, rows, input, grad
            reach = (1, 1, *(-d for d in dilation), *padding)
        samples, taps, pixels = grad.shape[0] // sets, kernel[0] * kernel[1], fixed.shape[2] * fixed.shape[3]
        arithmetic = arithmetic_of(grad)
        layer = classify("accumulate", arithmetic, columns, rows, taps, pixels, channels_last(input))
        few = layer.kind != "wide"
        chosen = tiles(capability(grad.device), arithmetic, layer, columns * taps if few else columns)
        flat = TAPS_INNERMOST if few else CHANNELS_INNERMOST if chosen.pairs > columns else ONE_TAP

        if layer.kind == "wide" and (mask is not None or chosen.relaid):
            self.of_grad = Preparation(grad, mask, channels_last(input) != chosen.relaid, slope)
            fixed, mask = self.of_grad.result(grad), None
        if layer.kind == "wide" and chosen.relaid:
            self.of_input = Preparation(input, None, not channels_last(input), slope)
            moving = self.of_input.result(input)
        self.masked = mask is not None

        pair_blocks = -(-columns * taps // chosen.pairs) if flat else -(-columns // chosen.pairs) * taps
        programs = sets * groups * -(-rows // chosen.outputs) * pair_blocks
        self.splits = splits(programs, -(-samples * pixels // chosen.pixels), grad.device)
        arguments = (
            fixed.stride(),
            moving.stride(),
            call.strides(mask, 4),
            self._result_strides(channels_out // groups),
            (self.weights + self.biases, channels_out),
            samples,
            rows,
            columns,
            groups,
            self.splits,
            tuple(fixed.shape[2:]),
            tuple(moving.shape[2:]),
            reach,
        )
        total = call.total_type(grad.dtype)
        constants = (
            *kernel,
            flat,
            slope,
            0 if mask is None else 2 if self.exchanged else 1,
            call.matrix_operand(grad.dtype),
            None if layer.kind == "thin" else "tf32" if arithmetic == "tf32" else "ieee",
            total,
            call.index_type(samples * pixels, fixed, moving, mask),
            chosen.pixels,
            chosen.outputs,
            chosen.pairs,
        )
        self.launch = Launch(accumulate, programs * self.splits, arguments, constants, chosen.warps, chosen.stages)
        self.partial, count = call.partial_type(grad.dtype), self.weights + self.biases
        self.combine = Launch(combine, -(-count // 1024), (self.weights, count, self.splits), (total, 1024), 4, 2)

    def run(self, grad: Tensor, input: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None) -> None:
        own_bias = bias if self.with_bias else None
        own_grad = grad if self.of_grad is None else self.of_grad.run(grad, mask)
        own_input = input if self.of_input is None else self.of_input.run(input, None)
        own_mask = mask if self.masked else None
        fixed, moving = (own_input, own_grad) if self.exchanged else (own_grad, own_input)
        if self.launch is None:
            weight.zero_()
            if own_bias is not None:
                own_bias.zero_()
        elif self.splits == 1:
            self.launch(fixed, moving, own_mask, weight, own_bias)
        else:
            partial = torch.empty(self.splits * (self.weights + self.biases), dtype=self.partial, device=grad.device)
            self.launch(fixed, moving, own_mask, partial, partial[self.weights :] if self.with_bias else None)
            self.combine(partial, weight, own_bias)
        if self.sums is not None:
            self.sums.run(grad, mask, bias)

    def _result_strides(self, outputs: int) -> tuple[int, ...]:
        """(split, set, group, row, channel, tap row, tap column); a split's weights are followed by its biases."""
        _, channels_out, channels, *kernel = self.shape
        taps = kernel[0] * kernel[1]
        row, column = (taps, channels * taps) if self.exchanged else (channels * taps, taps)
        of_set, of_group = channels_out * channels * taps, outputs * channels * taps
        return (self.weights + self.biases, of_set, of_group, row, column, kernel[1], 1)


def splits(programs: int, pixel_tiles: int, device: torch.device) -> int:
    """How many ranges to split the pixels into, so that all multiprocessors have work; none of them empty."""
    wanted = -(-PROGRAMS_PER_MULTIPROCESSOR * multiprocessors(device) // programs)
    share = -(-pixel_tiles // max(1, min(wanted, pixel_tiles // LEAST_TILES)))
    return -(-pixel_tiles // share)


class BiasSum:
    """bias_gradient: a program for each channel of each weight set."""

    def __init__(self, grad: Tensor, mask: Tensor | None, weight_sets: int, negative_slope: float):
        self.shape = (weight_sets, grad.shape[1])
        if grad.shape[0] % weight_sets if weight_sets else grad.shape[0]:
            raise ValueError(f"{grad.shape[0]} samples are not a multiple of {weight_sets} weight sets")
        check_tensor("mask", mask, grad, grad.shape)
        self.launch = None
        if grad.numel():
            samples, pixels = grad.shape[0] // weight_sets, grad.shape[2] * grad.shape[3]
            arguments = (grad.stride(), call.strides(mask, 4), samples, tuple(grad.shape[2:]), grad.shape[1])
            index = call.index_type(samples * pixels, grad, mask)
            block, warps = (4096, 8) if samples * pixels >= 4096 else (1024, 4)
            constants = (negative_slope, mask is not None, call.total_type(grad.dtype), index, block)
            self.launch = Launch(sum_pixels, weight_sets * grad.shape[1], arguments, constants, warps, 2)

    def run(self, grad: Tensor, mask: Tensor | None, result: Tensor) -> None:
        if self.launch is None:
            result.zero_()
        else:
            self.launch(grad, mask, result)
