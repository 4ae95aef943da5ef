"""Layers and weight sources: who makes the weights of each sample, and the modules that apply them."""

from hyperconv.nn.conv import HyperConv2d
from hyperconv.nn.hypernetwork import HyperNetwork
from hyperconv.nn.layout import WeightLayout, WeightSet
from hyperconv.nn.sources import FreeWeights

__all__ = ["FreeWeights", "HyperConv2d", "HyperNetwork", "WeightLayout", "WeightSet"]
