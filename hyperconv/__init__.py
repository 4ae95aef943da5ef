"""Convolutions with their own weights for every sample of a batch, and generative models built on them."""

from pathlib import Path

from hyperconv.version import __version__

# Installed, the Triton kernels are hyperconv.kernels; in the source tree they lie beside this folder.
_source = Path(__file__).resolve().parent.parent
if not (_source / "hyperconv" / "kernels").exists() and (_source / "kernels" / "__init__.py").exists():
    __path__.append(str(_source))

from hyperconv.errors import InputError
from hyperconv.nn.call import expand_parameters, per_sample_call
from hyperconv.nn.conditional import ConditionalBatchNorm2d, ConditionalInstanceNorm2d, cond_conv2d
from hyperconv.nn.conv import HyperConv2d
from hyperconv.nn.hyperize import hyperize
from hyperconv.nn.hypernetwork import HyperNetwork
from hyperconv.nn.inner import inner_step
from hyperconv.nn.layout import WeightLayout, WeightSet
from hyperconv.nn.modulated import modulated_conv2d
from hyperconv.nn.per_sample_gradients import per_sample_gradients
from hyperconv.nn.sources import FreeWeights
from hyperconv.ops.backends import backends, use_backend
from hyperconv.ops.derivatives import no_weight_gradients
from hyperconv.ops.functional import hyper_conv2d
from hyperconv.ops.transposed import hyper_conv_transpose2d

__all__ = [
    "ConditionalBatchNorm2d",
    "ConditionalInstanceNorm2d",
    "FreeWeights",
    "HyperConv2d",
    "HyperNetwork",
    "InputError",
    "WeightLayout",
    "WeightSet",
    "__version__",
    "backends",
    "cond_conv2d",
    "expand_parameters",
    "hyper_conv2d",
    "hyper_conv_transpose2d",
    "hyperize",
    "inner_step",
    "modulated_conv2d",
    "no_weight_gradients",
    "per_sample_call",
    "per_sample_gradients",
    "use_backend",
]
