"""`per_sample_gradients`: the gradient of every sample's own loss, in one backward pass.

Each parameter goes in as N sets that are one and the same, expanded with stride 0, so nothing is copied; the weight
gradient of a convolution with N sets is then the per-sample gradient itself. For differential privacy (Abadi et al. 2016),
influence functions, gradient noise.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hyperconv.errors import InputError
from hyperconv.nn.call import expand_parameters, per_sample_call
from hyperconv.nn.hyperize import LAYERS, NEVER_CALLED, NORMS


def per_sample_gradients(
    module: nn.Module,
    loss_fn: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor,
    targets: Tensor,
    *,
    create_graph: bool = False,
) -> dict[str, Tensor]:
    """{name: (N, *shape)}: the gradients of N losses by every trainable parameter.

    Args:
        module: of Conv2d, ConvTranspose2d, Linear and normalisations that do not mix samples: batch normalisation
            only in evaluation mode. Called once as `module(inputs)`; its `.grad` fields are not touched.
        loss_fn: (outputs, targets) -> (N,), one loss per sample, e.g. `partial(F.cross_entropy, reduction="none")`.
        inputs: (N, ...).
        targets: whatever `loss_fn` takes.
        create_graph: the gradients can be differentiated in turn.

    The result holds N times as many numbers as the module has parameters.

    Raises InputError for a layer that mixes samples or has parameters of another kind, and for losses that are not (N,).
    """
    _check_layers(module)
    samples = len(inputs)
    with torch.enable_grad():
        weights = expand_parameters(module, samples)
        if not weights:
            raise InputError("the module has no trainable parameter: nothing requires gradients")
        losses = loss_fn(per_sample_call(module, weights, inputs), targets)
        if losses.shape != (samples,):
            raise InputError(f"loss_fn gave shape {tuple(losses.shape)}, expected one loss per sample: ({samples},)")
        gradients = torch.autograd.grad(
            losses.sum(), list(weights.values()), create_graph=create_graph, materialize_grads=True
        )
    return dict(zip(weights, gradients, strict=True))


def _check_layers(module: nn.Module) -> None:
    for name, part in module.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and (part.training or part.running_mean is None):
            raise InputError(
                f"{name or 'the module'} normalises with the statistics of the batch, so no sample has a "
                "gradient of its own: call module.eval() or use another normalisation"
            )
        trainable = any(parameter is not None and parameter.requires_grad for parameter in part._parameters.values())
        if trainable and (not isinstance(part, LAYERS + NORMS) or isinstance(part, NEVER_CALLED)):
            raise InputError(
                f"{name or 'the module'} is a {type(part).__name__} with trainable parameters; per-sample "
                "gradients know Conv2d, ConvTranspose2d, Linear and normalisation layers"
            )
