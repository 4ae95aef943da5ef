"""`per_sample_call`: an ordinary module, run with parameters that differ from sample to sample."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hyperconv.errors import InputError
from hyperconv.ops.functional import hyper_conv2d
from hyperconv.ops.transposed import hyper_conv_transpose2d


def per_sample_call(module: nn.Module, weights: Mapping[str, Tensor], *args, **kwargs):
    """`module(*args, **kwargs)` with the parameters named in `weights`, one set for every sample.

    What `torch.func.functional_call` is for one set of parameters: the module itself is not changed, parameters
    left out are its own, tied ones may be given once.

    Args:
        module: any module whose named parameters go to 2-D convolutions, transposed convolutions, linear layers and
            normalisation layers (batch, group, layer and instance); nothing about its class matters. Batch
            normalisation in training takes its statistics from all N samples.
        weights: {parameter name: (B, *shape)}, e.g. a `WeightSet`. The inputs have N samples, N a multiple of B, and
            sample n uses set n // (N // B). Views and parameters expanded with stride 0 are not copied.

    Raises InputError for an unknown name, a shape that does not fit or sets that differ in number.
    """
    own = parameters_by_path(module)
    _check(own, weights)
    tied = {own[name]: weight for name, weight in weights.items()}
    tensors = {name: weights.get(name, tied[parameter]) for name, parameter in own.items() if parameter in tied}
    return call(module, tensors, args, kwargs)


def expand_parameters(module: nn.Module, sets: int) -> dict[str, Tensor]:
    """The trainable parameters of `module` as weights of `sets` networks: {name: (sets, *shape)}, not copied.

    A gradient by one of them is the gradient of each network; the gradient that arrives at the parameter is their sum.
    """
    return {
        name: parameter.expand(sets, *parameter.shape)
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


def call(module: nn.Module, tensors: dict[str, Tensor], args: tuple, kwargs: dict):
    """`per_sample_call` without its checks; tied parameters are all named."""
    with _PerSampleParameters():
        return torch.func.functional_call(module, tensors, args, kwargs, tie_weights=False)


def parameters_by_path(module: nn.Module) -> dict[str, nn.Parameter]:
    """Every place that holds a parameter, once: a module with two names has one, a tied parameter has several.

    `torch.func.functional_call` must not be given two names of one place: it then fails to restore the module.
    """
    return {
        path: parameter
        for name, part in module.named_modules()
        for path, parameter in own_parameters(name, part).items()
    }


def own_parameters(name: str, module: nn.Module) -> dict[str, nn.Parameter]:
    """{path: parameter} of a module called `name`, without those of its children."""
    return {
        f"{name}.{key}" if name else key: parameter
        for key, parameter in module._parameters.items()
        if parameter is not None
    }


def samples_per_set(samples: int, sets: int) -> int:
    """r = N // B; raises InputError where N is not a multiple of B."""
    if samples % sets if sets else samples:
        raise InputError(f"there are N = {samples} samples, not a multiple of B = {sets} contexts or weight sets")
    return samples // sets if sets else 0


