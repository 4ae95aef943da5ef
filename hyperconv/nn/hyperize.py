"""`hyperize`: a hypernetwork over any network made of convolutions and linear layers.

Parametrised as Gonzalez Ortiz, Guttag and Dalca (ICLR 2024, "Magnitude Invariant Parametrizations Improve Hypernetwork
Learning"): the context is encoded to a constant norm, so its magnitude is not that of the weights, and what is
generated from it is a change added to learned base weights.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconv.errors import InputError
from hyperconv.nn.call import call, own_parameters, samples_per_set
from hyperconv.nn.hypernetwork import HyperNetwork
from hyperconv.nn.layout import WeightLayout, WeightSet

LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
NEVER_CALLED = nn.modules.linear.NonDynamicallyQuantizableLinear  # attention reads its weight, and does not call it
NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm, nn.LayerNorm)

Include = str | Iterable[str] | Callable[[str, nn.Module], bool]


def cos_sin(context: Tensor) -> Tensor:
    """(B, E) -> (B, 2E): every entry c as the point (cos, sin) of the angle pi c / 2, of norm sqrt(2E)."""
    angle = context * (math.pi / 2)
    return torch.cat([angle.cos(), angle.sin()], dim=1) * math.sqrt(2)


def l2(context: Tensor) -> Tensor:
    """(B, E) -> (B, E): the direction of the context, of norm sqrt(E)."""
    return F.normalize(context, dim=1) * math.sqrt(context.shape[1])


ENCODINGS = {"cos_sin": (cos_sin, 2), "l2": (l2, 1)}


def hyperize(
    module: nn.Module,
    context_features: int,
    *,
    include: Include | None = None,
    rank: int | None = None,
    encoding: str = "cos_sin",
    init: str = "he",
) -> Hyperized:
    """A network `net(x, context)` that is `module` with weights generated from the context of each sample.

    `module` itself is left as it is. All generated tensors come from one matrix product, and the layers read views of it.

    Args:
        module: any module; its class and its forward do not matter.
        context_features: entries E of a context.
        include: which layers are generated, weight and bias. By default every Conv2d, ConvTranspose2d and Linear. Names or
            glob patterns ("layer1", "decoder.*.conv?") choose among these, a container's name all of them in it.
            A predicate (name, layer) -> bool chooses among these and the normalisation layers with weights of their own.
            What is not included keeps ordinary parameters.
        rank: of a bottleneck between context and weights: of the P numbers of a weight set each is generated from `rank`
            numbers, and not from all E of the context ('l2') or 2E ('cos_sin').
        encoding: of the context, to a constant norm. 'cos_sin' keeps all of it where entries are in [-2, 2), such as
            hyperparameters in [0, 1]; 'l2' keeps its direction, for features of some other network.
        init: 'he' starts with weights of variance 2 / fan_in for every context, half of it from the context, and biases
            and normalisations as `module` has them; 'module' starts with the weights of `module` for every
            context, e.g. trained ones.

    Raises InputError where nothing is included, a pattern fits nothing, or a layer cannot be generated.
    """
    if encoding not in ENCODINGS:
        raise InputError(f"encoding is {encoding!r}; choose {' or '.join(map(repr, ENCODINGS))}")
    if init not in ("he", "module"):
        raise InputError(f"init is {init!r}; choose 'he' or 'module'")
    if context_features < 1 or (rank is not None and rank < 1):
        raise InputError(f"context_features = {context_features} and rank = {rank} must be at least 1")
    return Hyperized(module, context_features, include, rank, encoding, init)


class Hyperized(nn.Module):
    """What `hyperize` returns: a `template` without the generated parameters, and the `hypernetwork` over it."""

    def __init__(
        self,
        module: nn.Module,
        context_features: int,
        include: Include | None,
        rank: int | None,
        encoding: str,
        init: str,
    ):
        super().__init__()
        self.context_features = context_features
        self.encoding = encoding
        self.template = copy.deepcopy(module)
        layers = included(self.template, include)
        std = {
            path: he_std(layer)
            for name, layer in layers.items()
            if isinstance(layer, LAYERS)
            for path in own_parameters(name, layer)
        }
        values, self.sources = take_parameters(self.template, layers)
        layout = WeightLayout({name: value.shape for name, value in values.items()})
        example = next(iter(values.values()))
        kind = {"device": example.device, "dtype": example.dtype}
        width = context_features * ENCODINGS[encoding][1]
        scale = {name: std[name] for name in values if name in std}
        self.hypernetwork = HyperNetwork(layout, width, scale, init="hyperfan", rank=rank, **kind)
        self._start_at(values, {name for name in scale if values[name].dim() > 1} if init == "he" else set())

    @torch.no_grad()
    def _start_at(self, values: dict[str, Tensor], drawn: set[str]) -> None:
        """Weights start at the module's own values for every context, except those `drawn` already."""
        layout, projection = self.hypernetwork.layout, self.hypernetwork.projection
        own = layout.flatten({name: value.unsqueeze(0) for name, value in values.items()}).squeeze(0)
        kept = layout.fill({name: float(name not in drawn) for name in values}).to(own) > 0
        projection.bias.copy_(torch.where(kept, own / self.hypernetwork.scale, projection.bias))
        projection.weight.masked_fill_(kept.unsqueeze(1), 0)

    def weights(self, context: Tensor) -> WeightSet:
        """Context (B, context_features) -> the weight sets of B networks."""
        if context.dim() != 2 or context.shape[1] != self.context_features:
            raise InputError(f"context has shape {tuple(context.shape)}, expected (B, {self.context_features})")
        return self.hypernetwork.weights(ENCODINGS[self.encoding][0](context))

    def forward(self, input: Tensor, context: Tensor | WeightSet, *args, **kwargs):
        """What the module returns for (input, *args, **kwargs): sample n of N with context n // (N // B) of B.

        `context` is (B, context_features), or what `weights` made of it, which serves any number of calls.
        """
        weights = context if isinstance(context, WeightSet) else self.weights(context)
        samples_per_set(len(input), weights.batch)
        tensors = {path: weights[name] for path, name in self.sources.items()}
        return call(self.template, tensors, (input, *args), kwargs)

    def extra_repr(self) -> str:
        return f"context_features={self.context_features}, encoding={self.encoding}"


