"""Training of a pyramid: coarse to fine, one round of the game per step."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperconv.data.collection import Collection
from hyperconv.errors import InputError
from hyperconv.gan import memory
from hyperconv.gan.divergence import Safeguard
from hyperconv.gan.draw import Draws
from hyperconv.gan.graph import graphed
from hyperconv.gan.parts import cut
from hyperconv.gan.photo_model import PhotoModel
from hyperconv.gan.player import Player
from hyperconv.gan.precision import arithmetic
from hyperconv.gan.ranks import ALONE, Ranks
from hyperconv.gan.run import Run, build_system, load_system, system_tensors
from hyperconv.gan.step import Step
from hyperconv.gan.training_loop import TrainingLoop

BESIDE_IMAGES = 2048  # the work of embedding and optimizers, as pixels of image


class Trainer(TrainingLoop):
    """Trains a system on a collection and keeps its run folder.

    Step t of scale s draws everything random from (seed, s, t), so a resumed run takes the very steps the
    uninterrupted one would have taken. ranks: processes that train it together (`check_ranks` says how many can), each
    with the same arguments but for the device; all of them see the run's folder, rank 0 writes there.
    """

    headline = "reconstruction"

    def __init__(
        self,
        run: Run,
        collection: Collection,
        device: torch.device | str = "cpu",
        *,
        checkpoint_every: int | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        super().__init__(run, device, checkpoint_every, ranks)
        self.photos = len(collection) if self.config.alone else min(self.config.batch_size, len(collection))
        with torch.device("meta"):  # shapes alone
            outline = build_system(self.config, collection, pretrained=False)
        self.collection = collection.to(device) if memory.can_keep(collection, self.device) else collection
        self.plans = memory.plan_scales(
            outline, collection, ranks.share(self.photos), memory.free_bytes(self.device), str(self.device), ranks.count
        )
        self.everyone = torch.arange(len(collection))
        self.costs = [sizes.double().prod(dim=1).mean().item() + BESIDE_IMAGES for sizes in collection.sizes]
        self.awake = torch.ones(len(collection), device=device)
        self.contexts = None  # of every photo, once they no longer change
        if run.has("training_state"):
            self.system, self.amplitudes, tensors, where = load_system(run, collection, "training_state", device)
            self.awake = tensors.pop("awake").to(device)
            self.scale, self.step = where["scale"], where["step"]
            self.begin_scale(tensors)
        else:
            self.system = build_system(self.config, collection).to(device)
            self.system.prepare(self.collection)
            self.amplitudes = torch.zeros(len(collection), self.config.scale_count, device=device)
            self.begin_scale()
        if ranks.leads:
            run.forget_metrics_after(self.scale, self.step)

    @property
    def progress(self) -> float:
        """Share of the work; a step costs as its pixels, and a little beside them."""
        work = [cost * self.config.iterations_at(scale) for scale, cost in enumerate(self.costs)]
        return (sum(work[: self.scale]) + self.costs[self.scale] * self.step) / sum(work)

    def title(self, scale: int) -> str:
        height, width = self.collection.sizes[scale].amax(dim=0).tolist()
        return f"scale {scale + 1}/{self.config.scale_count} ({max(height, width)} px)"

    @property
    def finished(self) -> bool:
        return self.scale == self.config.scale_count - 1 and self.step == self.iterations

    def advance(self) -> dict[str, Tensor]:
        """Take the next step, of the next scale where this one is done; the losses of each photo of its batch (B,)."""
        if self.step == self.iterations:
            self.scale, self.step = self.scale + 1, 0
            self.begin_scale()
        losses = super().advance()
        if self.step == self.iterations:
            for player in self.players:
                player.settle()
        return losses

    def begin_scale(self, resumed: dict[str, Tensor] | None = None) -> None:
        """Weights, optimizers and noise amplitudes of the scale; `resumed` holds saved optimizer tensors."""
        system, config = self.system, self.config
        self.compute = self.players = self.safeguard = None  # the last scale's graphs and optimizers make room
        memory.forget_peak(self.device)
        system.grow(self.scale + 1)
        self.ranks.align(list(system.state_dict().values()))
        if not system.contexts_change(self.scale) and self.contexts is None:
            self.contexts = self.all_contexts()
        self.players = [Player(name, groups, config, self.ranks) for name, groups in system.groups().items()]
        if resumed is None:
            self.amplitudes[:, self.scale] = self.measure_amplitudes()
            self.ranks.align([self.amplitudes])
        else:
            for player in self.players:
                player.restore(resumed)
        self.safeguard = Safeguard(self.players, self.awake, self.collection.names) if config.alone else None
        sizes = self.collection.sizes[: self.scale + 1] if config.alone else None
        at_a_time, recompute = self.plans[self.scale]
        photos = self.ranks.share(self.photos)
        step = Step(system, self.players, cut(photos, at_a_time, sizes, self.device), recompute, at_a_time < photos)
        self.names, self.compute = step.names, graphed(step, self.device, self.ranks)
        self.draws = Draws(
            self.collection,
            config,
            self.scale,
            system.generator_template,
            self.amplitudes,
            self.contexts,
            self.awake,
            self.ranks,
        )
        self.start_clock()

    def take_step(self) -> dict[str, Tensor]:
        """One step of both players on one batch: the losses of each of its photos (B,)."""
        try:
            with arithmetic(self.config.precision):
                losses = self.compute(self.draws.step(self.step))
        except RuntimeError as error:
            if not memory.is_exhausted(error):
                raise
            raise InputError(
                f"scale {self.scale + 1} does not fit into the memory of {self.device}: lower "
                f"{memory.KNOBS} ({str(error).splitlines()[0]})"
            ) from error
        return dict(zip(self.names, losses.unbind()))

    def photo_model(self, indices: Tensor) -> PhotoModel:
        """The current models of some training photos, up to the scale in training."""
        here = indices.to(self.device)
        contexts = self.system.contexts(self.collection, indices) if self.contexts is None else self.contexts[here]
        sizes = [self.collection.sizes[scale][indices] for scale in range(self.scale + 1)]
        return self.system.photo_model(contexts, sizes, self.amplitudes[here])

    def canvas(self, indices: Tensor, scale: int) -> Tensor:
        """Photos at a scale (B, C, H, W)."""
        return self.collection.batch(indices, scale).images.to(self.device)

    @torch.no_grad()
    def all_contexts(self) -> Tensor:
        """Contexts of every photo (photos, ...)."""
        return torch.cat([self.system.contexts(self.collection, chunk) for chunk in self.chunks()])

    @torch.no_grad()
    def measure_amplitudes(self) -> Tensor:
        """The noise amplitude of every photo at the scale that begins (photos,)."""
        return torch.cat(
            [
                self.photo_model(chunk).amplitude(self.scale, self.canvas(chunk, self.scale), self.config.noise_factor)
                for chunk in self.chunks()
            ]
        )

    def chunks(self) -> tuple[Tensor, ...]:
        return self.everyone.split(self.config.batch_size)

    def summary(self, losses: dict[str, Tensor]) -> tuple[dict[str, float], list[str]]:
        """The mean of each loss (B,) over the photos that learn, and a remark for each that diverged by itself."""
        table = torch.stack(list(losses.values()))
        remarks = self.safeguard.check(table) if self.safeguard else []
        self.check_awake()
        means = table[:, self.awake > 0] if self.safeguard else table
        return dict(zip(losses, self.over_all_ranks(means).tolist())), remarks

    def over_all_ranks(self, losses: Tensor) -> Tensor:
        """Losses (names, own rows) -> their means over the rows of all processes (names,)."""
        sums = torch.cat([losses.sum(dim=1), losses.new_tensor([losses.shape[1]])])
        self.ranks.add_up([sums])
        return sums[:-1] / sums[-1]

    def save(self) -> None:
        if self.safeguard:
            self.safeguard.mend()
        self.check_awake()
        super().save()

    def check_awake(self) -> None:
        """TrainingDiverged where no photo learns any more."""
        if not self.awake.any():
            raise self.diverged(f"every one of {len(self.awake)} photos")

    def tensors(self) -> dict[str, Tensor]:
        return system_tensors(self.system, self.amplitudes)

    def moments(self) -> dict[str, Tensor]:
        generator, discriminator = (player.tensors() for player in self.players)
        return {**generator, **discriminator, "awake": self.awake}
