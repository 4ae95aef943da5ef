"""Photos with parameters of their own may diverge by themselves: they are put to rest, and the others go on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hyperconv.gan.player import Player

DIVERGED = 1e6  # a loss beyond this will not come back


class Safeguard:
    """Remembers every photo's weights as a scale begins, rows of the players' parameters (photos, P).

    awake (photos,): 1 for photos that learn; set to 0 where one diverged, whose weights then are those remembered.
    """

    def __init__(self, players: Sequence[Player], awake: Tensor, names: Sequence[str]) -> None:
        self.players, self.awake, self.names = players, awake, names
        self.parameters = [parameter for player in players for parameter in player.parameters]
        self.remembered = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def check(self, losses: Tensor) -> list[str]:
        """Put photos whose losses (losses, photos) say that they diverged to rest; one remark for each."""
        bad = ~(losses.isfinite() & (losses.abs() < DIVERGED)).all(dim=0)
        return self._rest(bad)

    @torch.no_grad()
    def mend(self) -> None:
        """Put photos whose weights are not finite to rest."""
        self._rest(torch.stack([~parameter.isfinite().all(dim=1) for parameter in self.parameters]).any(dim=0))

    def _rest(self, bad: Tensor) -> list[str]:
        bad = bad & (self.awake > 0)
        if not bad.any():
            return []
        self.awake[bad] = 0
        for parameter, good in zip(self.parameters, self.remembered):
            parameter[bad] = good[bad]
        for player in self.players:
            for state in player.adam.state.values():
                for average in (state["exp_avg"], state["exp_avg_sq"]):
                    average[bad] = 0
        return [
            f"{self.names[i]} diverged; it keeps the weights this scale began with, the others go on"
            for i in bad.nonzero()[:, 0].tolist()
        ]
