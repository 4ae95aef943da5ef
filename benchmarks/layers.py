"""The layers that are measured: the ones single-image GANs are made of."""

from __future__ import annotations

from hyperconv.bench.layer import Layer

CHANNELS = ((3, 64), (64, 64), (64, 3), (3, 32), (32, 32), (64, 1))
SIZES = ((64, 64), (25, 25), (128, 128), (250, 250), (188, 250))
DAILY_BATCHES = {25: (1, 4, 8, 16), 64: (1, 4, 8), 128: (1,), 250: (1,)}
DAILY_OPERATIONS = 2.5e9
"""What a quarter of an hour on one core has time for: the batches of each width, and operations of a forward pass."""

BATCHES = {"cpu": (4, 16, 1, 8), "cuda": (16, 64, 1, 4, 8)}


def layers(device: str, full: bool) -> list[Layer]:
    """The full list, or the part of it that is bearable every day; the telling ones come first."""
    every = [Layer(*channels, *size, batch) for batch in BATCHES[device] for size in SIZES for channels in CHANNELS]
    if full:
        return every
    if device == "cuda":
        return [layer for layer in every if layer.batch in (1, 16, 64) and layer.height != 188]
    return [
        layer
        for layer in every
        if layer.width == layer.height
        and layer.batch in DAILY_BATCHES[layer.width]
        and layer.forward_operations <= DAILY_OPERATIONS
    ]
