"""The model of one photo by itself: a small file with one weight set, which needs no hypernetwork."""

from __future__ import annotations

import json
from dataclasses import replace
from os import PathLike

import torch
from torch import Tensor

from hyperconv.data.collection import Collection
from hyperconv.data.tensor_file import TensorFile, write_tensors
from hyperconv.errors import InputError
from hyperconv.gan.photo_model import PhotoModel
from hyperconv.gan.presets import Config
from hyperconv.gan.single import SingleGANs
from hyperconv.nn.layout import WeightSet

HOLDS = "the model of a photo"


def export(path: str | PathLike, config: Config, photo: Collection, model: PhotoModel, critic: WeightSet) -> None:
    """Write the model of the one photo of a collection, made by a meta-GAN with this configuration, and its critic.

    One safetensors file: the photo's pyramid, a flat weight set per scale, the critic's, noise amplitudes, z*.
    """
    tensors = {f"generator{scale}": weights.flat for scale, weights in enumerate(model.weights)}
    tensors |= {"critic": critic.flat, "amplitudes": model.amplitudes, "z": model.fixed[0]}
    config = replace(config, system="adapted", backbone_weights=None)
    about = {"holds": HOLDS, "config": json.dumps(config.to_json()), **photo.about()}
    write_tensors(path, {**tensors, **photo.tensors()}, about)


def load_exported(path: str | PathLike, device: torch.device | str = "cpu") -> tuple[SingleGANs, Collection, Tensor]:
    """What `export` wrote, as GANs of one photo; amplitudes (1, scales). InputError where anything in it has changed."""
    try:
        file = TensorFile(path)
        if file.about.get("holds") != HOLDS:
            raise ValueError("written by something else")
        config = Config.from_json(json.loads(file.about["config"]))
        collection = Collection.of(file)
        system = SingleGANs(config, collection)
        system.grow(sum(name.startswith("generator") for name in file.names))
        state = {f"generators.{scale}.flat": file.tensor(f"generator{scale}") for scale in range(system.scales)}
        system.load_state_dict({**state, "discriminator.flat": file.tensor("critic")})
        amplitudes, z = file.tensor("amplitudes").to(device), file.tensor("z").to(device)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} is neither the folder of a run nor a whole file that `hyperconv adapt --export` wrote ({reason})"
        ) from None
    system = system.to(device)
    system.fixed = [z, *[None] * (system.scales - 1)]
    return system, collection, amplitudes
