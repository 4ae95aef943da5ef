"""Layers that a context changes for each sample: mixtures of expert kernels, and normalisation with its own affine."""

from __future__ import annotations

from torch import Tensor, nn

from hyperconv.errors import InputError
from hyperconv.nn.call import per_sample_affine
from hyperconv.nn.hypernetwork import HyperNetwork
from hyperconv.nn.layout import WeightLayout
from hyperconv.ops.functional import hyper_conv2d


def cond_conv2d(
    input: Tensor, experts: Tensor, routing: Tensor, expert_bias: Tensor | None = None, *args, **kwargs
) -> Tensor:
    """Conditionally parametrised convolution (Yang et al. 2019): each sample's kernel is a mixture of K experts.

    Args:
        input: (N, C_in, H, W).
        experts: (K, C_out, C_in/groups, kH, kW).
        routing: (B, K), N a multiple of B: sample n uses row n // (N // B). In the paper the sigmoid of a linear layer
            on the pooled input.
        expert_bias: (K, C_out) or None, mixed in the same way.
        Then stride, padding, dilation, groups, activation and negative_slope as of `hyper_conv2d`.

    Returns (N, C_out, H_out, W_out). Raises InputError where experts and routing do not fit, else as `hyper_conv2d`.
    """
    if experts.dim() != 5 or routing.dim() != 2 or routing.shape[1] != len(experts):
        raise InputError(
            f"experts must be (K, C_out, C_in/groups, kH, kW) and routing (B, K), got "
            f"{tuple(experts.shape)} and {tuple(routing.shape)}"
        )
    if expert_bias is not None and expert_bias.shape != experts.shape[:2]:
        raise InputError(f"expert_bias must be (K, C_out) = {tuple(experts.shape[:2])}, got {tuple(expert_bias.shape)}")
    weight = (routing @ experts.flatten(1)).unflatten(1, experts.shape[1:])
    bias = None if expert_bias is None else routing @ expert_bias
    return hyper_conv2d(input, weight, bias, *args, **kwargs)


class _Conditional(nn.Module):
    """A normalisation without affine, and in its place gain 1 + g(context) and bias b(context), both 0 at first.

    As in de Vries et al. (2017), with g and b linear; a constant part of each is the bias of the projection.
    """

    def __init__(self, num_features: int, context_features: int, *args, device=None, dtype=None, **kwargs):
        super().__init__(num_features, *args, affine=False, device=device, dtype=dtype, **kwargs)
        layout = WeightLayout({"weight": (num_features,), "bias": (num_features,)})
        self.hypernetwork = HyperNetwork(layout, context_features, init="hyperfan", device=device, dtype=dtype)

    def forward(self, input: Tensor, context: Tensor) -> Tensor:
        """input (N, C, H, W), context (B, context_features), N a multiple of B: sample n with context n // (N // B)."""
        change = self.hypernetwork.weights(context)
        return per_sample_affine(super().forward(input), 1 + change["weight"], change["bias"])


class ConditionalBatchNorm2d(_Conditional, nn.BatchNorm2d):
    """`nn.BatchNorm2d(num_features, eps, momentum)` whose affine each sample's context gives: `norm(x, context)`.

    `ConditionalBatchNorm2d(num_features, context_features, ...)`; it starts as plain batch normalisation.
    """


class ConditionalInstanceNorm2d(_Conditional, nn.InstanceNorm2d):
    """`nn.InstanceNorm2d(num_features, eps, momentum)` whose affine each sample's context gives: `norm(x, context)`.

    `ConditionalInstanceNorm2d(num_features, context_features, ...)`; it starts as plain instance normalisation
    (Dumoulin et al. 2017; adaptive instance normalisation, with statistics of a style in place of a context).
    """
