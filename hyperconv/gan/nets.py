"""What the generators and critics of a configuration look like; they hold no weights."""

from __future__ import annotations

from hyperconv.data.augment import EDIT_NOISE
from hyperconv.gan.discriminator import Discriminator
from hyperconv.gan.generator import Generator
from hyperconv.gan.growing import GrowingGenerator
from hyperconv.gan.presets import Config


def generator_template(config: Config, channels: int) -> Generator | GrowingGenerator:
    """A configuration's generators of all scales."""
    norm = config.norm != "none"
    if config.system == "consingan":
        return GrowingGenerator(
            channels,
            config.hidden,
            depth=config.depth - 2,
            negative_slope=config.negative_slope,
            norm=norm,
            noisy_borders=config.borders == "noise",
            picture_noise=EDIT_NOISE if config.first_input == "edit" else 0.0,
        )
    widths = [config.hidden_at(scale) for scale in range(config.scale_count)]
    singan = {"resampling": "cubic", "shared_noise": True} if config.system == "singan" else {}
    return Generator(
        channels,
        *widths,
        depth=config.depth,
        negative_slope=config.negative_slope,
        norm=norm,
        noise_on_padding=config.borders == "noise",
        **singan,
    )


def critic_template(config: Config, channels: int, scale: int) -> Discriminator:
    """A configuration's critics of a scale."""
    return Discriminator(
        channels,
        config.hidden_at(scale),
        depth=config.depth,
        negative_slope=config.negative_slope,
        norm=config.norm == "both",
    )
