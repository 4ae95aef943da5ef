"""Random weights of Inception v3 under the names and in the shapes of pytorch-fid's published file."""

import torch

FRONT = {
    "Conv2d_1a_3x3": (32, 3, 3, 3),
    "Conv2d_2a_3x3": (32, 32, 3, 3),
    "Conv2d_2b_3x3": (64, 32, 3, 3),
    "Conv2d_3b_1x1": (80, 64, 1, 1),
    "Conv2d_4a_3x3": (192, 80, 3, 3),
}


def published_state():
    """Every tensor of pytorch-fid's file by name; those behind the front take no memory, on disk neither."""
    entries = {}

    def conv(name, in_channels, out_channels, kernel):
        entries[name] = (out_channels, in_channels, *kernel)

    square, wide, high, point = (3, 3), (1, 7), (7, 1), (1, 1)
    entries.update(FRONT)
    for name, width, pooled in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
        conv(f"Mixed_{name}.branch1x1", width, 64, point)
        conv(f"Mixed_{name}.branch5x5_1", width, 48, point)
        conv(f"Mixed_{name}.branch5x5_2", 48, 64, (5, 5))
        conv(f"Mixed_{name}.branch3x3dbl_1", width, 64, point)
        conv(f"Mixed_{name}.branch3x3dbl_2", 64, 96, square)
        conv(f"Mixed_{name}.branch3x3dbl_3", 96, 96, square)
        conv(f"Mixed_{name}.branch_pool", width, pooled, point)
    conv("Mixed_6a.branch3x3", 288, 384, square)
    conv("Mixed_6a.branch3x3dbl_1", 288, 64, point)
    conv("Mixed_6a.branch3x3dbl_2", 64, 96, square)
    conv("Mixed_6a.branch3x3dbl_3", 96, 96, square)
    for name, inner in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        conv(f"Mixed_{name}.branch1x1", 768, 192, point)
        conv(f"Mixed_{name}.branch7x7_1", 768, inner, point)
        conv(f"Mixed_{name}.branch7x7_2", inner, inner, wide)
        conv(f"Mixed_{name}.branch7x7_3", inner, 192, high)
        conv(f"Mixed_{name}.branch7x7dbl_1", 768, inner, point)
        for step, kernel in ((2, high), (3, wide), (4, high)):
            conv(f"Mixed_{name}.branch7x7dbl_{step}", inner, inner, kernel)
        conv(f"Mixed_{name}.branch7x7dbl_5", inner, 192, wide)
        conv(f"Mixed_{name}.branch_pool", 768, 192, point)
    conv("Mixed_7a.branch3x3_1", 768, 192, point)
    conv("Mixed_7a.branch3x3_2", 192, 320, square)
    conv("Mixed_7a.branch7x7x3_1", 768, 192, point)
    conv("Mixed_7a.branch7x7x3_2", 192, 192, wide)
    conv("Mixed_7a.branch7x7x3_3", 192, 192, high)
    conv("Mixed_7a.branch7x7x3_4", 192, 192, square)
    for name, width in (("7b", 1280), ("7c", 2048)):
        conv(f"Mixed_{name}.branch1x1", width, 320, point)
        conv(f"Mixed_{name}.branch3x3_1", width, 384, point)
        conv(f"Mixed_{name}.branch3x3_2a", 384, 384, (1, 3))
        conv(f"Mixed_{name}.branch3x3_2b", 384, 384, (3, 1))
        conv(f"Mixed_{name}.branch3x3dbl_1", width, 448, point)
        conv(f"Mixed_{name}.branch3x3dbl_2", 448, 384, square)
        conv(f"Mixed_{name}.branch3x3dbl_3a", 384, 384, (1, 3))
        conv(f"Mixed_{name}.branch3x3dbl_3b", 384, 384, (3, 1))
        conv(f"Mixed_{name}.branch_pool", width, 192, point)

    source, state = torch.Generator().manual_seed(0), {}
    for name, shape in entries.items():
        state |= _layer(name, shape, source if name in FRONT else None)
    state["fc.weight"] = torch.zeros(1).expand(1008, 2048)
    state["fc.bias"] = torch.zeros(1).expand(1008)
    return state


def _layer(name, shape, source):
    """Convolution and norm; without a source of random numbers, of zeros that take no memory."""
    channels = shape[:1]

    def draw(shape, least, most):
        if source is None:
            return torch.zeros(1).expand(shape)
        return torch.rand(shape, generator=source) * (most - least) + least

    spread = (6 / (shape[1] * shape[2] * shape[3])) ** 0.5  # He: the signal neither grows nor dies
    return {
        f"{name}.conv.weight": draw(shape, -spread, spread),
        f"{name}.bn.weight": draw(channels, 0.8, 1.2),
        f"{name}.bn.bias": draw(channels, -0.2, 0.2),
        f"{name}.bn.running_mean": draw(channels, -0.2, 0.2),
        f"{name}.bn.running_var": draw(channels, 0.8, 1.2),
        f"{name}.bn.num_batches_tracked": torch.tensor(1000),
    }
