"""Settings of a GAN with a Data Instance Prior: one flat record, saved with the run; presets of several sizes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hyperconv.errors import InputError
from hyperconv.gan.dip.diff_augment import AUGMENTATIONS
from hyperconv.gan.settings import DomainSettings


@dataclass(frozen=True)
class DipConfig(DomainSettings):
    """The defaults are SNGAN's net for images of 32 px (`--preset paper-sngan`)."""

    system: str = "dip"
    generator: str = "sngan"  # 'biggan': noise goes into every norm, too; 'stylegan2': into modulated convolutions
    prior: str = "instance"  # or 'none': a constant in place of an instance's features, the GAN without the prior
    backbone_weights: str | None = None  # of the net the features come from, a file; None: one trained here by contrast
    feature_width: int = 64  # of the net trained here
    feature_steps: int = 600
    neighbours: int = 1  # of an instance, any of which is the real image of its prior; 1: itself, IC-GAN has 50 or 5
    embedding: int = 128  # numbers that the generator's linear map makes of the features
    image_size: int = 32  # pixels, a power of 2 from 8 on
    latent: int = 128  # numbers of noise
    hidden: int = 256  # channels of the generator at full size; they double with every halving of the image
    critic_hidden: int = 128  # of the discriminator
    most_channels: int = 256  # that both grow to
    mapping: int = 8  # layers between noise and style, of 'stylegan2'
    augment: str = ""  # of what the discriminator sees: some of 'color,translation,cutout' (DiffAugment)
    transfer: str = (
        "all"  # of a run that starts from another; 'freeze-d': the discriminator's lower half rests (FreezeD)
    )
    started_from: str | None = None  # that other run
    batch_size: int = 64
    critic_steps: int = 5
    iterations: tuple[int, ...] = (50000,)
    learning_rate: float = 2e-4  # of the generator
    critic_pace: float = 1.0  # the discriminator's over it
    betas: tuple[float, float] = (0.0, 0.9)
    clip: float | None = None  # norm of gradients
    average: float = 0.9999  # decay of the generator's moving average, which is what draws images
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_numbers(
            "feature_width",
            "feature_steps",
            "neighbours",
            "embedding",
            "latent",
            "hidden",
            "critic_hidden",
            "most_channels",
            "mapping",
            "batch_size",
            "critic_steps",
            least=1,
        )
        self.check_numbers("learning_rate", "critic_pace", "clip", least=0)
        self.check_numbers("average", least=0, below=1)
        self.check_choices(
            {
                "generator": ("sngan", "biggan", "stylegan2"),
                "prior": ("instance", "none"),
                "transfer": ("all", "freeze-d"),
            }
        )
        if unknown := [word for word in self.augmentations if word not in AUGMENTATIONS]:
            raise InputError(f"augment has {unknown[0]!r}: choose some of {','.join(AUGMENTATIONS)}")
        if self.latent % self.chunks:
            raise InputError(
                f"latent is {self.latent}: images of {self.image_size} px take it in {self.chunks} equal parts"
            )
        if self.transfer == "freeze-d" and self.started_from is None:
            raise InputError("transfer is 'freeze-d', which rests what a run has learned: name that run with --from")
        if self.prior == "none" and self.neighbours > 1:
            raise InputError(
                f"neighbours is {self.neighbours}: without the prior no image is near another, it must be 1"
            )

    @property
    def augmentations(self) -> list[str]:
        return self.augment.split(",") if self.augment else []

    @property
    def chunks(self) -> int:
        """Parts of the noise: for the first layer and, of 'biggan', for every block."""
        return self.levels + 1 if self.generator == "biggan" else 1

    def widths(self, hidden: int) -> list[int]:
        """Channels at 4, 8, ..., image_size pixels of a net that has `hidden` at the last."""
        return [min(hidden * 2**level, self.most_channels) for level in range(self.levels, -1, -1)]


SNGAN = DipConfig()
BIGGAN = replace(
    SNGAN,
    generator="biggan",
    embedding=512,
    image_size=128,
    latent=120,
    hidden=96,
    critic_hidden=96,
    most_channels=1536,
    batch_size=256,
    critic_steps=2,
    iterations=(100000,),
    learning_rate=5e-5,
    critic_pace=4.0,
    betas=(0.0, 0.999),
)
STYLEGAN2 = replace(
    SNGAN,
    generator="stylegan2",
    embedding=512,
    image_size=128,
    latent=512,
    hidden=256,
    critic_hidden=256,
    most_channels=512,
    batch_size=32,
    critic_steps=1,
    iterations=(100000,),
    learning_rate=2e-3,
    betas=(0.0, 0.99),
)
SMALL = replace(SNGAN, hidden=64, critic_hidden=64, batch_size=32, critic_steps=2, iterations=(10000,), average=0.999)
TINY = replace(
    SNGAN,
    embedding=32,
    image_size=8,
    latent=32,
    hidden=16,
    critic_hidden=16,
    most_channels=64,
    mapping=3,
    feature_width=32,
    feature_steps=200,
    batch_size=32,
    critic_steps=1,
    iterations=(1500,),
    learning_rate=1e-3,
    critic_pace=2.0,
    average=0.99,
)

DIP = {
    "paper-sngan": SNGAN,
    "paper-sngan-128": replace(SNGAN, image_size=128, hidden=64, critic_hidden=64, most_channels=1024),
    "paper-biggan": BIGGAN,
    "paper-stylegan2": STYLEGAN2,
    "small": SMALL,
    "tiny": TINY,
    "tiny-biggan": replace(TINY, generator="biggan"),
    "tiny-stylegan2": replace(TINY, generator="stylegan2"),
}
