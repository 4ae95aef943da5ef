"""Settings of a Reptile-GAN: one flat record, saved with the run; the published ones and smaller ones are presets."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hyperconv.errors import InputError
from hyperconv.gan.settings import DomainSettings


@dataclass(frozen=True)
class ReptileConfig(DomainSettings):
    """The defaults are the published settings of the DCGAN with one MLP (`--preset paper`)."""

    system: str = "reptile"
    objective: str = "dcgan"  # or 'wgan-gp'
    mlps: int = 1  # 1: G(MLP(z)). 2: G(MLP(z), MLP_cls(the critic's features of the domain's images))
    second_mlp: str = "trained"  # or 'frozen': the published code takes its loss from a detached image
    generator: str = (
        "outer step"  # it learns after the tasks have adapted; 'reptile': it adapts with them, as plain Reptile
    )
    image_size: int = 32  # pixels, a power of 2 from 8 on
    latent: int = 100  # numbers of noise
    hidden: int = 64  # channels of the critic's first convolution; they double with every halving of the image
    tasks: int = 1  # domains that adapt side by side (meta-batch)
    batch_size: int = 64  # images of a task
    anti_batch_size: int = 64  # images of other domains
    inner_steps: int = 20
    critic_steps: int = 1  # in each of them
    iterations: tuple[int, ...] = (40000,)  # of the outer loop
    learning_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    meta_rate: float = 0.01  # share of the way to the adapted weights; linear to 0
    penalty_weight: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_numbers(
            "latent", "hidden", "tasks", "batch_size", "anti_batch_size", "inner_steps", "critic_steps", least=1
        )
        self.check_numbers("learning_rate", "meta_rate", "penalty_weight", least=0)
        self.check_choices(
            {
                "objective": ("dcgan", "wgan-gp"),
                "second_mlp": ("trained", "frozen"),
                "generator": ("outer step", "reptile"),
            }
        )
        if self.mlps not in (1, 2):
            raise InputError(f"mlps is {self.mlps}: it must be 1 or 2")
        if self.objective == "wgan-gp" and self.anti_batch_size != self.batch_size:
            raise InputError(
                f"anti_batch_size is {self.anti_batch_size} and batch_size {self.batch_size}: wgan-gp mixes "
                "the images of a task with those of other domains one by one, so they must be equal"
            )

    @property
    def top(self) -> int:
        """Channels at the 4x4 pixels at the heart of an image."""
        return self.hidden * 2 ** (self.levels - 1)


PAPER = ReptileConfig()
WGAN = replace(PAPER, objective="wgan-gp", critic_steps=5, iterations=(20000,), learning_rate=1e-4, betas=(0.0, 0.9))
TINY = replace(
    PAPER,
    image_size=8,
    latent=32,
    hidden=32,
    tasks=4,
    batch_size=16,
    anti_batch_size=16,
    inner_steps=10,
    iterations=(500,),
    learning_rate=1e-3,
    betas=(0.0, 0.9),
    meta_rate=0.3,
)
TINY_WGAN = replace(TINY, objective="wgan-gp", critic_steps=2, inner_steps=5, iterations=(1000,), learning_rate=3e-3)

REPTILE = {
    "paper": PAPER,
    "paper-2mlp": replace(PAPER, mlps=2),
    "paper-omniglot": replace(PAPER, anti_batch_size=128),
    "paper-wgan": WGAN,
    "paper-wgan-2mlp": replace(WGAN, mlps=2),
    "small": replace(
        PAPER,
        hidden=32,
        tasks=8,
        batch_size=32,
        anti_batch_size=32,
        inner_steps=10,
        iterations=(5000,),
        learning_rate=1e-3,
        meta_rate=0.1,
    ),
    "tiny": TINY,
    "tiny-2mlp": replace(TINY, mlps=2),
    "tiny-wgan": TINY_WGAN,
    "tiny-wgan-2mlp": replace(TINY_WGAN, mlps=2),
}
