"""Normalisation with an affine for every sample: `image_norm` beside what plain PyTorch offers for it.

    OMP_NUM_THREADS=1 python -m benchmarks.norms [--device cpu|cuda] [--sets 4] [--seconds 2] [--processor-time]

Two samples of every weight set, as a SinGAN draws them; on canvases that every image fills, and on some with images of
several sizes, which PyTorch's own norms do not know. Milliseconds, and how many times those of `image_norm`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.report import table
from hyperconv.bench.race import Race
from hyperconv.data import canvas
from hyperconv.nn.call import per_sample_affine
from hyperconv.nn.image_norm import EPSILON, image_norm

OURS = "image_norm"
LAYERS = ((16, 18, 24), (16, 30, 40), (32, 58, 74), (64, 128, 170))  # channels, height, width
SMALLER = ((0, 0), (2, 3), (4, 0), (0, 5))  # pixels that images of several sizes lack, in turn
Norm = Callable[[Tensor, Tensor, Tensor], Tensor]


def formula(x: Tensor, gain: Tensor, shift: Tensor, sizes: Tensor) -> Tensor:
    """Elementwise operations and sums on the pixels of each image."""
    valid, count = canvas.inside(sizes, *x.shape[-2:]), sizes.prod(dim=1).view(-1, 1, 1, 1)
    mean = torch.where(valid, x, 0).sum(dim=(2, 3), keepdim=True) / count
    variance = torch.where(valid, x - mean, 0).square().sum(dim=(2, 3), keepdim=True) / count
    return per_sample_affine((x - mean) * (variance + EPSILON).rsqrt(), gain, shift)


def instance_norm(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    return per_sample_affine(F.instance_norm(x, eps=EPSILON), gain, shift)


def forward(norm: Norm, cotangent: Tensor, *arguments: Tensor) -> tuple[Tensor, ...]:
    with torch.no_grad():
        return (norm(*arguments),)


def backward(norm: Norm, cotangent: Tensor, *arguments: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(norm(*arguments), arguments, cotangent)


def penalty(norm: Norm, cotangent: Tensor, x: Tensor, gain: Tensor, shift: Tensor) -> tuple[Tensor, ...]:
    (gradient,) = torch.autograd.grad(norm(x, gain, shift), x, cotangent, create_graph=True)
    return torch.autograd.grad((gradient.norm(dim=1) - 1).square().mean(), (x, gain))


PHASES = {"forward": forward, "and backward": backward, "penalty": penalty}


def measure(layer: tuple[int, int, int], ragged: bool, options: argparse.Namespace) -> list[list[str]]:
    """Rows of the table: every phase of one layer."""
    channels, height, width = layer
    samples, make = 2 * options.sets, partial(torch.randn, device=options.device)
    lacks = [SMALLER[sample // 2 % len(SMALLER)] if ragged else (0, 0) for sample in range(samples)]
    sizes = torch.tensor([[height - rows, width - columns] for rows, columns in lacks], device=options.device)
    valid = canvas.mask(sizes, height, width)
    shapes = (samples, channels, height, width), (options.sets, channels), (options.sets, channels)
    arguments = [make(shape).requires_grad_() for shape in shapes]
    cotangent = make(shapes[0]) * valid
    rivals = {OURS: partial(image_norm, counts=valid if ragged else None), "formula": partial(formula, sizes=sizes)}
    if not ragged:
        rivals["instance_norm"] = instance_norm
    clock = "processor" if options.processor_time and options.device == "cpu" else options.device
    rows = []
    for title, phase in PHASES.items():
        calls = {name: partial(phase, norm, cotangent, *arguments) for name, norm in rivals.items()}
        check(calls)
        seconds = Race(calls, clock, options.seconds, stays=OURS, left_behind=math.inf).run()
        rows.append(
            [
                "x".join(map(str, (samples, *layer))),
                "several sizes" if ragged else "full",
                title,
                f"{1e3 * seconds[OURS]:.3g}",
                *(
                    f"{seconds[name] / seconds[OURS]:.2f}" if name in seconds else ""
                    for name in ("formula", "instance_norm")
                ),
            ]
        )
    return rows


def check(calls: dict[str, Callable[[], tuple[Tensor, ...]]]) -> None:
    """Nothing is timed that computes something else."""
    wanted = calls["formula"]()
    for name, call in calls.items():
        for own, other in zip(call(), wanted, strict=True):
            if (own - other).abs().max() > 1e-3 * other.abs().max():
                raise SystemExit(f"{name} and formula differ by {(own - other).abs().max():.2g}; no time is reported")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--sets", type=int, default=4, help="weight sets, half as many as samples")
    parser.add_argument("--seconds", type=float, default=2.0, help="timed seconds of each row")
    parser.add_argument(
        "--processor-time", action="store_true", help="count seconds of the processor, on a busy machine"
    )
    options = parser.parse_args()
    torch.manual_seed(0)
    rows = [row for layer in LAYERS for ragged in (False, True) for row in measure(layer, ragged, options)]
    print("\n".join(table(["layer", "canvases", "phase", f"{OURS}, ms", "formula", "instance_norm"], rows)))


if __name__ == "__main__":
    main()
