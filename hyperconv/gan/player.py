"""One side of the game: its parameters and how they move."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hyperconv.errors import InputError
from hyperconv.gan.presets import Config


class Player:
    """Parameters with an Adam of their own, whose learning rate is a tensor: a step reads nothing on the host."""

    def __init__(self, name: str, parameters: list[nn.Parameter], config: Config) -> None:
        self.name, self.parameters, self.clip = name, parameters, config.clip
        device = parameters[0].device
        self.adam = torch.optim.Adam(parameters, lr=torch.zeros((), device=device), betas=config.betas, fused=True,
                                     capturable=device.type == "cuda")
        self.adam._warned_capturable_if_run_uncaptured = True  # the eager steps before a capture are meant

    def update(self, rate: Tensor) -> None:
        """One step along the gradients that the parameters hold, clipped to a norm of `clip`; they are spent.

        The fused Adam divides them as it reads them, as it does for a loss scale: clipping costs no pass of its own.
        """
        norm = nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None], foreach=True)
        self.adam.grad_scale = ((norm + 1e-6) / self.clip).clamp(min=1)
        self.adam.param_groups[0]["lr"].copy_(rate)
        self.adam.step()
        self.adam.grad_scale = None
        self.forget()

    def forget(self) -> None:
        """Drop the gradients."""
        self.adam.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """The optimizer's state by name, for a checkpoint."""
        return {f"{self.name}_optimizer.{i}.{key}": value
                for i, state in self.adam.state_dict()["state"].items() for key, value in state.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take the optimizer's state from what `tensors` returned. InputError if it is not there."""
        saved = self.adam.state_dict()
        for i in saved["param_groups"][0]["params"]:
            prefix = f"{self.name}_optimizer.{i}."
            saved["state"][i] = {key[len(prefix):]: value for key, value in tensors.items() if key.startswith(prefix)}
            if not saved["state"][i]:
                raise InputError(f"the training state lacks the {self.name}'s optimizer: "
                                 "it was written by another version")
        self.adam.load_state_dict(saved)