def per_sample_affine(input: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """input (N, C, ...) * weight (B, C) + bias (B, C) per channel, sample n with row n // (N // B)."""
    return _affine(input, weight, bias, (input.shape[1], *[1] * (input.dim() - 2)))


def _affine(input: Tensor, weight: Tensor | None, bias: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    """`shape` is that of one set's weight and bias beside one sample."""
    sets = len(bias if weight is None else weight)
    folded = input.unflatten(0, (sets, samples_per_set(len(input), sets)))
    weight, bias = (None if values is None else values.reshape(sets, 1, *shape) for values in (weight, bias))
    if weight is None:
        folded = folded + bias
    elif bias is None:
        folded = folded * weight
    else:
        folded = torch.addcmul(bias, folded, weight)
    return folded.flatten(0, 1)


def _check(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    sets = set()
    for name, weight in weights.items():
        if name not in own:
            raise InputError(f"the module has no parameter {name!r}; it has {', '.join(own) or 'none'}")
        if weight.shape[1:] != own[name].shape:
            needed = ", ".join(map(str, ("B", *own[name].shape)))
            raise InputError(f"weights[{name!r}] has shape {tuple(weight.shape)}, expected ({needed})")
        sets.add(len(weight))
    if len(sets) > 1:
        raise InputError(f"weights hold {' and '.join(map(str, sorted(sets)))} sets; give every tensor the same B")


class _PerSampleParameters(TorchFunctionMode):
    """Inside, PyTorch's own layer functions take a weight or bias with a leading axis of B sets."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        rule = _RULES.get(function)
        return function(*args, **kwargs) if rule is None else rule(*args, **kwargs)


def _sets(weight: Tensor | None, bias: Tensor | None, weight_dims: int, bias_dims: int = 1):
    """Both with a leading axis where either has one more than its usual number of axes; None where neither has."""
    given = [(tensor, dims) for tensor, dims in ((weight, weight_dims), (bias, bias_dims)) if tensor is not None]
    counts = [len(tensor) for tensor, dims in given if tensor.dim() > dims]
    if not counts:
        return None
    lifted = [tensor if tensor.dim() > dims else tensor.expand(counts[0], *tensor.shape) for tensor, dims in given]
    return (None if weight is None else lifted[0], None if bias is None else lifted[-1])


def _conv2d(input, weight, bias=None, *geometry, **options):
    sets = _sets(weight, bias, 4)
    if sets is None:
        return F.conv2d(input, weight, bias, *geometry, **options)
    return hyper_conv2d(input, *sets, *geometry, **options)


def _conv_transpose2d(input, weight, bias=None, *geometry, **options):
    sets = _sets(weight, bias, 4)
    if sets is None:
        return F.conv_transpose2d(input, weight, bias, *geometry, **options)
    return hyper_conv_transpose2d(input, *sets, *geometry, **options)


def _linear(input, weight, bias=None):
    sets = _sets(weight, bias, 2)
    if sets is None:
        return F.linear(input, weight, bias)
    weight, bias = sets
    samples, *between = input.shape[:-1]
    rows = samples_per_set(samples, len(weight)) * prod(between)
    folded = input.reshape(len(weight), rows, input.shape[-1])
    output = folded @ weight.mT if bias is None else torch.baddbmm(bias.unsqueeze(1), folded, weight.mT)
    return output.view(*input.shape[:-1], weight.shape[1])


def _layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    dims = len(normalized_shape)
    sets = _sets(weight, bias, dims, dims)
    if sets is None:
        return F.layer_norm(input, normalized_shape, weight, bias, eps)
    normalized = F.layer_norm(input, normalized_shape, None, None, eps)
    return _affine(normalized, *sets, (*[1] * (input.dim() - 1 - dims), *normalized_shape))


def _channel_norm(normalize, weight, bias):
    """`normalize(weight, bias)` with one weight and bias per channel, which may differ from set to set."""
    sets = _sets(weight, bias, 1)
    return normalize(weight, bias) if sets is None else per_sample_affine(normalize(None, None), *sets)


def _group_norm(input, num_groups, weight=None, bias=None, eps=1e-5):
    return _channel_norm(lambda w, b: F.group_norm(input, num_groups, w, b, eps), weight, bias)


def _batch_norm(input, running_mean, running_var, weight=None, bias=None, *rest, **options):
    return _channel_norm(
        lambda w, b: F.batch_norm(input, running_mean, running_var, w, b, *rest, **options), weight, bias
    )


def _instance_norm(input, running_mean=None, running_var=None, weight=None, bias=None, *rest, **options):
    return _channel_norm(
        lambda w, b: F.instance_norm(input, running_mean, running_var, w, b, *rest, **options), weight, bias
    )


_RULES = {
    F.conv2d: _conv2d,
    F.conv_transpose2d: _conv_transpose2d,
    F.linear: _linear,
    F.layer_norm: _layer_norm,
    F.group_norm: _group_norm,
    F.batch_norm: _batch_norm,
    F.instance_norm: _instance_norm,
}
