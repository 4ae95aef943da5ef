"""Published network weights from files."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from hyperconv.errors import InputError


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or torch.save file by name; runs no code from the file."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # each format has its own errors for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot be read as network weights ({reason})") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: holds no state_dict (names and tensors) but {type(state).__name__}")
    return state


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
