"""Settings of a run: one flat record, saved with it; the published ones and smaller ones are presets."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from hyperconv.data.pyramid import PyramidShape, scale_count_for
from hyperconv.errors import InputError
from hyperconv.gan.dip.presets import DIP, DipConfig
from hyperconv.gan.precision import PRECISIONS
from hyperconv.gan.reptile.presets import REPTILE, ReptileConfig
from hyperconv.gan.settings import Settings
from hyperconv.nn.embedding import EMBEDDINGS


@dataclass(frozen=True)
class Config(Settings):
    """The defaults are the published settings of Meta Internal Learning on LSUN-50 (`--preset paper`)."""

    system: str = (
        "meta"  # or 'consingan', 'singan': a GAN of its own for every photo; 'adapted': of one, made by 'meta'
    )
    max_size: int = 250  # long side of the finest scale, pixels
    min_size: int = 25  # of the coarsest scale, pixels: the side that `coarsest` names
    coarsest: str = "long side"  # or 'short side', and no photo is enlarged to max_size; so with consingan and singan
    scale_count: int = scale_count_for(25, 250)  # 7
    steps: str = "geometric"  # or 'consingan': sizes that grow slowly at first
    hidden: int = 64  # channels of the nets
    widen_every: int | None = None  # scales after which hidden doubles, up to 128
    depth: int = 5  # convolutions of the nets, from image to image
    negative_slope: float = 0.02
    norm: str = "none"  # or 'generator', 'both': which nets normalise their hidden layers, each photo by itself
    borders: str = "noise"  # or 'zeros': what is around an image as the generator sees it
    first_input: str = "noise"  # of the coarsest scale; or the photo augmented for 'harmonize' or 'edit'
    fixed_input: str = "noise"  # or 'photo': what the coarsest scale reconstructs the photo from
    embedding: str = "resnet34"  # or another of nn.embedding.EMBEDDINGS; a frozen one sees what a file taught it
    embedding_size: int = 128  # pixels; the embedding sees the photo squashed to a square
    backbone_weights: str | None = None  # torchvision's state_dict of the embedding, a file; a frozen one needs it
    features: int = 512
    first_scale_sees: str = "embedding"  # or 'embedding and thumbnail': its last layer also reads the coarsest image
    variants: int = 0  # altered photos that every step of the first scale learns to reconstruct beside its batch
    variants_above: int = 0  # and every step of the scales after it
    context_norm: str = "none"  # or 'unit': every context is scaled to mean square 1, so weights keep their scale
    head_init: str = "linear"  # or 'hyperfan', 'base': at He's scale, half of it the photo's own, or at first none
    head_rank: int | None = None  # numbers in a bottleneck between context and generated weights; None: there is none
    critic_init: str = (
        "published"  # deviation of a free critic's first weights: 0.02, or 'he': that of He et al. (2015)
    )
    embedding_trains: str = "first scale"  # or 'every scale': as published, finished scales then drift
    train_depth: int = 1  # scales that train together, the newest ones
    pace: float = 0.1  # learning rate of each of them over that of the next finer one
    critic_steps: int = 1
    generator_steps: int = 1
    draws: int = 1  # of noise in a step: 1, whose fake and gradient serve all those steps, or one for each
    iterations: tuple[int, ...] = (5000,)  # of each scale, coarse to fine; the last number serves all that follow
    batch_size: int = 16  # photos of a step; where photos have nets of their own it is all of them
    precision: str = "fp32"  # of products: 'fp32', 'tf32', or 'bf16' in the generated nets and TF32 elsewhere
    learning_rate: float = 5e-5
    betas: tuple[float, float] = (0.5, 0.999)
    decay_at: float = 0.8  # of a scale's iterations
    decay: float = 0.1
    clip: float | None = 1.0  # gradient norm of each hypernetwork
    average: float = 0.0  # decay of the running average that the generator's hypernetwork takes as a scale ends
    penalty_weight: float = 0.1
    penalty_norm: str = "pixel"  # or 'sample'
    reconstruction_weight: float = 50.0
    noise_factor: float = 1.0  # amplitude = factor x RMSE of the upsampled reconstruction, per image and scale
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_numbers(
            "max_size",
            "min_size",
            "scale_count",
            "hidden",
            "features",
            "batch_size",
            "widen_every",
            "head_rank",
            "train_depth",
            "critic_steps",
            "generator_steps",
            "draws",
            least=1,
        )
        self.check_numbers(
            "variants", "variants_above", "learning_rate", "clip", "penalty_weight", "reconstruction_weight", least=0
        )
        self.check_numbers("average", least=0, below=1)
        if not self.iterations or min(self.iterations) < 1:
            raise InputError(f"iterations is {self.iterations}: every scale needs at least 1")
        self.check_choices(CHOICES)
        if self.system == "meta" and self.embedding.startswith("frozen-") and self.backbone_weights is None:
            raise InputError(
                f"the embedding {self.embedding} is that of a published network: name its file, "
                "--backbone-weights, or take --embedding contrastive, which needs none"
            )
        if self.draws not in (1, self.critic_steps):
            raise InputError(f"draws is {self.draws}: it must be 1 or critic_steps, {self.critic_steps}")

    @property
    def alone(self) -> bool:
        """Whether every photo has parameters of its own, and learns as if there were no others."""
        return self.system != "meta"

    @property
    def alternates(self) -> bool:
        """Whether the players move after one another, not both from gradients taken at the same point."""
        return max(self.critic_steps, self.generator_steps) > 1

    def pyramid(self) -> PyramidShape:
        return PyramidShape(
            max_size=self.max_size,
            min_size=self.min_size,
            scale_count=self.scale_count,
            coarsest=self.coarsest,
            steps=self.steps,
        )

    def hidden_at(self, scale: int) -> int:
        """Channels of the nets of a scale."""
        if self.widen_every is None:
            return self.hidden
        return min(self.hidden * 2 ** (scale // self.widen_every), max(self.hidden, MOST_HIDDEN))

    def iterations_at(self, scale: int) -> int:
        """Training steps of a scale."""
        return self.iterations[min(scale, len(self.iterations) - 1)]

    def variants_at(self, scale: int) -> int:
        """Altered photos of a step of a scale."""
        return self.variants_above if scale else self.variants

    def rate_at(self, step: int, iterations: int) -> float:
        """Learning rate of a step of so many."""
        return self.learning_rate * (self.decay if step >= self.decay_at * iterations else 1.0)


MOST_HIDDEN = 128  # that SinGAN's nets grow to
CHOICES = {
    "system": ("meta", "consingan", "singan", "adapted"),
    "first_scale_sees": ("embedding", "embedding and thumbnail"),
    "context_norm": ("none", "unit"),
    "head_init": ("linear", "hyperfan", "base"),
    "critic_init": ("published", "he"),
    "penalty_norm": ("pixel", "sample"),
    "embedding_trains": ("first scale", "every scale"),
    "precision": PRECISIONS,
    "coarsest": ("long side", "short side"),
    "steps": ("geometric", "consingan"),
    "norm": ("none", "generator", "both"),
    "borders": ("noise", "zeros"),
    "first_input": ("noise", "harmonize", "edit"),
    "fixed_input": ("noise", "photo"),
    "embedding": EMBEDDINGS,
}

PAPER = Config()
SINGLE = replace(
    PAPER,
    coarsest="short side",
    negative_slope=0.05,
    critic_steps=3,
    generator_steps=3,
    iterations=(2000,),
    learning_rate=5e-4,
    clip=None,
    reconstruction_weight=10.0,
    noise_factor=0.1,
)
CONSINGAN = replace(SINGLE, system="consingan", scale_count=6, steps="consingan", train_depth=3, fixed_input="photo")
SINGAN = replace(
    SINGLE,
    system="singan",
    scale_count=10,
    hidden=32,
    widen_every=4,
    negative_slope=0.2,
    norm="both",
    borders="zeros",
    draws=3,
)
EDITABLE = {"borders": "zeros", "norm": "generator", "iterations": (1000,)}
SMALL = {"max_size": 128, "min_size": 20, "iterations": (1000,)}
TINY = {"max_size": 64, "min_size": 16, "hidden": 32, "iterations": (300,), "decay_at": 0.7}
TINY_CONSINGAN = {**TINY, "norm": "generator", "critic_init": "he"}  # as published, a few steps learn colours alone

PRESETS = {
    "meta": {
        "paper": PAPER,
        "paper-places": replace(PAPER, min_size=28, iterations=(4000,)),
        "small": replace(
            PAPER,
            max_size=128,
            min_size=20,
            scale_count=6,
            embedding="resnet18",
            iterations=(2000,),
            batch_size=8,
            learning_rate=2e-4,
            first_scale_sees="embedding and thumbnail",
            variants=16,
            context_norm="unit",
            head_init="hyperfan",
            penalty_weight=0.4,
            noise_factor=0.25,
        ),
        "tiny": replace(
            PAPER,
            max_size=64,
            min_size=18,
            scale_count=4,
            hidden=32,
            embedding="conv",
            embedding_size=64,
            features=64,
            negative_slope=0.2,
            iterations=(900, 600, 400, 300),
            batch_size=6,
            learning_rate=1e-3,
            decay_at=0.7,
            first_scale_sees="embedding and thumbnail",
            variants=16,
            context_norm="unit",
            head_init="hyperfan",
            penalty_weight=0.4,
            noise_factor=0.25,
        ),
    },
    "consingan": {
        "paper": CONSINGAN,
        "paper-retarget": replace(CONSINGAN, borders="zeros"),
        "paper-animate": replace(CONSINGAN, min_size=20, fixed_input="noise"),
        "paper-harmonize": replace(
            CONSINGAN,
            scale_count=3,
            min_size=120,
            steps="geometric",
            negative_slope=0.3,
            first_input="harmonize",
            **EDITABLE,
        ),
        "paper-edit": replace(CONSINGAN, first_input="edit", **EDITABLE),
        "small": replace(CONSINGAN, **SMALL),
        "tiny": replace(CONSINGAN, **TINY_CONSINGAN, scale_count=4),
        "tiny-animate": replace(CONSINGAN, **TINY_CONSINGAN, scale_count=4, fixed_input="noise"),
        "tiny-harmonize": replace(
            CONSINGAN,
            **{**EDITABLE, **TINY_CONSINGAN, "min_size": 30},
            scale_count=3,
            steps="geometric",
            negative_slope=0.3,
            first_input="harmonize",
        ),
        "tiny-edit": replace(CONSINGAN, **{**EDITABLE, **TINY_CONSINGAN}, scale_count=4, first_input="edit"),
    },
    "singan": {
        "paper": SINGAN,
        "paper-animate": replace(SINGAN, borders="noise"),
        "paper-superres": replace(SINGAN, min_size=18, reconstruction_weight=100.0),
        "small": replace(SINGAN, scale_count=8, **SMALL),
        "tiny": replace(SINGAN, **{**TINY, "hidden": 16}, scale_count=5),
        "tiny-superres": replace(SINGAN, **{**TINY, "hidden": 16}, scale_count=5, reconstruction_weight=100.0),
    },
    "reptile": REPTILE,
    "dip": DIP,
}
OF_HYPERNETWORK = ("embedding", "backbone_weights", "head_rank")  # of Config: nets of single photos have none
OF_DOMAINS = {"reptile": ReptileConfig, "dip": DipConfig}  # systems of one scale, which learn from folders of images

AnyConfig = Config | ReptileConfig | DipConfig


def preset(name: str, system: str = "meta", **changes) -> AnyConfig:
    """A system's preset with some settings changed; None leaves a setting as it is.

    InputError for an unknown system, preset or setting, and a value that cannot be.
    """
    if system not in PRESETS:
        raise InputError(f"no system is called {system!r}: choose one of {', '.join(PRESETS)}")
    if name not in PRESETS[system]:
        raise InputError(f"no preset of {system} is called {name!r}: choose one of {', '.join(PRESETS[system])}")
    config, changes = PRESETS[system][name], {key: value for key, value in changes.items() if value is not None}
    known = {field.name for field in fields(config)} - set(OF_HYPERNETWORK if system in ("consingan", "singan") else ())
    foreign = sorted(set(changes) - known)
    if foreign:
        raise InputError(f"{system} has no setting {', '.join(foreign)}: leave that out")
    return replace(config, **changes)
