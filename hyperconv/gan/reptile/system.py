"""A Reptile-GAN at rest: what every domain starts from."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperconv.gan.noise import seeded
from hyperconv.gan.reptile.nets import MLP, Critic, Generator
from hyperconv.gan.reptile.presets import ReptileConfig


class ReptileGAN:
    """One flat vector of weights (P,) for each net, and the generator's statistics of batch normalisation.

    nets: {'generator', 'critic', 'mlp' and, with two MLPs, 'second_mlp'}, templates; weights: theirs.
    adapts: the nets whose weights are a task's own in the inner loop, and move towards it afterwards.
    """

    def __init__(self, config: ReptileConfig, channels: int, device: torch.device | str = "cpu") -> None:
        self.config, self.channels = config, channels
        self.nets = {
            "generator": Generator(config, channels),
            "critic": Critic(config, channels),
            "mlp": MLP(config.latent, config.latent),
        }
        if config.mlps == 2:
            self.nets["second_mlp"] = MLP(config.top, config.latent)
        self.weights = {name: net.initial(seeded(device, config.seed, name)) for name, net in self.nets.items()}
        self.statistics = {
            name: value.to(device) for name, value in self.nets["generator"].initial_statistics().items()
        }

    @property
    def device(self) -> torch.device:
        return self.weights["generator"].device

    @property
    def adapts(self) -> list[str]:
        resting = {"generator"} if self.config.generator == "outer step" else set()
        if self.config.second_mlp == "frozen":
            resting.add("second_mlp")
        return [name for name in self.nets if name not in resting]

    def tensors(self) -> dict[str, Tensor]:
        """Everything, by name, for a checkpoint."""
        weights = {f"weights.{name}": value for name, value in self.weights.items()}
        return {**weights, **{f"statistics.{name}": value for name, value in self.statistics.items()}}
