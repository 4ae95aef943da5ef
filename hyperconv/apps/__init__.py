"""Functions from runs and photos to images: what the command line offers, for use from Python."""

from hyperconv.apps.adapt import adapt
from hyperconv.apps.animate import animate
from hyperconv.apps.blend import edit, harmonize
from hyperconv.apps.demo import demo
from hyperconv.apps.domain_scores import evaluate_domains
from hyperconv.apps.evaluate import evaluate
from hyperconv.apps.imitate import DomainModel, imitate
from hyperconv.apps.instance_scores import evaluate_instances
from hyperconv.apps.instances import InstanceModel, interpolate_instances, invert, sample_around, sample_instances
from hyperconv.apps.interpolate import interpolate, interpolate_grid
from hyperconv.apps.model import Model
from hyperconv.apps.paint import paint, style
from hyperconv.apps.reconstruction import reconstructions
from hyperconv.apps.retarget import retarget
from hyperconv.apps.sample import sample
from hyperconv.apps.sheet import contact_sheet, strip
from hyperconv.apps.superres import superres
from hyperconv.apps.train import train

__all__ = [
    "DomainModel",
    "InstanceModel",
    "Model",
    "adapt",
    "animate",
    "contact_sheet",
    "demo",
    "edit",
    "evaluate",
    "evaluate_domains",
    "evaluate_instances",
    "harmonize",
    "imitate",
    "interpolate",
    "interpolate_grid",
    "interpolate_instances",
    "invert",
    "paint",
    "reconstructions",
    "retarget",
    "sample",
    "sample_around",
    "sample_instances",
    "strip",
    "style",
    "superres",
    "train",
]
