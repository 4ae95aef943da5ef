"""One side of the game: its parameters and how they move."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from hyperconv.errors import InputError
from hyperconv.gan.presets import Config
from hyperconv.gan.ranks import ALONE, Ranks

LEAST_DIVIDED = 4096  # numbers of a parameter from which on processes share its update


class Group(NamedTuple):
    """Parameters that learn at `pace` times the learning rate.

    average: the decay, per update, of the running average that they take when a scale ends; 0: they stay as they are.
    """

    parameters: list[nn.Parameter]
    pace: float = 1.0
    average: float = 0.0


class Player:
    """Parameters with an Adam of their own, whose learning rates are tensors: a step reads nothing on the host.

    ranks: processes that have the same parameters; their gradients are added up before each update, and of a large
    parameter each process moves its own part, whose averages it alone keeps.
    """

    def __init__(self, name: str, groups: list[Group], config: Config, ranks: Ranks = ALONE) -> None:
        self.name, self.groups, self.clip, self.ranks = name, groups, config.clip, ranks
        self.moved = {parameter: self._own(parameter) for parameter in self.parameters}
        device = self.parameters[0].device
        settings = [
            {"params": [self.moved[parameter] for parameter in group.parameters], "lr": torch.zeros((), device=device)}
            for group in groups
        ]
        self.adam = torch.optim.Adam(settings, betas=config.betas, fused=True, capturable=device.type == "cuda")
        self.adam._warned_capturable_if_run_uncaptured = True  # the eager steps before a capture are meant

    def _own(self, parameter: nn.Parameter) -> nn.Parameter:
        """What this process moves of a parameter: all of it, or a view of its own part."""
        count = self.ranks.count
        if count == 1 or parameter.numel() < LEAST_DIVIDED or parameter.numel() % count:
            return parameter
        return nn.Parameter(self.ranks.own(parameter.detach()))

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Those of all groups, in order."""
        return [parameter for group in self.groups for parameter in group.parameters]

    def update(self, rate: Tensor, times: int = 1) -> None:
        """`times` steps along the gradients that the parameters hold, clipped to a norm of `clip` (None: not); they are spent.

        The fused Adam divides them as it reads them, as it does for a loss scale: clipping costs no pass of its own.
        """
        reached = [parameter for parameter in self.parameters if parameter.grad is not None]
        whole = [parameter.grad for parameter in reached if self.moved[parameter] is parameter]
        divided = [parameter for parameter in reached if self.moved[parameter] is not parameter]
        self.ranks.add_up(whole)
        own = self.ranks.add_up_own([parameter.grad.contiguous() for parameter in divided])
        for parameter, gradient in zip(divided, own):
            self.moved[parameter].grad = gradient
        if self.clip is not None:
            self.adam.grad_scale = ((self._norm(whole, own) + 1e-6) / self.clip).clamp(min=1)
        for settings, group in zip(self.adam.param_groups, self.groups):
            torch.mul(rate, group.pace, out=settings["lr"])
        for _ in range(times):
            self.adam.step()
            for group in self.groups:
                if group.average:
                    self._average(group)
        self.adam.grad_scale = None
        self.ranks.exchange([parameter.detach() for parameter in divided])
        self.forget()

    def _norm(self, whole: list[Tensor], own: list[Tensor]) -> Tensor:
        """Of all gradients together: those every process has, and those of which each has a part."""
        norm = nn.utils.get_total_norm(whole, foreach=True)
        if not own:
            return norm
        square = nn.utils.get_total_norm(own, foreach=True).square()
        self.ranks.add_up([square])
        return (norm.square() + square).sqrt()

    @torch.no_grad()
    def _average(self, group: Group) -> None:
        moved = [self.moved[parameter] for parameter in group.parameters if self.moved[parameter] in self.adam.state]
        averages = [self.adam.state[own].setdefault("average", torch.zeros_like(own)) for own in moved]
        get_ema_multi_avg_fn(group.average)(averages, moved, None)

    @torch.no_grad()
    def settle(self) -> None:
        """Parameters take their averages over all updates so far, which began at zero."""
        averaged = [
            (parameter, group.average)
            for group in self.groups
            if group.average
            for parameter in group.parameters
            if self.moved[parameter] in self.adam.state
        ]
        for parameter, decay in averaged:
            state = self.adam.state[self.moved[parameter]]
            self.moved[parameter].copy_(state["average"] / (1 - decay ** state["step"]))
        self.ranks.exchange([parameter.detach() for parameter, _ in averaged if self.moved[parameter] is not parameter])

    def forget(self) -> None:
        """Drop the gradients."""
        for parameter, moved in self.moved.items():
            parameter.grad = moved.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """The optimizer's state by name, for a checkpoint. Every process has to call it; rank 0 gets all of it."""
        states = self.adam.state_dict()["state"]
        return {
            f"{self.name}_optimizer.{i}.{key}": self._whole(self.parameters[i], value)
            for i, state in states.items()
            for key, value in state.items()
        }

    def _whole(self, parameter: nn.Parameter, value: Tensor) -> Tensor:
        if self.moved[parameter] is parameter or value.dim() == 0:
            return value
        gathered = self.ranks.gather(value)
        return value if gathered is None else gathered.view_as(parameter).cpu()

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take the optimizer's state from what `tensors` returned, on however many processes. InputError if it is not there."""
        saved = self.adam.state_dict()
        averaged = {parameter for group in self.groups if group.average for parameter in group.parameters}
        for i, parameter in enumerate(self.parameters):
            prefix, divided = f"{self.name}_optimizer.{i}.", self.moved[parameter] is not parameter
            state = {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
            if not state or ("average" not in state and parameter in averaged):
                raise InputError(
                    f"the training state lacks the {self.name}'s "
                    f"{'averages' if state else 'optimizer'}: it was written by another version"
                )
            saved["state"][i] = {
                key: self.ranks.own(value).clone() if divided and value.dim() else value for key, value in state.items()
            }
        self.adam.load_state_dict(saved)
