"""Calls every class of kernel once on small tensors, for compute-sanitizer to watch; prints what it called.

    compute-sanitizer --tool memcheck python -m benchmarks.every_kernel [--device cpu|cuda] [--backend triton]

Sizes leave every tile partly filled. Results are compared with plain PyTorch, so that the watched run is a right one.
Run it once unwatched first: compilers are slow under the sanitizer, and Triton keeps what it compiled on disk.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

import hyperconv

TOLERANCE = {torch.float64: 1e-11, torch.float32: 3e-3, torch.bfloat16: 3e-2, torch.float16: 5e-3}
LAYERS = (
    # channels in, out; kernel; stride; dilation; groups
    (3, 20, (3, 3), (1, 1), (1, 1), 1),
    (18, 20, (3, 3), (1, 1), (1, 1), 1),
    (20, 3, (3, 3), (1, 1), (1, 1), 1),
    (20, 1, (3, 2), (2, 1), (1, 2), 1),
    (34, 36, (1, 3), (1, 1), (1, 1), 2),
)
SIZE = (11, 13)


def calls(layer: tuple, dtype: torch.dtype, device: str, last: bool) -> dict[str, tuple]:
    """Arguments of all operators for one layer, three weight sets, six samples."""
    channels, outputs, kernel, stride, dilation, groups = layer

    def normal(*shape: int) -> Tensor:
        values = torch.randn(shape).to(device, dtype)
        return values.contiguous(memory_format=torch.channels_last) if last and len(shape) == 4 else values

    made = [
        (side + 2 - d * (taps - 1) - 1) // s + 1
        for side, taps, s, d in zip(SIZE, kernel, stride, dilation, strict=True)
    ]
    input, weight, bias = (
        normal(6, channels, *SIZE),
        normal(3, outputs, channels // groups, *kernel),
        normal(3, outputs),
    )
    grad, mask = normal(6, outputs, *made), normal(6, outputs, *made)
    geometry = (list(stride), [1, 1], list(dilation), groups)
    sums = (grad, input, mask, 3, list(kernel), *geometry, 0.2)
    return {
        "conv2d": (input, weight, bias, *geometry, 3, 0.2),
        "masked_conv2d": (input, weight, None, mask, *geometry, 0.2),
        "input_gradient": (grad, weight, mask, list(SIZE), *geometry, 0.2),
        "weight_gradient": sums,
        "parameter_gradients": sums,
        "bias_gradient": (grad, mask, 3, 0.2),
    }


def error(results: object, expected: object) -> float:
    pairs = zip(results, expected, strict=True) if isinstance(results, tuple) else [(results, expected)]
    return max(((a.cpu().double() - b).norm() / b.norm()).item() for a, b in pairs)


def exact(name: str, arguments: tuple) -> object:
    """By plain PyTorch in float64, on the CPU: the sanitizer is to watch no other kernels."""
    arguments = tuple(a.cpu().double() if isinstance(a, Tensor) else a for a in arguments)
    with hyperconv.use_backend("reference"):
        return getattr(torch.ops.hyperconv, name)(*arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--backend", nargs="+", default=["triton", "native"], choices=("triton", "native"))
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16", "float64"])
    options = parser.parse_args()
    torch.manual_seed(0)
    wrong, called = [], 0
    for backend in options.backend:
        if reason := hyperconv.backends()[backend][options.device]:
            print(f"{backend}: {reason}")
            continue
        for dtype in (getattr(torch, name) for name in options.dtypes):
            for layer in LAYERS:
                for last in (False, True) if dtype == torch.bfloat16 else (False,):
                    for name, arguments in calls(layer, dtype, options.device, last).items():
                        expected = exact(name, arguments)
                        with hyperconv.use_backend(backend):
                            results = getattr(torch.ops.hyperconv, name)(*arguments)
                        called += 1
                        if not error(results, expected) <= TOLERANCE[dtype]:
                            wrong.append(f"{backend} {name} {dtype} {layer}: {error(results, expected):.1e}")
    print(f"{called} calls, {len(wrong)} wrong", *wrong, sep="\n")
    raise SystemExit(bool(wrong) or not called)


if __name__ == "__main__":
    main()
