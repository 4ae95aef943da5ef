"""Functions from runs and photos to images: what the command line offers, for use from Python."""

from hyperconv.apps.adapt import adapt
from hyperconv.apps.demo import demo
from hyperconv.apps.evaluate import evaluate
from hyperconv.apps.interpolate import interpolate
from hyperconv.apps.model import Model
from hyperconv.apps.sample import sample
from hyperconv.apps.sheet import contact_sheet, strip
from hyperconv.apps.train import train

__all__ = ["Model", "adapt", "contact_sheet", "demo", "evaluate", "interpolate", "sample", "strip", "train"]
