"""Layers and weight sources: who makes the weights of each sample, and the modules that apply them."""

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

__all__ = [
    "ConditionalBatchNorm2d",
    "ConditionalInstanceNorm2d",
    "FreeWeights",
    "HyperConv2d",
    "HyperNetwork",
    "WeightLayout",
    "WeightSet",
    "cond_conv2d",
    "expand_parameters",
    "hyperize",
    "inner_step",
    "modulated_conv2d",
    "per_sample_call",
    "per_sample_gradients",
]
