"""One side of the game: its parameters and how they move."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from hyperconv.errors import InputError
from hyperconv.gan.presets import Config
from hyperconv.gan.ranks import ALONE, Ranks


class Group(NamedTuple):
    """Parameters that learn at `pace` times the learning rate.

    average: the decay, per update, of the running average that they take when a scale ends; 0: they stay as they are.
    """

    parameters: list[nn.Parameter]
    pace: float = 1.0
    average: float = 0.0


class Player:
    """Parameters with an Adam of their own, whose learning rates are tensors: a step reads nothing on the host.

    ranks: processes that have the same parameters; their gradients are added up before each update.
    """

    def __init__(self, name: str, groups: list[Group], config: Config, ranks: Ranks = ALONE) -> None:
        self.name, self.groups, self.clip, self.ranks = name, groups, config.clip, ranks
        device = self.parameters[0].device
        parameters = [{"params": group.parameters, "lr": torch.zeros((), device=device)} for group in groups]
        self.adam = torch.optim.Adam(parameters, betas=config.betas, fused=True, capturable=device.type == "cuda")
        self.adam._warned_capturable_if_run_uncaptured = True  # the eager steps before a capture are meant
        self.averages = [[torch.zeros_like(parameter) for parameter in group.parameters] if group.average else []
                         for group in groups]

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.groups for parameter in group.parameters]

    def update(self, rate: Tensor, times: int = 1) -> None:
        """`times` steps along the gradients that the parameters hold, clipped to a norm of `clip` (None: not); they are spent.

        The fused Adam divides them as it reads them, as it does for a loss scale: clipping costs no pass of its own.
        """
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        self.ranks.add_up(gradients)
        if self.clip is not None:
            norm = nn.utils.get_total_norm(gradients, foreach=True)
            self.adam.grad_scale = ((norm + 1e-6) / self.clip).clamp(min=1)
        for settings, group in zip(self.adam.param_groups, self.groups):
            torch.mul(rate, group.pace, out=settings["lr"])
        for _ in range(times):
            self.adam.step()
        self.adam.grad_scale = None
        for group, averages in zip(self.groups, self.averages):
            if averages:
                get_ema_multi_avg_fn(group.average)(averages, group.parameters, None)
        self.forget()

    @torch.no_grad()
    def settle(self) -> None:
        """Parameters take their averages over all updates so far, which began at zero."""
        for group, averages in zip(self.groups, self.averages):
            for parameter, average in zip(group.parameters, averages):
                parameter.copy_(average / (1 - group.average ** self.adam.state[parameter]["step"]))

    def forget(self) -> None:
        """Drop the gradients."""
        self.adam.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """The optimizer's state by name, and the averages, for a checkpoint."""
        optimizer = {f"{self.name}_optimizer.{i}.{key}": value
                     for i, state in self.adam.state_dict()["state"].items() for key, value in state.items()}
        return optimizer | dict(self._named_averages())

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take the optimizer's state from what `tensors` returned. InputError if it is not there."""
        saved = self.adam.state_dict()
        for i in range(len(self.parameters)):
            prefix = f"{self.name}_optimizer.{i}."
            saved["state"][i] = {key[len(prefix):]: value for key, value in tensors.items() if key.startswith(prefix)}
            if not saved["state"][i]:
                raise InputError(f"the training state lacks the {self.name}'s optimizer: "
                                 "it was written by another version")
        self.adam.load_state_dict(saved)
        for name, average in self._named_averages():
            if name not in tensors:
                raise InputError(f"the training state lacks {name}: it was written by another version")
            average.copy_(tensors[name])

    def _named_averages(self) -> list[tuple[str, Tensor]]:
        averages = [average for group in self.averages for average in group]
        return [(f"{self.name}_average.{i}", average) for i, average in enumerate(averages)]
