"""Per-sample convolution as operators; knows nothing of networks."""

from hyperconv.ops import autograd, transforms  # noqa: F401  (register derivatives, vmap and autocast)
from hyperconv.ops.autograd import no_weight_gradients
from hyperconv.ops.backends import backends, use_backend
from hyperconv.ops.functional import hyper_conv2d

__all__ = ["backends", "hyper_conv2d", "no_weight_gradients", "use_backend"]
