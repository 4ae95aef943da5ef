"""Convolutions with their own weights for every sample of a batch, and generative models built on them."""

from pathlib import Path

from hyperconv.version import __version__

# Installed, the Triton kernels are the package hyperconv.kernels; in the source tree they lie beside this folder.
_source = Path(__file__).resolve().parent.parent
if not (_source / "hyperconv" / "kernels").exists() and (_source / "kernels" / "__init__.py").exists():
    __path__.append(str(_source))

from hyperconv.errors import InputError  # noqa: E402
from hyperconv.ops import backends, hyper_conv2d, no_weight_gradients, use_backend  # noqa: E402

__all__ = ["InputError", "__version__", "backends", "hyper_conv2d", "no_weight_gradients", "use_backend"]