def included(module: nn.Module, include: Include | None) -> dict[str, nn.Module]:
    """The layers to generate, by name; see `hyperize`."""
    layers = {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, LAYERS) and not isinstance(layer, NEVER_CALLED)
    }
    if callable(include):
        norms = {
            name: layer
            for name, layer in module.named_modules()
            if isinstance(layer, NORMS) and layer._parameters.get("weight") is not None
        }
        layers = {name: layer for name, layer in {**layers, **norms}.items() if include(name, layer)}
    elif include is not None:
        patterns = [include] if isinstance(include, str) else list(include)
        fits = {
            pattern: [name for name in layers if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")]
            for pattern in patterns
        }
        if useless := [pattern for pattern, names in fits.items() if not names]:
            raise InputError(f"include: {', '.join(map(repr, useless))} fits none of the layers {', '.join(layers)}")
        chosen = set().union(*fits.values())
        layers = {name: layer for name, layer in layers.items() if name in chosen}
    if not layers:
        raise InputError("there is nothing to hyperize: no Conv2d, ConvTranspose2d or Linear is included")
    for name, layer in layers.items():
        weight = layer._parameters.get("weight")
        if weight is None or nn.parameter.is_lazy(weight):
            raise InputError(
                f"layer {name!r} has no weight of its own to generate: remove its parametrization, or, if "
                "it is lazy, run the module once"
            )
    return layers


def take_parameters(module: nn.Module, layers: dict[str, nn.Module]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Remove the layers' parameters: ({name: value}, {path: name}); a tied one has one name and several paths."""
    names: dict[Tensor, str] = {}
    sources = {}
    for name, layer in layers.items():
        for path, parameter in own_parameters(name, layer).items():
            sources[path] = names.setdefault(parameter, path)
            layer._parameters[path.rpartition(".")[2]] = None
    for name, parameter in module.named_parameters():
        if parameter in names:
            raise InputError(f"parameter {name!r} is tied to {names[parameter]!r}: include both of them or none")
    return {name: parameter.detach() for parameter, name in names.items()}, sources


def he_std(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> float:
    """sqrt(2 / fan_in) of He et al. (2015, equation 10); fan_in is what one output value adds up on average."""
    weight = layer.weight
    if isinstance(layer, nn.ConvTranspose2d):
        per_channel = math.prod(layer.kernel_size) / math.prod(layer.stride)
        return math.sqrt(2 / (layer.in_channels // layer.groups * per_channel))
    return math.sqrt(2 * len(weight) / weight.numel())
