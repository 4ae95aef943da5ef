"""Training a GAN with a Data Instance Prior: both players see the features of a real image beside every image."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperconv.data.domains import Domains
from hyperconv.errors import InputError
from hyperconv.gan.dip.diff_augment import diff_augment
from hyperconv.gan.dip.features import open_features
from hyperconv.gan.dip.instances import Instances
from hyperconv.gan.dip.objective import discriminator_loss, generator_loss
from hyperconv.gan.dip.system import InstanceGAN
from hyperconv.gan.domain_trainer import DomainTrainer
from hyperconv.gan.noise import seeded, white
from hyperconv.gan.player import Group, Player
from hyperconv.gan.run import Run, fill


class DipTrainer(DomainTrainer):
    """Trains an InstanceGAN. The features are made, and kept in the run, before the first step."""

    def __init__(
        self, run: Run, domains: Domains, device: torch.device | str = "cpu", *, checkpoint_every: int | None = None
    ) -> None:
        super().__init__(run, domains, device, checkpoint_every)
        if self.config.started_from is not None and not run.has("training_state"):
            raise InputError(
                f"{run.path} was stopped before it had the weights of {self.config.started_from}: delete it and "
                "start again"
            )
        self.extractor, features = open_features(run, self.domains)
        self.instances = Instances(self.domains, features, self.config.neighbours)
        self.gan = InstanceGAN(self.config, domains.channels, features.shape[1]).to(self.device)
        discriminator = self.gan.discriminator.trained(self.config.transfer)
        self.generator = Player("generator", [Group(list(self.gan.generator.parameters()))], self.config)
        self.discriminator = Player("discriminator", [Group(discriminator, self.config.critic_pace)], self.config)
        self.rate = torch.tensor(float(self.config.learning_rate), device=self.device)
        self.begin()

    def title(self, scale: int) -> str:
        return f"{len(self.instances)} images ({self.config.image_size} px)"

    def take_step(self) -> dict[str, Tensor]:
        """Updates of the discriminator, then one of the generator; their last losses."""
        source = seeded(self.device, self.config.seed, "dip", self.step)
        for _ in range(self.config.critic_steps):
            real, prior = self.instances.draw(self.config.batch_size, source)
            with torch.no_grad():
                fake = self.gan.generator(self.noise(source), prior)
            scores = self.scores(torch.cat([real, fake]), prior.repeat(2, 1), source)
            by_discriminator = discriminator_loss(*scores.chunk(2))
            self.move(self.discriminator, by_discriminator)
        prior = self.instances.draw(self.config.batch_size, source).prior
        fake = self.gan.generator(self.noise(source), prior)
        by_generator = generator_loss(self.scores(fake, prior, source))
        self.move(self.generator, by_generator)
        self.gan.follow(self.step)
        return {"discriminator": by_discriminator.detach(), "generator": by_generator.detach()}

    def noise(self, source: torch.Generator) -> Tensor:
        """Of a batch (batch_size, latent)."""
        return white((self.config.batch_size, self.config.latent), source)

    def scores(self, images: Tensor, prior: Tensor, source: torch.Generator) -> Tensor:
        """The discriminator's (N,) of images (N, C, S, S), altered if it is to see them so, and priors (N, F)."""
        return self.gan.discriminator(diff_augment(images, self.config.augmentations, source), prior)

    def move(self, player: Player, loss: Tensor) -> None:
        """One step of a player's parameters along the gradient of its loss."""
        for parameter, gradient in zip(player.parameters, torch.autograd.grad(loss, player.parameters)):
            parameter.grad = gradient
        player.update(self.rate)

    def tensors(self) -> dict[str, Tensor]:
        return self.gan.state_dict()

    def moments(self) -> dict[str, Tensor]:
        return {**self.generator.tensors(), **self.discriminator.tensors()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """A run that starts from another has its weights, and no moments yet."""
        fill(self.run, self.gan.state_dict(), tensors)
        if self.step > 0:
            self.generator.restore(tensors)
            self.discriminator.restore(tensors)
