"""`HyperConv2d`: `nn.Conv2d` that also takes its weights per sample, or makes them from a context vector.

And `SharedConv2d`, an `nn.Conv2d` that is quicker on a CPU.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconv.activations import NAMES, unknown_activation
from hyperconv.nn.hypernetwork import HyperNetwork
from hyperconv.nn.layout import WeightLayout
from hyperconv.ops.arguments import real
from hyperconv.ops.functional import hyper_conv2d

# torch.fx keeps these as they are: their checks ask for shapes, which a symbolic trace does not have.
torch.fx.wrap("hyper_conv2d")
torch.fx.wrap("_conv2d")


class HyperConv2d(nn.Conv2d):
    """`nn.Conv2d` whose weights may differ from sample to sample: its arguments, and:

    context_features: a number E makes the layer a hypernetwork: it has no `weight` and `bias` but generates
        both from a context of E entries. Entries of mean square one give well-scaled weights at the start.
    activation: None, 'relu', 'leaky_relu' (with `negative_slope`) or 'tanh', fused with the convolution.

    Without `context_features` parameters, initialisation and state_dict are those of `nn.Conv2d`.

    - ``conv(x)``: the layer's own weights, as `nn.Conv2d` does.
    - ``conv(x, weight, bias)``: the given weight (B, C_out, C_in/groups, kH, kW) and bias (B, C_out) or None,
      nothing of the layer's own; x is (N, C_in, H, W), N a multiple of B, sample n uses set n // (N // B).
    - ``conv(x, context)`` with `context_features`: context (B, E), weights generated and applied as above.

    On a CPU wide 3x3 layers use Winograd's algorithm: outliers add rounding errors to outputs beside them, and an
    infinity spreads, as `hyper_conv2d` says with the numbers and the way out.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        context_features: int | None = None,
        activation: str | None = None,
        negative_slope: float = 0.01,
    ):
        if activation not in NAMES:
            raise unknown_activation(activation)
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device=device if context_features is None else "meta",
            dtype=dtype,
        )
        self.context_features = context_features
        self.activation = activation
        self.negative_slope = real("negative_slope", negative_slope)
        if context_features is not None:
            self.weight = self.bias = None
            self.hypernetwork = self._make_hypernetwork(bias, device, dtype)

    def reset_parameters(self) -> None:
        """Start anew, as the constructor does."""
        if self.weight is None:
            self.hypernetwork.reset_parameters()
        else:
            super().reset_parameters()

    def forward(
        self,
        input: Tensor,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        *,
        context: Tensor | None = None,
    ) -> Tensor:
        """conv(x), conv(x, weight, bias) or, with `context_features`, conv(x, context): see the class."""
        if self.context_features is not None:
            if context is not None and weight is not None:
                raise TypeError(
                    "weight and context were given, but this HyperConv2d generates its weights: call conv(x, context)"
                )
            context = weight if context is None else context
            if context is None or bias is not None:
                raise TypeError("this HyperConv2d generates its weights: call conv(x, context)")
            generated = self.hypernetwork.weights(context)
            weight, bias = generated["weight"], generated.get("bias")
        elif context is not None:
            raise TypeError("context was given, but this HyperConv2d was built without context_features")
        elif weight is None:
            if bias is not None:
                raise TypeError("bias was given without a weight: call conv(x) or conv(x, weight, bias)")
            weight, bias = self.weight, self.bias
        elif weight.shape[-4:] != self._weight_shape():
            needed = ", ".join(map(str, ("B", *self._weight_shape())))
            raise ValueError(f"weight has shape {tuple(weight.shape)}, this layer needs ({needed})")
        return self._conv_forward(input, weight, bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = 0
        return hyper_conv2d(
            input,
            weight,
            bias,
            self.stride,
            padding,
            self.dilation,
            self.groups,
            activation=self.activation,
            negative_slope=self.negative_slope,
        )

    def _weight_shape(self) -> tuple[int, ...]:
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    def _make_hypernetwork(self, bias: bool, device, dtype) -> HyperNetwork:
        """Generated weights start with He's variance for this layer's activation, biases at zero."""
        shapes = {"weight": self._weight_shape()}
        if bias:
            shapes["bias"] = (self.out_channels,)
        layout = WeightLayout(shapes)
        fan_in = layout.sizes["weight"] / self.out_channels
        gain = nn.init.calculate_gain(self.activation or "linear", self.negative_slope)
        scale = {"weight": gain / fan_in**0.5}
        return HyperNetwork(layout, self.context_features, scale, init="hyperfan", device=device, dtype=dtype)

    def extra_repr(self) -> str:
        text = super().extra_repr()
        if self.context_features is not None:
            if "bias" in self.hypernetwork.layout.shapes:
                text = text.replace(", bias=False", "")
            text += f", context_features={self.context_features}"
        if self.activation is not None:
            text += f", activation={self.activation}"
        if self.activation == "leaky_relu":
            text += f", negative_slope={self.negative_slope}"
        return text


class SharedConv2d(nn.Conv2d):
    """`nn.Conv2d`, on a CPU by this package's kernels; on a GPU by PyTorch's, which are made for shared weights."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.padding_mode != "zeros":
            return super()._conv_forward(input, weight, bias)
        return _conv2d(input, weight, bias, self.stride, self.padding, self.dilation, self.groups)


def _conv2d(input: Tensor, *arguments) -> Tensor:
    return (hyper_conv2d if input.is_cpu else F.conv2d)(input, *arguments)
