"""Published network weights from files, and the pixels they were trained on."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from hyperconv.errors import InputError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
NESTED = ("state_dict", "model")  # where checkpoints of a training keep the network


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or torch.save file by name; runs no code from the file.

    Of a training's checkpoint {"state_dict": ..., "epoch": ...} those of the network.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # each format has its own errors for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot be read as network weights ({reason})") from error
    if isinstance(state, dict):
        state = next((state[key] for key in NESTED if isinstance(state.get(key), dict)), state)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: holds no state_dict (names and tensors) but {type(state).__name__}")
    return state


def without_prefix(state: dict[str, Tensor], first: str) -> dict[str, Tensor]:
    """A network's entries, of which `first` is one, without what training wrappers put before their names.

    'module.encoder_q.conv1.weight' -> 'conv1.weight'. Of several such networks in a file the first.
    """
    prefixes = [key.removesuffix(first) for key in state if key == first or key.endswith(f".{first}")]
    prefix = min(prefixes, key=len, default="")
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def imagenet_scaling() -> tuple[Tensor, Tensor]:
    """Scale and shift (1, 3, 1, 1) that bring pixels in [-1, 1] to the mean 0 and deviation 1 of ImageNet's colours."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return 0.5 / std, (0.5 - mean) / std


def check_state(path: Path, name: str, state: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """InputError unless `state`, read from `path`, has the names and shapes of `expected`: the weights of `name`."""
    common = [key for key in expected if key in state]
    problems = {
        "missing": [key for key in expected if key not in common],
        "unexpected": [key for key in state if key not in common],
        "of another shape": [key for key in common if state[key].shape != expected[key].shape],
    }
    parts = [f"{len(keys)} {what} (first: {keys[0]})" for what, keys in problems.items() if keys]
    if parts:
        raise InputError(f"{path}: not the weights of {name}: tensors {', '.join(parts)}")
