"""The training loop: coarse to fine, one round of the game per step, checkpoints on the way."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hyperconv.data.collection import Collection
from hyperconv.data.images import resize
from hyperconv.data.variants import variants
from hyperconv.errors import InputError, TrainingDiverged
from hyperconv.gan.first_guess import guess
from hyperconv.gan.noise import generator as seeded
from hyperconv.gan.photo_model import PhotoModel
from hyperconv.gan.round import play
from hyperconv.gan.run import Run, load_system, system_tensors
from hyperconv.gan.system import MetaGAN

LOG_EVERY = 10  # steps
CALIBRATION_PHOTOS = 64  # at most, for the fixed statistics of a randomly initialised ResNet
DIVERGED = 1e6  # a loss beyond this will not come back


@dataclass(frozen=True)
class Progress:
    """Where training stands after a step. `losses` every LOG_EVERY steps; `saved` after a checkpoint."""

    scale: int
    step: int
    losses: dict[str, float] | None
    saved: bool


class Trainer:
    """Trains a MetaGAN on a collection and keeps its run folder.

    Step t of scale s draws everything random from (seed, s, t), so a resumed run takes the very steps the
    uninterrupted one would have taken.
    """

    def __init__(self, run: Run, collection: Collection, device: torch.device | str = "cpu", *,
                 checkpoint_every: int | None = None) -> None:
        self.run, self.config, self.device = run, run.config, torch.device(device)
        self.collection = collection.to(device)
        self.checkpoint_every = checkpoint_every or max(50, max(self.config.iterations) // 5)
        self.everyone = torch.arange(len(collection))
        if run.has("training_state"):
            self.system, self.amplitudes, tensors, where = load_system(run, "training_state", device)
            self.scale, self.step = where["scale"], where["step"]
            run.forget_metrics_after(self.scale, self.step)
            self.begin_scale(tensors)
        else:
            run.forget_metrics_after(0, 0)
            z_side = int(collection.sizes[0].max())
            self.system = MetaGAN(self.config, collection.channels, z_side).to(device)
            self.system.calibrate(collection.embedding_inputs(self.everyone[:CALIBRATION_PHOTOS],
                                                               self.config.embedding_size))
            if self.config.first_scale_sees == "embedding and thumbnail":
                guess(self.system, collection)
            self.amplitudes = torch.zeros(len(collection), self.config.scale_count, device=device)
            self.scale = self.step = 0
            self.begin_scale()

    @property
    def iterations(self) -> int:
        """Steps of the scale in training."""
        return self.config.iterations_at(self.scale)

    @property
    def finished(self) -> bool:
        return self.scale == self.config.scale_count - 1 and self.step == self.iterations

    def train(self) -> Iterator[Progress]:
        """Take every step that is left, yielding after each; the last checkpoint is written before it returns."""
        while not self.finished:
            if self.step == self.iterations:
                self.scale, self.step = self.scale + 1, 0
                self.begin_scale()
            started = time.perf_counter()
            losses = self.take_step()
            self.step += 1
            logged = self.log(losses, time.perf_counter() - started) if self.step % LOG_EVERY == 0 else None
            last = self.step == self.iterations
            saved = last or self.step % self.checkpoint_every == 0
            if saved:
                self.save()
            yield Progress(self.scale, self.step, logged, saved)

    def begin_scale(self, resumed: dict[str, Tensor] | None = None) -> None:
        """Head sets, optimizers and noise amplitudes of the scale; `resumed` holds saved optimizer tensors."""
        system, config = self.system, self.config
        system.grow(self.scale + 1)
        embedding = system.generator.embedding
        embedding_trains = self.scale == 0 or config.embedding_trains == "every scale"
        embedding.requires_grad_(embedding_trains)
        self.contexts = None if embedding_trains else self.all_contexts()
        own = system.generator.parameters_at(self.scale)
        self.players: dict[str, list[nn.Parameter]] = {
            "generator": own + (list(embedding.parameters()) if embedding_trains else []),
            "discriminator": list(system.discriminator.parameters()),
        }
        self.optimizers = {
            name: torch.optim.Adam(parameters, lr=config.learning_rate, betas=config.betas, fused=True)
            for name, parameters in self.players.items()
        }
        if resumed is None:
            self.amplitudes[:, self.scale] = self.measure_amplitudes()
        else:
            for name, optimizer in self.optimizers.items():
                _restore(optimizer, name, resumed)

    def take_step(self) -> dict[str, Tensor]:
        """One step of both players on one batch."""
        config = self.config
        source = seeded(self.device, config.seed, self.scale, self.step)
        indices = self.collection.draw(config.batch_size, seeded("cpu", config.seed, "batch", self.scale, self.step))
        photos = self.collection.batch(indices, self.scale).images
        critic = self.system.discriminator
        critic_contexts = critic.embed(self.collection.embedding_inputs(indices, config.embedding_size))
        losses = play(self.photo_model(indices), self.system.discriminator_template,
                      critic.weights(critic_contexts, 0), photos, source, penalty_weight=config.penalty_weight,
                      penalty_norm=config.penalty_norm, reconstruction_weight=config.reconstruction_weight)
        if config.variants and self.scale == 0:
            losses["variants"] = self.rebuild_variants(source)
        rate = config.learning_rate * (config.decay if self.step >= config.decay_at * self.iterations else 1.0)
        for name, optimizer in self.optimizers.items():
            nn.utils.clip_grad_norm_(self.players[name], config.clip)
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return losses

    def rebuild_variants(self, source: torch.Generator) -> Tensor:
        """Backpropagate the first scale's reconstruction error of altered photos, all of one size; returns it."""
        config, collection = self.config, self.collection
        chosen = torch.randint(len(collection), (config.variants,), generator=source, device=self.device)
        photos = variants(collection.embedding_inputs(chosen, config.embedding_size), source)
        sizes = collection.sizes_of(chosen[:1])[0].expand(config.variants, -1)
        images = resize(photos, tuple(sizes[0].tolist()))
        contexts = self.system.generator.embed(photos, images)
        model = self.system.photo_model(contexts, [sizes], torch.ones(config.variants, 1, device=self.device))
        error = (model.reconstruct() - images).square().mean()
        (config.reconstruction_weight * error).backward()
        return error.detach()

    def photo_model(self, indices: Tensor) -> PhotoModel:
        """The current models of some training photos, up to the scale in training."""
        if self.contexts is None:
            contexts = self.embed(indices)
        else:
            contexts = self.contexts[indices.to(self.device)]
        sizes = [self.collection.sizes[scale][indices] for scale in range(self.scale + 1)]
        return self.system.photo_model(contexts, sizes, self.amplitudes[indices.to(self.device)])

    def embed(self, indices: Tensor) -> Tensor:
        """The generator's contexts of some training photos."""
        photos = self.collection.embedding_inputs(indices, self.config.embedding_size)
        return self.system.generator.embed(photos, self.collection.batch(indices, 0).images)

    @torch.no_grad()
    def all_contexts(self) -> Tensor:
        """Contexts of every photo (photos, features), from an embedding that no longer changes."""
        return torch.cat([self.embed(chunk) for chunk in self.chunks()])

    @torch.no_grad()
    def measure_amplitudes(self) -> Tensor:
        """The noise amplitude of every photo at the scale that begins (photos,)."""
        return torch.cat([
            self.photo_model(chunk).amplitude(self.scale, self.collection.batch(chunk, self.scale).images,
                                              self.config.noise_factor)
            for chunk in self.chunks()
        ])

    def chunks(self) -> tuple[Tensor, ...]:
        return self.everyone.split(self.config.batch_size)

    def log(self, losses: dict[str, Tensor], seconds: float) -> dict[str, float]:
        values = {name: value.item() for name, value in losses.items()}
        if not all(math.isfinite(value) and abs(value) < DIVERGED for value in values.values()):
            raise TrainingDiverged(f"training diverged at scale {self.scale}, step {self.step} ({values}): "
                                   f"the last good checkpoint in {self.run.path} is kept; "
                                   "continue it with --resume and a lower --learning-rate")
        self.run.log({"scale": self.scale, "step": self.step, "seconds": round(seconds, 4), **values})
        return values

    def save(self) -> None:
        """Write a checkpoint, unless the parameters are no longer finite."""
        tensors = system_tensors(self.system, self.amplitudes)
        bad = [name for name, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]
        if bad:
            raise TrainingDiverged(f"training diverged at scale {self.scale}, step {self.step}: {bad[0]} is not finite; "
                                   f"the last good checkpoint in {self.run.path} is kept")
        where = {"scale": self.scale, "step": self.step}
        optimizers = {key: value for name, optimizer in self.optimizers.items()
                      for key, value in _tensors(optimizer, name).items()}
        self.run.save("training_state", {**tensors, **optimizers}, where)
        self.run.save("model", tensors, where)


def _tensors(optimizer: torch.optim.Optimizer, name: str) -> dict[str, Tensor]:
    return {f"{name}_optimizer.{i}.{key}": value
            for i, state in optimizer.state_dict()["state"].items() for key, value in state.items()}


def _restore(optimizer: torch.optim.Optimizer, name: str, tensors: dict[str, Tensor]) -> None:
    saved = optimizer.state_dict()
    for i in saved["param_groups"][0]["params"]:
        prefix = f"{name}_optimizer.{i}."
        saved["state"][i] = {key[len(prefix):]: value for key, value in tensors.items() if key.startswith(prefix)}
        if not saved["state"][i]:
            raise InputError(f"the training state lacks the {name}'s optimizer: it was written by another version")
    optimizer.load_state_dict(saved)
