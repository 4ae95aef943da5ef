"""Settings of a run: one flat record, saved with it; the published ones and smaller ones are presets."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace

from hyperconv.data.pyramid import PyramidShape, scale_count_for
from hyperconv.errors import InputError
from hyperconv.gan.precision import PRECISIONS


@dataclass(frozen=True)
class Config:
    """The defaults are the published settings of Meta Internal Learning on LSUN-50 (`--preset paper`)."""

    system: str = "meta"
    max_size: int = 250  # long side of the finest scale, pixels
    min_size: int = 25  # long side of the coarsest scale, pixels
    scale_count: int = scale_count_for(25, 250)  # 7
    hidden: int = 64  # channels of the generated nets
    depth: int = 5  # convolutions of the generated nets
    negative_slope: float = 0.02
    embedding: str = "resnet34"
    embedding_size: int = 128  # pixels; the embedding sees the photo squashed to a square
    backbone_weights: str | None = None  # torchvision's state_dict of the embedding, a file
    features: int = 512
    first_scale_sees: str = "embedding"  # or 'embedding and thumbnail': its last layer also reads the coarsest image
    variants: int = 0  # altered photos that every step of the first scale learns to reconstruct beside its batch
    context_norm: str = "none"  # or 'unit': every context is scaled to mean square 1, so weights keep their scale
    head_init: str = "linear"  # or 'hyperfan': weights start at He's scale, half shared and half the photo's own
    embedding_trains: str = "first scale"  # or 'every scale': as published, finished scales then drift
    iterations: tuple[int, ...] = (5000,)  # of each scale, coarse to fine; the last number serves all that follow
    batch_size: int = 16
    precision: str = "fp32"  # of products: 'fp32', 'tf32', or 'bf16' in the generated nets and TF32 elsewhere
    learning_rate: float = 5e-5
    betas: tuple[float, float] = (0.5, 0.999)
    decay_at: float = 0.8  # of a scale's iterations
    decay: float = 0.1
    clip: float = 1.0  # gradient norm of each hypernetwork
    penalty_weight: float = 0.1
    penalty_norm: str = "pixel"  # or 'sample'
    reconstruction_weight: float = 50.0
    noise_factor: float = 1.0  # amplitude = factor x RMSE of the upsampled reconstruction, per image and scale
    seed: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kinds = getattr(self, field.name), KINDS[field.type]
            parts = value if isinstance(value, tuple) else (value,)
            if not all(isinstance(part, kinds) and not isinstance(part, bool) for part in parts):
                raise InputError(f"{field.name} is {value!r}: it must be {field.type}")
        for name in ("max_size", "min_size", "scale_count", "hidden", "features", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 1")
        if self.variants < 0:
            raise InputError(f"variants is {self.variants}: it must be at least 0")
        if not self.iterations or min(self.iterations) < 1:
            raise InputError(f"iterations is {self.iterations}: every scale needs at least 1")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise InputError(f"{name} is {getattr(self, name)!r}: choose one of {', '.join(choices)}")
        for name in ("learning_rate", "clip", "penalty_weight", "reconstruction_weight"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name} is {value}: it must be a number of at least 0")

    def pyramid(self) -> PyramidShape:
        return PyramidShape(max_size=self.max_size, min_size=self.min_size, scale_count=self.scale_count)

    def iterations_at(self, scale: int) -> int:
        return self.iterations[min(scale, len(self.iterations) - 1)]

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict) -> Config:
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise InputError(f"the configuration has unknown entries: {', '.join(unknown)}; "
                             "was it written by another version?")
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


KINDS = {"str": str, "str | None": (str, type(None)), "int": int, "float": (int, float),
         "tuple[int, ...]": int, "tuple[float, float]": (int, float)}
CHOICES = {"system": ("meta",), "first_scale_sees": ("embedding", "embedding and thumbnail"),
           "context_norm": ("none", "unit"), "head_init": ("linear", "hyperfan"),
           "penalty_norm": ("pixel", "sample"),
           "embedding_trains": ("first scale", "every scale"),
           "precision": PRECISIONS,
           "embedding": ("conv", "resnet18", "resnet34", "resnet50")}

PAPER = Config()

PRESETS = {
    "paper": PAPER,
    "paper-places": replace(PAPER, min_size=28, iterations=(4000,)),
    "small": replace(PAPER, max_size=128, min_size=20, scale_count=6, embedding="resnet18", iterations=(2000,),
                     batch_size=8, learning_rate=2e-4, first_scale_sees="embedding and thumbnail", variants=16,
                     context_norm="unit", head_init="hyperfan", penalty_weight=0.4, noise_factor=0.25),
    "tiny": replace(PAPER, max_size=64, min_size=18, scale_count=4, hidden=32, embedding="conv", embedding_size=64,
                    features=64, negative_slope=0.2, iterations=(900, 600, 400, 300), batch_size=6,
                    learning_rate=1e-3, decay_at=0.7, first_scale_sees="embedding and thumbnail", variants=16,
                    context_norm="unit", head_init="hyperfan", penalty_weight=0.4, noise_factor=0.25),
}


def preset(name: str, **changes) -> Config:
    """A named preset with some settings changed; None leaves a setting as it is."""
    if name not in PRESETS:
        raise InputError(f"no preset is called {name!r}: choose one of {', '.join(PRESETS)}")
    return replace(PRESETS[name], **{key: value for key, value in changes.items() if value is not None})
